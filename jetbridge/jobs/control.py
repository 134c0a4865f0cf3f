"""Steering jobs, wherever they run: suspend, resume, restart, cancel, named snapshots.

Each call does its work where the job is carried out: here, or in the process
that the job belongs to. A job whose owner dies meanwhile is SUSPENDED, and what
can be done to such a job is then done here.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

from jetbridge.errors import JetbridgeError, JobStateError, SnapshotError, StoreError
from jetbridge.job import JobStatus
from jetbridge.jobs import commands, ownership
from jetbridge.jobs.discarding import discard
from jetbridge.store import runs, snapshots, states

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from jetbridge.jobs.session import Session
    from jetbridge.runner import Execution
    from jetbridge.store.records import JobRecord

_LOGGER = logging.getLogger("jetbridge")
_BEGINNING = (JobStatus.NOT_RUNNING.value, JobStatus.STARTING.value)
_RUNNING = (*_BEGINNING, JobStatus.RUNNING.value)
_SUSPENDED = JobStatus.SUSPENDED.value
_EXPORTING = JobStatus.SUSPENDED_EXPORTING_SNAPSHOT.value
_KILLING = 10.0  # seconds in which a killed worker is gone
_ASKED = "a user asked for it"
_RESTARTING = "it is being restarted"
_CANCELLING = "it is being cancelled"


class Control:
    """The calls that change what a job does; each returns when that has happened.

    Args:
        session: The session of the client that calls.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def carry_out(self, kind: str, job_id: str, arguments: dict[str, Any]) -> None:
        """Carry out another client's call on a job of this one."""
        record = self._session.read(job_id)
        if record is not None:
            calls: dict[str, Callable[..., Any]] = {
                "suspend": self.suspend,
                "restart": self.restart,
                "export_snapshot": self.export_snapshot,
                "cancel_and_export_snapshot": self.cancel_and_export_snapshot,
            }
            calls[kind](record, **arguments)

    def suspend(self, record: JobRecord) -> JobRecord:
        """Suspend a running job.

        Raises:
            JobStateError: When it is not running, or has ended before it could be suspended.
        """
        asked = False
        while True:
            now = self._read(record)
            if asked and now.status == _SUSPENDED:
                if now.suspended_by == "client":  # its owner died in the middle of it
                    self._session.registry.transition(now.id, [_SUSPENDED], _SUSPENDED, suspended_by="user")
                return self._read(now)
            self._refuse_unless("suspend", now, _RUNNING, "only a running job can be suspended")
            asked = True
            self._where_it_runs(now, "suspend", lambda execution: execution.suspend("user", _ASKED))

    def resume(self, record: JobRecord, call: str = "resume") -> JobRecord:
        """Resume a suspended job in this process.

        Raises:
            JobStateError: When it is not suspended.
        """
        now = self._read(record)
        self._refuse_unless(call, now, (_SUSPENDED,), "only a suspended job can be resumed")
        now = self._session.jobs.resume(now)
        self._await_run(now, self._session.jobs.execution(now))
        return self._read(now)

    def restart(self, record: JobRecord) -> JobRecord:
        """Suspend a running job and resume it.

        Raises:
            JobStateError: When it is not running, or has ended before that.
        """
        asked = False
        while True:
            now = self._read(record)
            if asked and now.status == _SUSPENDED:
                return self._resume_again(now)
            hint = "call resume()" if now.status == _SUSPENDED else "only a running job can be restarted"
            self._refuse_unless("restart", now, _RUNNING, hint)
            asked = True
            if self._where_it_runs(now, "restart", lambda execution: execution.suspend("restart", _RESTARTING)):
                return self._read(now)  # by its owner

    def _resume_again(self, record: JobRecord) -> JobRecord:
        """The second half of a restart; a job for which it fails is suspended by that, and says so."""
        try:
            return self.resume(record, "restart")
        except JetbridgeError as error:
            now = self._read(record)
            if now.status == _SUSPENDED and now.suspended_by in ("restart", "client"):
                cause = f"it could not be restarted: {error}"
                self._session.registry.transition(now.id, [_SUSPENDED], _SUSPENDED, suspended_by="failure", cause=cause)
            raise

    def cancel(self, record: JobRecord) -> JobRecord:
        """Cancel a job, whatever it does and wherever.

        Raises:
            JobStateError: When it has ended already.
        """
        session = self._session
        session.check_open()
        now = self._read(record)
        if now.is_unattended:
            _LOGGER.warning(
                "cancel: %s runs on in the cluster %s, and no client of that cluster is here: it writes nothing any "
                "more, and its job %s is to be cancelled there",
                session.describe(now),
                now.remote_cluster,
                (now.engine or {})["ids"][-1],
            )
        left: list[tuple[JobRecord, bytes, dict[str, Any] | None]] = []
        execution = session.jobs.get(record.id)  # without one its owner sees what the registry says
        last = None if execution is None else execution.metrics()

        def keep(tx: sqlite3.Connection, job: JobRecord) -> dict[str, Any]:
            with contextlib.suppress(StoreError):  # a damaged job can still be cancelled
                if job.staged:
                    left.append((job, session.registry.pipeline(job.id), states.load(tx, job.id)))
            return {} if last is None else {"metrics": last}

        done = not JobStatus(record.status).is_terminal() and session.registry.transition(
            record.id,
            [status.value for status in JobStatus.leading_to(JobStatus.FAILED)],
            JobStatus.FAILED.value,
            also=keep,
            user_cancelled=True,
            owner=None,
            end_time=int(time.time() * 1000),
        )
        now = self._read(record)
        if not done:
            self._refuse_unless("cancel", now, (), "")
        if execution is not None:
            execution.kill()
            execution.wait(_KILLING)
        for job, payload, checkpoint in left:
            discard(session.db.home, job, payload, checkpoint)
        return now

    def export_snapshot(self, record: JobRecord, name: str) -> JobRecord:
        """Take a named snapshot of a running or suspended job.

        Raises:
            SnapshotError: When the name is none, or the snapshot cannot be written.
            JobStateError: When the job has ended, or is suspended without a guarantee.
        """
        snapshots.check_name(name)
        while True:
            now = self._read(record)
            if now.status == _SUSPENDED:
                return self._export_suspended("export_snapshot", now, name)
            self._refuse_unless("export_snapshot", now, _RUNNING, "only a running or suspended job has a state")
            if self._where_it_runs(now, "export_snapshot", lambda execution: execution.export(name), name=name):
                return self._read(now)

    def cancel_and_export_snapshot(self, record: JobRecord, name: str) -> JobRecord:
        """Take a named snapshot of a job and end it there.

        Raises:
            SnapshotError: As `export_snapshot`; the job is then SUSPENDED.
            JobStateError: As `export_snapshot`.
        """
        call = "cancel_and_export_snapshot"
        snapshots.check_name(name)

        def stop(execution: Execution) -> bool:
            self._await_run(now, execution)  # before that it has committed nothing
            if not runs.goes_on(now):
                return execution.export(name, last=True) and bool(execution.wait() or True)
            execution.suspend("user", _CANCELLING)
            return False

        while True:
            now = self._read(record)
            if now.status == _SUSPENDED:
                return self.cancel(self._export_suspended(call, now, name))
            self._refuse_unless(call, now, _RUNNING, "only a running or suspended job has a state")
            if self._where_it_runs(now, call, stop, name=name):
                now = self._read(now)
                return now if JobStatus(now.status).is_terminal() else self.cancel(now)

    def _await_run(self, record: JobRecord, execution: Execution | None) -> None:
        """Wait until a job that begins runs, or does not any more."""
        while record.status in _BEGINNING and execution is not None and not execution.wait(0.005):
            record = self._read(record)

    def _export_suspended(self, call: str, record: JobRecord, name: str) -> JobRecord:
        if not runs.goes_on(record):
            raise JobStateError(
                f"{call}: {self._session.describe(record)} is {record.status} and has no processing guarantee, so no "
                "state was kept: take the snapshot while it runs, or submit it with a guarantee"
            )
        if record.stands_in_cluster:
            raise SnapshotError(
                f"{call}: {self._session.describe(record)} is {record.status} at a checkpoint of its cluster, since "
                "nobody was there to take a savepoint, and such a checkpoint cannot be copied: resume the job, and "
                "take the snapshot while it runs"
            )
        registry, owner = self._session.registry, ownership.claim(self._session.id)
        if not registry.transition(record.id, [_SUSPENDED], _EXPORTING, owner=owner):
            self._refuse_unless(call, self._read(record), (), "it has just changed")
        try:
            snapshots.export(self._session.db, record.id, record.name, name)
        finally:
            registry.transition(record.id, [_EXPORTING], _SUSPENDED, token=owner["token"], owner=None)
        return self._read(record)

    def _where_it_runs(self, record: JobRecord, call: str, here: Callable[[Execution], Any], **arguments: Any) -> bool:
        """Do something to a job of this client, or let its owner do it; False when the job is to be looked at again."""
        execution = self._session.jobs.execution(record)
        if execution is None:
            return commands.ask(self._session, record, call, arguments)
        done = bool(here(execution))
        if not done:
            self._session.jobs.check_supervised(record, execution)
        return done

    def _read(self, record: JobRecord) -> JobRecord:
        return self._session.read(record.id) or record

    def _refuse_unless(self, call: str, record: JobRecord, statuses: tuple[str, ...], hint: str) -> None:
        if record.status in statuses:
            return
        if JobStatus(record.status).is_terminal():
            hint = "which is its end"
            raise JobStateError(f"{call}: {self._session.describe(record)} is {record.status}, {hint}")
        cause = f" ({record.cause})" if record.status == _SUSPENDED and record.cause else ""
        raise JobStateError(f"{call}: {self._session.describe(record)} is {record.status}{cause}: {hint}")
