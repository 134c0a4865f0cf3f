"""Job calls in any order, by two clients of one data folder, beside a model of what must come of them."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from job_looks import JobLooks
from job_model import AT_LEAST_ONCE, EXACTLY_ONCE, NONE, ModelJob, Place, watching

from jetbridge import (
    JobAlreadyExistsError,
    JobCancelledError,
    JobConfig,
    JobFailedError,
    JobStateError,
    JobStatus,
    Pipeline,
    SnapshotError,
    TimeoutException,
)
from jetbridge.store import snapshots

NAMES = [None, "a", "b"]
ACTIVE = JobStatus.RUNNING, JobStatus.SUSPENDED
SNAPSHOTS = ["s", "t"]
MOST_ACTIVE = 4
numbers = itertools.count()
some_job = st.integers(1, 1_000)
some_client = st.integers(0, 1)
seldom = st.integers(0, 3).map(lambda n: n == 3)


class JobCalls(JobLooks, RuleBasedStateMachine):
    """Jobs of one example; names of all that is stored carry its number."""

    def __init__(self, home, until, gone):
        super().__init__()
        self.home, self.until, self.gone = home, until, gone
        self.number = next(numbers)
        self.clients = [self.connect(), self.connect()]
        self.jets = [client.get_jet() for client in self.clients]
        self.stream = f"in-{self.number}"
        self.items: list[int] = []
        self.jobs: list[ModelJob] = []
        self.snapshots: dict[str, Place] = {}
        self.workers: set[int] = set()

    # Calls

    def new(self, job_handle, name, out, guarantee, latest, snapshot, by):
        job = ModelJob(job_handle.id, name, out, guarantee, latest, snapshot, by)
        job.begin(self.fresh_place(job))
        self.jobs.append(job)
        self.handle(job).add_status_listener(job.events.append)  # of the client that stays
        return job

    @precondition(lambda self: sum(job.active for job in self.jobs) < MOST_ACTIVE)
    @rule(
        by=some_client,
        name=st.sampled_from(NAMES),
        guarantee=st.sampled_from([EXACTLY_ONCE, EXACTLY_ONCE, NONE, AT_LEAST_ONCE]),
        latest=st.booleans(),
        snapshot=st.sampled_from([None, None, "known", *SNAPSHOTS]),
        wait=st.booleans(),
    )
    def submit(self, by, name, guarantee, latest, snapshot, wait):
        out, name = f"out-{self.number}-{len(self.jobs)}", self.called(name)
        snapshot = next(iter(self.snapshots), None) if snapshot == "known" else self.called(snapshot)
        config = JobConfig(
            name=name, processing_guarantee=guarantee, initial_snapshot_name=snapshot, snapshot_interval_millis=200
        )
        pipeline = watching(self.stream, out, "latest" if latest else "earliest")
        if snapshot is not None and snapshot not in self.snapshots:
            with pytest.raises(SnapshotError, match=snapshot):
                self.jets[by].submit(pipeline, config)
        elif (holder := self.active(name)) is not None:
            with pytest.raises(JobAlreadyExistsError, match=f"is taken by job {holder.id}, which is"):
                self.jets[by].submit(pipeline, config)
        else:
            job = self.new(self.jets[by].submit(pipeline, config), name, out, guarantee, latest, snapshot, by)
            if wait:
                self.has_begun(job)

    @rule(by=some_client, name=st.sampled_from(NAMES[1:]))
    def new_job_if_absent(self, by, name):
        name = self.called(name)
        job = self.active(name)
        if job is not None and job.suspended_by == "client" and not job.stored and job.place != Place(0, 0):
            return  # what has stored nothing yet becomes what is given now: nobody knows where that begins
        guarantee = EXACTLY_ONCE if job is None else job.guarantee
        out = f"out-{self.number}-{len(self.jobs)}" if job is None else job.out
        config = JobConfig(name=name, processing_guarantee=guarantee, snapshot_interval_millis=200)
        found = self.jets[by].new_job_if_absent(watching(self.stream, out), config)
        if job is None:
            self.new(found, name, out, guarantee, False, None, by)
            return
        assert found.id == job.id
        if job.suspended_by == "client":
            job.latest, job.snapshot = False, None  # what is given now counts
            self.started(job, by)

    @rule(by=some_client, count=st.integers(1, 5))
    @precondition(lambda self: all(job.status is not JobStatus.COMPLETED for job in self.jobs))
    def batch(self, by, count):
        """A job that completes; its name is free again at once."""
        out, name = f"batch-{self.number}-{len(self.jobs)}", self.called("batch")
        pipeline = Pipeline.create()
        pipeline.read_from(Pipeline.from_list("n", range(count))).write_to(Pipeline.to_list(f"{out}-plain"))
        handle = self.jets[by].submit(pipeline, JobConfig(name=name, processing_guarantee=EXACTLY_ONCE))
        handle.join(120)
        assert self.clients[0].get_list(f"{out}-plain").get_all() == list(range(count))
        job = ModelJob(handle.id, name, out, EXACTLY_ONCE, False, None, by, JobStatus.COMPLETED)
        self.jobs.append(job)

    @rule(count=st.integers(1, 40))
    def publish(self, count):
        more = list(range(len(self.items) + 1, len(self.items) + count + 1))
        self.clients[count % 2].get_stream(self.stream).publish_all(more)
        self.items += more

    @precondition(lambda self: self.jobs)
    @rule(index=some_job)
    def read_all(self, index):
        job = self.pick(index, JobStatus.RUNNING)
        if job.status is JobStatus.RUNNING:
            self.settle(job)

    def refused(self, call, job, *arguments, by):
        """The message names the status that was found; a job that is being started may have moved on since."""
        with pytest.raises(JobStateError, match=rf"^{call}: job .*{job.id}") as caught:
            getattr(self.handle(job, by), call)(*arguments)
        found = re.search(rf"{job.id}\S* is ([A-Z_]+)", str(caught.value))
        assert found, caught.value
        assert job.may_be(JobStatus[found[1]]), caught.value

    @precondition(lambda self: self.jobs)
    @rule(index=some_job, by=some_client)
    def suspend(self, index, by):
        job = self.pick(index, JobStatus.RUNNING)
        if job.status is not JobStatus.RUNNING:
            self.refused("suspend", job, by=by)
            return
        self.handle(job, by).suspend()
        self.stopped(job, JobStatus.SUSPENDED, suspended_by="user")

    @precondition(lambda self: self.jobs)
    @rule(index=some_job, by=some_client)
    def resume(self, index, by):
        job = self.pick(index, JobStatus.SUSPENDED)
        if job.status is not JobStatus.SUSPENDED:
            self.refused("resume", job, by=by)
        elif job.guarantee is NONE and self.fresh_place(job) is None:
            with pytest.raises(SnapshotError, match=job.snapshot):
                self.handle(job, by).resume()
        else:
            self.handle(job, by).resume()
            self.started(job, by)

    @precondition(lambda self: self.jobs)
    @rule(index=some_job, by=some_client)
    def restart(self, index, by):
        job = self.pick(index, JobStatus.RUNNING)
        if job.status is not JobStatus.RUNNING:
            self.refused("restart", job, by=by)
        elif job.guarantee is NONE and self.fresh_place(job) is None:
            with pytest.raises(SnapshotError, match=job.snapshot):
                self.handle(job, by).restart()
            self.stopped(job, JobStatus.SUSPENDED, suspended_by="failure")
        else:
            self.handle(job, by).restart()
            self.started(job, job.owner)

    @precondition(lambda self: self.jobs)
    @rule(index=some_job, by=some_client, really=seldom)
    def cancel(self, index, by, really):
        job = self.pick(index, *ACTIVE)
        if not job.active:
            self.refused("cancel", job, by=by)
        elif really:
            self.handle(job, by).cancel()
            self.stopped(job, JobStatus.FAILED, cancelled=True)

    @precondition(lambda self: self.jobs)
    @rule(index=some_job, by=some_client, name=st.sampled_from([*SNAPSHOTS, *SNAPSHOTS, "x/y", ".."]), ends=seldom)
    def export(self, index, by, name, ends):
        """Take a snapshot, and perhaps end the job with it."""
        job = self.pick(index, *ACTIVE)
        call = "cancel_and_export_snapshot" if ends else "export_snapshot"
        if name not in SNAPSHOTS:
            with pytest.raises(SnapshotError):
                getattr(self.handle(job, by), call)(name)
            return
        name = self.called(name)
        if not job.active or (job.status is JobStatus.SUSPENDED and job.guarantee is NONE):
            self.refused(call, job, name, by=by)
            return
        if job.status is JobStatus.SUSPENDED and not job.stored:
            with contextlib.suppress(SnapshotError):  # it was suspended before it ran: there may be nothing to keep
                self.handle(job, by).export_snapshot(name)
                self.took(name, job)
            return
        getattr(self.handle(job, by), call)(name)
        offset = self.took(name, job)
        plain, _ = self.outputs(job)
        if ends:
            self.stopped(job, JobStatus.FAILED, cancelled=True)
        if job.status is not JobStatus.RUNNING and job.guarantee is not AT_LEAST_ONCE:
            own = self.items[job.place.offset : offset]  # else the last item is of an earlier run
            assert plain[-1:] == own[-1:] or (not own and len(job.runs) > 1), "what was written is what it knows of"

    def took(self, name, job):
        offset, *_ = snapshots.checkpoint(self.home, name)["sources"]["in"]["partitions"]["0"]
        assert job.place.offset <= offset <= len(self.items)
        self.snapshots[name] = Place(offset, job.place.origin)
        return offset

    @precondition(lambda self: self.snapshots)
    @rule(by=some_client, name=st.sampled_from(SNAPSHOTS))
    def destroy(self, by, name):
        name = self.called(name)
        snapshot = self.jets[by].get_job_state_snapshot(name)
        assert (snapshot is not None) == (name in self.snapshots)
        if snapshot is not None:
            snapshot.destroy()
            del self.snapshots[name]
            with pytest.raises(SnapshotError, match=name):
                snapshot.destroy()

    @precondition(lambda self: any(job.status is JobStatus.RUNNING for job in self.jobs))
    @rule(index=some_job)
    def kill_worker(self, index):
        running = [job for job in self.jobs if job.status is JobStatus.RUNNING]
        job = running[index % len(running)]
        if job.deaths == 2 and job.guarantee is not NONE:
            commits = self.record(job).commits
            self.publish(1)
            self.until(lambda: self.record(job).commits > commits, "a commit")  # rows may be there before it
            job.deaths = 0
        self.settle(job)
        fails = job.deaths == 2 or (job.guarantee is NONE and self.fresh_place(job) is None)
        worker, run = self.worker(job), self.record(job).run
        os.kill(worker, signal.SIGKILL)
        job.deaths += 1
        if fails:
            with pytest.raises(JobFailedError, match="was killed by signal 9"):
                self.handle(job).join(120)
            self.stopped(job, JobStatus.FAILED)
            return
        self.until(lambda: self.worker(job) not in (None, worker), "another worker")
        self.until(lambda: self.handle(job).status is JobStatus.RUNNING, "RUNNING")
        assert (self.record(job).run != run) == (job.guarantee is NONE)
        if job.guarantee is NONE:
            job.end_run(len(self.items))
            job.begin(self.fresh_place(job))
        self.workers.add(self.worker(job))

    @precondition(lambda self: any(job.status is JobStatus.RUNNING and job.owner for job in self.jobs))
    @rule(really=seldom)
    def second_client_goes(self, really):
        """By an exception, and another one comes: its jobs are suspended, and not by a user."""
        if not really:
            return
        with contextlib.suppress(ZeroDivisionError), self.clients[1]:
            _ = 1 // 0
        self.clients[1] = self.connect()
        self.jets[1] = self.clients[1].get_jet()
        for job in self.jobs:
            if job.status is JobStatus.RUNNING and job.owner == 1:
                self.stopped(job, JobStatus.SUSPENDED, suspended_by="client")
                assert "ZeroDivisionError" in self.handle(job).suspension_cause

    @precondition(lambda self: self.jobs)
    @rule(index=some_job, by=some_client)
    def join(self, index, by):
        job, handle = self.pick(index), self.handle(self.pick(index), by)
        if job.active:
            with pytest.raises(TimeoutException, match="goes on"):
                handle.join(0)
        elif job.status is JobStatus.COMPLETED:
            handle.join(0)
        else:
            with pytest.raises(JobCancelledError if job.cancelled else JobFailedError):
                handle.join(0)

    # What always holds

    @invariant()
    def every_client_sees_the_same(self):
        for jet in self.jets:
            known = {each.id: each for each in jet.get_jobs()}
            for job in self.jobs:
                handle = known[job.id]
                status = handle.status
                assert job.may_be(status), f"{status}, not {job.status}"
                assert (handle.suspension_cause is not None) == (status is JobStatus.SUSPENDED)
                assert handle.is_user_cancelled == job.cancelled
            for name in {job.name for job in self.jobs} - {None}:
                named = [job for job in self.jobs if job.name == name]
                assert jet.get_job_by_name(name).id == (self.active(name) or named[-1]).id
            ours = {each.name for each in jet.get_job_state_snapshots() if each.name.endswith(f"-{self.number}")}
            assert ours == set(self.snapshots)

    @invariant()
    def who_suspended_it_is_known(self):
        for job in self.jobs:
            if job.status is JobStatus.SUSPENDED:
                assert self.record(job).suspended_by == job.suspended_by

    def teardown(self):
        try:
            self.end()
        finally:
            for client in self.clients:
                with contextlib.suppress(KeyError), client:
                    raise KeyError("jobs of a test that has failed are not waited for")

    def end(self):
        for job in self.jobs:
            if job.status is JobStatus.RUNNING:
                self.settle(job)
            if job.active:
                self.handle(job).cancel()
                self.stopped(job, JobStatus.FAILED, cancelled=True)
        for worker in self.workers - {None}:
            self.gone(worker)
        self.check_events()
        conn = self.clients[0]._session.db.reader()
        for table in ("checkpoints", "segments", "outbox", "pipelines"):
            places = ",".join(f"'{job.id}'" for job in self.jobs) or "''"
            assert conn.execute(f"SELECT count(*) FROM {table} WHERE job IN ({places})").fetchone() == (0,)
        assert conn.execute("SELECT count(*) FROM commands").fetchone() == (0,)

    def check_events(self):
        """The listeners have heard of a chain of legal changes, up to the end."""
        for job in self.jobs:
            if job.events or job.status is JobStatus.FAILED:
                self.until(
                    lambda job=job: job.events[-1:] and job.events[-1].new_status.is_terminal(), "the last event"
                )
            for event, following in itertools.pairwise(job.events):
                assert event.new_status is following.previous_status
            for event in job.events:
                assert event.previous_status.can_become(event.new_status)
            if job.events:
                assert (job.events[-1].new_status, job.events[-1].is_user_requested) == (job.status, job.cancelled)
