"""What a client has open: its data folder, the runner, and the jobs that it carries out.

`Client`, `JetService` and `Job` are views of it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shlex
import sys
import time
import weakref
from typing import TYPE_CHECKING, Any

from jetbridge.errors import JetbridgeError, StoreError
from jetbridge.job import JobStatus
from jetbridge.jobs import endings, ownership
from jetbridge.jobs.commands import Attendant
from jetbridge.jobs.control import Control
from jetbridge.jobs.executions import Executions
from jetbridge.jobs.listening import Listeners
from jetbridge.jobs.structures import ClusterStructures
from jetbridge.store import runs
from jetbridge.store.database import Database
from jetbridge.store.registry import Registry, StaleOwnerError

if TYPE_CHECKING:
    from jetbridge.job import Job
    from jetbridge.plan.graph import Plan
    from jetbridge.runner import Runner
    from jetbridge.settings import Settings
    from jetbridge.store.records import JobRecord

_LOGGER = logging.getLogger("jetbridge")
_LAST_WORDS = 10.0  # seconds in which a killed job is gone
_ENDED = "its client ended, and it never ends by itself"
_SHORT = 20  # lines of a traceback that are printed for a job that nobody has joined
_QUIET = 2.0  # seconds of waiting at the end of a client after which it says what it waits for


class Session:
    """An open data folder and the jobs of this process in it.

    Args:
        settings: The settings.
        runner: The runner's class.

    Attributes:
        id: What tells the clients of one process apart.
        jobs: The jobs that it carries out.
        control: The calls that change what a job does.
        listeners: Status listeners.
        handles: The user's handles of jobs.
        abandoned: The jobs that became SUSPENDED since something ended the wait for them at the end.
        structures: The structures that names mean: those of a Hazelcast cluster, or None for those of the data folder.
    """

    def __init__(self, settings: Settings, runner: type[Runner]) -> None:
        self.settings = settings
        self.structures = None if settings.hazelcast is None else ClusterStructures(settings.hazelcast)
        self.db = Database.open(settings.home)
        with contextlib.ExitStack() as undo:
            undo.callback(self.db.close)
            self.registry = Registry(self.db)
            self.runner = runner(settings, self.db)
            undo.callback(self.runner.close)
            self.runner.warm()
            undo.pop_all()
        self.id = secrets.token_hex(8)
        self.closed = False
        self.abandoned: list[JobRecord] = []
        self.unjoined: set[str] = set()  # jobs of this client that nobody has waited for, or not to their end
        self.handles: weakref.WeakSet[Job] = weakref.WeakSet()
        self.jobs = Executions(self)
        self.control = Control(self)
        self.attendant = Attendant(self, self.control.carry_out)
        self.listeners = Listeners(self.registry)
        self._pid = os.getpid()

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

    def bound(self, plan: Plan) -> Plan:
        """A plan whose names mean what they mean for this client."""
        return plan if self.structures is None else self.structures.bound(plan)

    # Jobs as they are in the registry

    def read(self, job_id: str) -> JobRecord | None:
        """A job as it is now; None if there is none of that id."""
        self.check_open()
        record = self.registry.get(job_id)
        return None if record is None else self.settled(record)

    def settled(self, record: JobRecord) -> JobRecord:
        """The record; with the job SUSPENDED if it needs the process that it belonged to, and that has died.

        A job that runs on in a cluster belongs to nobody then, or from now on to this client if the cluster is its own.
        """
        owner = record.owner
        if JobStatus(record.status).is_terminal() or (owner is not None and ownership.is_alive(owner)):
            return record
        if record.remote_cluster is not None:
            return self.jobs.attach(record)
        if owner is None:
            return record
        changes = {"cause": f"its client, process {owner['pid']}, has died", "suspended_by": "client"}
        if record.status == JobStatus.SUSPENDED_EXPORTING_SNAPSHOT.value:
            changes = {}  # the process that took the snapshot has died; the job is suspended for its old reason
        # A statement with the old owner's token: nobody else may have taken the job over meanwhile.
        with contextlib.suppress(StaleOwnerError):
            self.registry.update(
                record.id, token=owner["token"], status=JobStatus.SUSPENDED.value, owner=None, **changes
            )
        return self.registry.get(record.id) or record

    @staticmethod
    def describe(record: JobRecord) -> str:
        """The job as messages call it."""
        return f"job '{record.name}' ({record.id})" if record.name else f"job {record.id}"

    def wait(self, record: JobRecord, timeout: float | None) -> JobRecord:
        """Wait until a job has ended, here or in another process, and its output has been shown.

        Returns:
            The record; of a job that has not ended if the time is over.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause, told = 0.01, False
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            execution = self.jobs.get(record.id)
            ended = execution is None or execution.wait(left)
            if JobStatus(record.status).is_terminal():
                self.unjoined.discard(record.id)
                return record
            record = self.read(record.id) or record
            if JobStatus(record.status).is_terminal():
                continue
            if not ended or (left is not None and left <= 0):
                return record
            if execution is not None:
                self.jobs.check_supervised(record, execution)
            if record.is_unattended and not told:
                told = True
                _LOGGER.warning(
                    "join: %s runs on in the cluster %s, and no client of that cluster is here to see its end",
                    self.describe(record),
                    record.remote_cluster,
                )
            if record.status == JobStatus.SUSPENDED.value and record.suspended_by != "restart" and not told:
                told = True
                _LOGGER.warning(
                    "join: %s is SUSPENDED (%s) and waits to be resumed or cancelled",
                    self.describe(record),
                    record.cause,
                )
            time.sleep(pause if left is None else min(pause, left))
            pause = min(2 * pause, 0.2)

    def metrics(self, record: JobRecord) -> dict[str, Any] | None:
        """The newest metrics of a job."""
        if not JobStatus(record.status).is_terminal():
            execution = self.jobs.execution(record)
            live = execution.metrics() if execution is not None and not execution.wait(0) else None
            if live is not None:
                return live
        return record.metrics

    # The end

    def finish(self) -> None:
        """End normally: suspend unbounded jobs, wait for the others, close. Ctrl-C while waiting suspends them too.

        Those that run on in a cluster are left to it.
        """
        if self.closed or not self.ours:
            return
        try:
            while self.jobs.running or self.attendant.busy:
                self._detach()
                self._suspend_unbounded()
                running = self.jobs.running
                if not running:
                    time.sleep(0.01)  # somebody restarts a job
                    continue
                execution = running[0]
                if not execution.wait(_QUIET):
                    record = self.read(execution.job_id)
                    if record is not None:
                        _say(f"waiting for {self.describe(record)}; Ctrl-C suspends it")
                    execution.wait()
        except BaseException as error:
            self.abandoned = self._abandon(f"its client ended with {type(error).__name__} while it waited for the job")
            raise
        endings.failures += self._close()

    def unseen_failures(self) -> list[JobRecord]:
        """Jobs of this client that failed and were neither joined nor listened to, the oldest first."""
        found = []
        for job_id in list(self.unjoined):
            with contextlib.suppress(StoreError):
                record = self.registry.get(job_id)
                if record is None or record.status != JobStatus.FAILED.value or record.user_cancelled:
                    continue
                if not self.listeners.hear(job_id):
                    found.append(record)
        return sorted(found, key=lambda record: record.submission_time)

    def _tell_failures(self) -> list[str]:
        """Print the failures that nobody has seen, and give them as lines."""
        lines = []
        for record in self.unseen_failures():
            error = record.error or {}
            first, _, rest = str(error.get("message")).strip().partition("\n")
            details = "\n".join(part.rstrip() for part in (rest, error.get("traceback") or "") if part.strip())
            lines.append(f"{self.describe(record)} failed: {first}")
            if details.count("\n") < _SHORT:
                _say("\n".join(filter(None, (lines[-1], details))))
            else:
                _say(f"{lines[-1]} (jetbridge show {record.id} prints its traceback)")
        return lines

    def _detach(self) -> None:
        for execution in self.jobs.running:
            if execution.detach():
                record = self.registry.get(execution.job_id)
                if record is not None and record.remote_cluster is not None:
                    _say(
                        f"{self.describe(record)} runs on in the cluster {record.remote_cluster}; the next client of "
                        "that cluster looks after it"
                    )

    def _suspend_unbounded(self) -> None:
        unbounded = []
        for execution in self.jobs.running:
            record = self.registry.get(execution.job_id)
            if record is not None and record.unbounded:
                execution.stop("client", _ENDED)
                unbounded.append(execution)
        for execution in unbounded:
            execution.suspend("client", _ENDED)
            record = self.registry.get(execution.job_id)
            if record is not None and record.status == JobStatus.SUSPENDED.value:
                _say(f"{self.describe(record)} never ends and is SUSPENDED; {_way_on(record)}")

    def abandon(self, cause: str) -> None:
        """End at once: the jobs of this client become SUSPENDED, and their workers are killed. It says which.

        Those that run on in a cluster are left to it.

        Args:
            cause: Why, for `Job.suspension_cause`.
        """
        for record in self._abandon(cause):
            _say(
                f"{self.describe(record)} is SUSPENDED, since its client did not end normally; "
                "new_job_if_absent or resume goes on"
            )

    def _abandon(self, cause: str) -> list[JobRecord]:
        left: list[JobRecord] = []
        if self.closed or not self.ours:
            return left
        self.jobs.close()
        self._detach()
        running = self.jobs.running
        for execution in running:
            # What cannot be written now is found by the next reader: the owner will be dead.
            with contextlib.suppress(StoreError):
                left += self._give_up(execution.job_id, cause)
            execution.kill()
        for execution in running:
            execution.wait(_LAST_WORDS)
        self._close()
        return left

    def _give_up(self, job_id: str, cause: str) -> list[JobRecord]:
        while True:
            record = self.registry.get(job_id)
            owner = (record and record.owner) or {}
            if record is None or owner.get("client") != self.id:
                return []
            done = self.registry.transition(
                job_id,
                [status.value for status in JobStatus.leading_to(JobStatus.SUSPENDED)],
                JobStatus.SUSPENDED.value,
                token=owner["token"],
                owner=None,
                cause=cause,
                suspended_by="client",
            )
            if done or JobStatus(record.status).is_terminal():
                return [record] if done else []

    def _close(self) -> list[str]:
        """Close; returns the failures that nobody has seen."""
        self.jobs.close()
        self.attendant.close()
        self.listeners.close()
        for job in list(self.handles):
            with contextlib.suppress(StoreError):
                job._refresh()
        failures = self._tell_failures()
        self.closed = True
        self.runner.close()
        if self.structures is not None:
            self.structures.close()
        self.db.close()
        return failures


def _way_on(record: JobRecord) -> str:
    """How a suspended job is started again, and from where."""
    how = f"`jetbridge resume {shlex.quote(record.name or record.id)}`"
    if record.name:
        how = f"new_job_if_absent or {how}"
    return f"{how} {'goes on' if runs.goes_on(record) else 'starts it afresh, as it has no processing guarantee'}"


def _say(text: str) -> None:
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            print(f"jetbridge: {text}", file=sys.stderr)
