"""What a client has open: its data folder, the runner, and the jobs that it carries out.

`Client`, `JetService` and `Job` are views of it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from jetbridge import ownership
from jetbridge.errors import JetbridgeError, JobError, JobStateError, StoreError
from jetbridge.job import JobStatus
from jetbridge.store.database import Database
from jetbridge.store.records import JobRecord
from jetbridge.store.registry import Registry, StaleOwnerError

if TYPE_CHECKING:
    from jetbridge.config import JobConfig
    from jetbridge.job import Job
    from jetbridge.plan.graph import Plan
    from jetbridge.runner import Execution, Runner
    from jetbridge.settings import Settings

_LOGGER = logging.getLogger("jetbridge")
_QUIET = 2.0  # seconds of waiting at the end of a client after which it says what it waits for


class Session:
    """An open data folder and the jobs of this process in it.

    Args:
        settings: The settings.
        runner: The runner's class.
    """

    def __init__(self, settings: Settings, runner: type[Runner]) -> None:
        self.settings = settings
        self.db = Database.open(settings.home)
        try:
            self.registry = Registry(self.db)
            self.runner = runner(settings, self.db)
            self.runner.warm()
        except BaseException:
            self.db.close()
            raise
        self.closed = False
        self.handles: weakref.WeakSet[Job] = weakref.WeakSet()
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._executions: dict[str, Execution] = {}

    @property
    def ours(self) -> bool:
        """False in a process that was forked from the client's."""
        return os.getpid() == self._pid

    def check_open(self) -> None:
        """Refuse to work for a client that has ended.

        Raises:
            JetbridgeError: After shutdown, and in a forked process.
        """
        if self.closed:
            raise JetbridgeError("the client is shut down: call jetbridge.connect() for a new one")
        if not self.ours:
            raise JetbridgeError(
                f"the client belongs to process {self._pid}, from which this one was forked: "
                "call jetbridge.connect() here for one of its own"
            )

    # Jobs as they are in the registry

    def read(self, job_id: str) -> JobRecord | None:
        """A job as it is now; None if there is none of that id."""
        self.check_open()
        record = self.registry.get(job_id)
        return None if record is None else self.settled(record)

    def settled(self, record: JobRecord) -> JobRecord:
        """The record; with the job SUSPENDED if the process that it belonged to has died."""
        owner = record.owner
        if owner is None or JobStatus(record.status).is_terminal() or ownership.is_alive(owner):
            return record
        cause = f"its client, process {owner['pid']}, has died"
        # A statement with the old owner's token: nobody else may have taken the job over meanwhile.
        with contextlib.suppress(StaleOwnerError):
            self.registry.update(
                record.id, token=owner["token"], status=JobStatus.SUSPENDED.value, owner=None, cause=cause
            )
        return self.registry.get(record.id) or record

    @staticmethod
    def describe(record: JobRecord) -> str:
        """The job as messages call it."""
        return f"job '{record.name}' ({record.id})" if record.name else f"job {record.id}"

    # Jobs of this process

    def start(self, config: JobConfig, plan: Plan, payload: bytes) -> JobRecord:
        """Put a new job into the registry and start it.

        Raises:
            JobAlreadyExistsError: When an active job has its name.
        """
        self.check_open()
        record = JobRecord(
            id="-".join(secrets.token_hex(2) for _ in range(4)),
            name=config.name,
            status=JobStatus.NOT_RUNNING.value,
            config=config.model_dump(mode="json"),
            submission_time=int(time.time() * 1000),
            start_time=None,
            end_time=None,
            run=secrets.token_hex(8),
            owner=ownership.claim(),
            error=None,
            cause=None,
            user_cancelled=False,
            metrics={"stages": stages_of(plan)},
            commits=0,
        )
        self.registry.add(record, payload)
        execution = self.runner.start(record, payload)
        with self._lock:
            self._executions = {key: each for key, each in self._executions.items() if not each.wait(0)}
            self._executions[record.id] = execution
        return record

    def wait(self, record: JobRecord, timeout: float | None) -> JobRecord:
        """Wait until a job has ended, here or in another process, and its output has been shown.

        Returns:
            The record; of a job that has not ended if the time is over.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause, told = 0.01, False
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            execution = self._executions.get(record.id)
            ended = execution is None or execution.wait(left)
            if JobStatus(record.status).is_terminal():
                return record
            record = self.read(record.id) or record
            if JobStatus(record.status).is_terminal():
                continue
            if not ended or (left is not None and left <= 0):
                return record
            if execution is not None and (record.owner or {}).get("pid") == self._pid:
                raise JobError(f"{self.describe(record)} is {record.status} and cannot be supervised: see the log")
            if record.status == JobStatus.SUSPENDED.value and not told:
                told = True
                _LOGGER.warning(
                    "join: %s is SUSPENDED (%s) and waits to be resumed or cancelled",
                    self.describe(record),
                    record.cause,
                )
            time.sleep(pause if left is None else min(pause, left))
            pause = min(2 * pause, 0.2)

    def cancel(self, record: JobRecord) -> JobRecord:
        """Cancel a job, of this process or not.

        Raises:
            JobStateError: When it has ended already.
        """
        self.check_open()
        done = not JobStatus(record.status).is_terminal() and self.registry.transition(
            record.id,
            [status.value for status in JobStatus.leading_to(JobStatus.FAILED)],
            JobStatus.FAILED.value,
            user_cancelled=True,
            owner=None,
            end_time=int(time.time() * 1000),
        )
        now = self.read(record.id) or record
        if not done:
            raise JobStateError(f"cancel: {self.describe(now)} is {now.status}, which is its end")
        execution = self._executions.get(record.id)
        if execution is not None:  # else its owner sees what the registry says
            execution.kill()
            execution.wait(10)
        return now

    def metrics(self, record: JobRecord) -> dict[str, Any] | None:
        """The newest metrics of a job."""
        if not JobStatus(record.status).is_terminal():
            execution = self._executions.get(record.id)
            live = execution.metrics() if execution is not None else None
            if live is not None:
                return live
        return record.metrics

    # The end

    def finish(self) -> None:
        """End normally: wait for the jobs of this process, then close. Ctrl-C while waiting suspends them."""
        if self.closed or not self.ours:
            return
        try:
            for execution in list(self._executions.values()):
                if not execution.wait(_QUIET):
                    record = self.read(execution.job_id)
                    if record is not None and sys.stderr is not None:
                        with contextlib.suppress(OSError, ValueError):
                            print(
                                f"jetbridge: waiting for {self.describe(record)}; Ctrl-C suspends it", file=sys.stderr
                            )
                    execution.wait()
        except BaseException as error:
            self.abandon(f"its client ended with {type(error).__name__} while it waited for the job")
            raise
        self._close()

    def abandon(self, cause: str) -> None:
        """End at once: the jobs of this process become SUSPENDED, and their workers are killed.

        Args:
            cause: Why, for `Job.suspension_cause`.
        """
        if self.closed or not self.ours:
            return
        running = [execution for execution in self._executions.values() if not execution.wait(0)]
        for execution in running:
            # What cannot be written now is found by the next reader: the owner will be dead.
            with contextlib.suppress(StoreError):
                self.registry.transition(
                    execution.job_id,
                    [status.value for status in JobStatus.leading_to(JobStatus.SUSPENDED)],
                    JobStatus.SUSPENDED.value,
                    owner=None,
                    cause=cause,
                )
            execution.kill()
        for execution in running:
            execution.wait(10)
        self._close()

    def _close(self) -> None:
        for job in list(self.handles):
            with contextlib.suppress(StoreError):
                job._refresh()
        self.closed = True
        self.runner.close()
        self.db.close()


def stages_of(plan: Plan) -> dict[str, dict[str, Any]]:
    """The plan's stages as metrics without figures: what a job's record knows of its pipeline."""
    return {node.name: {"kind": node.kind, "received": 0, "emitted": 0, "errors": 0} for node in plan.nodes}
