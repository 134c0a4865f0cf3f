"""What the random job calls look at: jobs, their records and sinks, and what the model says of them."""

from __future__ import annotations

from job_model import AT_LEAST_ONCE, BEGINNING, NONE, Place

import jetbridge
from jetbridge import JobStatus


class JobLooks:
    """The looking half of `job_machine.JobCalls`, which has the attributes."""

    def connect(self):
        return jetbridge.connect(home=self.home, parallelism=1, shards=4)

    # What is there

    def pick(self, index, *statuses):
        """A job; one of four times any, else one in such a status where there is one."""
        fitting = [job for job in self.jobs if job.status in statuses] if index % 4 else []
        among = fitting or self.jobs
        return among[-1 - index // 4 % len(among)]  # the smallest example takes the newest

    def called(self, name):
        return None if name is None else f"{name}-{self.number}"

    def active(self, name):
        return next((job for job in self.jobs if name is not None and job.name == name and job.active), None)

    def handle(self, job, by=0):
        return self.jets[by].get_job(job.id)

    def record(self, job):
        return self.clients[0]._session.registry.get(job.id)

    def worker(self, job):
        execution = self.clients[job.owner]._session.jobs.get(job.id)
        return None if execution is None else execution.pid

    def outputs(self, job):
        client = self.clients[0]
        with client._session.db.transaction():  # nothing is committed between the two
            return [client.get_list(f"{job.out}-{each}").get_all() for each in ("plain", "sums")]

    def fresh_place(self, job):
        """Where a fresh start begins now; None when it cannot."""
        if job.snapshot is not None:
            return self.snapshots.get(job.snapshot)
        at = len(self.items) if job.latest else 0
        return Place(at, at)

    def has_begun(self, job):
        self.until(lambda: self.handle(job).status not in BEGINNING, "the start of the job")
        assert self.handle(job).status is JobStatus.RUNNING
        job.begun = True
        job.stored = job.guarantee is not NONE
        self.workers.add(self.worker(job))

    def settle(self, job):
        """Wait until a running job has read everything, and check its sinks."""
        if not job.begun:
            self.has_begun(job)
        own = self.items[job.place.offset :]

        def read():
            written = self.clients[0].get_list(f"{job.out}-plain").get_all()
            if job.guarantee is AT_LEAST_ONCE:  # what came behind its last checkpoint may be there twice
                return written[-1:] == own[-1:] and set(own) <= set(written)
            return written[len(written) - len(own) :] == own

        self.until(read, "all items in the sink")
        job.check_outputs(*self.outputs(job), self.items, settled=True)

    def stopped(self, job, status, **fields):
        if job.status is JobStatus.RUNNING:
            job.end_run(len(self.items))
        job.status, job.suspended_by = status, None
        for name, value in fields.items():
            setattr(job, name, value)
        job.check_outputs(*self.outputs(job), self.items, settled=False)

    def started(self, job, by):
        """After a resume, a restart or a new worker: goes on, or starts afresh."""
        if job.guarantee is NONE:
            if job.runs[-1][1] is None:
                job.end_run(len(self.items))
            job.begin(self.fresh_place(job))
        else:
            job.runs[-1][1] = None
        job.status, job.suspended_by, job.owner, job.deaths = JobStatus.RUNNING, None, by, 0
        self.has_begun(job)
