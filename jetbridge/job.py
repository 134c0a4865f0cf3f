"""Jobs: their status, and the handle that `JetService.submit` gives."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, NamedTuple

from jetbridge.config import JobConfig
from jetbridge.errors import (
    ConfigError,
    JobCancelledError,
    JobFailedError,
    JobStateError,
    TimeoutException,
)
from jetbridge.metrics import JobMetrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetbridge.jobs.session import Session
    from jetbridge.store.records import JobRecord


class JobStatus(enum.Enum):
    """What a job is doing.

    Example:
        >>> from jetbridge import JobStatus
        >>> print(JobStatus.COMPLETED, JobStatus.COMPLETED.is_terminal(), JobStatus.SUSPENDED.is_terminal())
        COMPLETED True False
    """

    NOT_RUNNING = "NOT_RUNNING"
    """Submitted, or to be started again, and not started yet."""
    STARTING = "STARTING"
    """Its worker is being started."""
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    """It does nothing until it is resumed or cancelled."""
    SUSPENDED_EXPORTING_SNAPSHOT = "SUSPENDED_EXPORTING_SNAPSHOT"
    COMPLETING = "COMPLETING"
    """All is processed; the sinks are being completed."""
    FAILED = "FAILED"
    """It ended by a failure or was cancelled."""
    COMPLETED = "COMPLETED"

    def __str__(self) -> str:
        return self.value

    def is_terminal(self) -> bool:
        """Whether the job has ended for good."""
        return not _NEXT[self]

    def can_become(self, status: JobStatus) -> bool:
        """Whether a job may go from this status to another one.

        Example:
            >>> JobStatus.SUSPENDED.can_become(JobStatus.NOT_RUNNING)
            True
            >>> JobStatus.COMPLETED.can_become(JobStatus.RUNNING)
            False
        """
        return status in _NEXT[self]

    @classmethod
    def leading_to(cls, status: JobStatus) -> tuple[JobStatus, ...]:
        """The statuses from which a job may go to another one."""
        return tuple(each for each in cls if each.can_become(status))


_S = JobStatus
_NEXT: dict[JobStatus, frozenset[JobStatus]] = {
    _S.NOT_RUNNING: frozenset({_S.STARTING, _S.SUSPENDED, _S.FAILED}),
    # Back to NOT_RUNNING: restart. From RUNNING to STARTING: the worker has died and another one takes over.
    _S.STARTING: frozenset({_S.NOT_RUNNING, _S.STARTING, _S.RUNNING, _S.SUSPENDED, _S.FAILED}),
    _S.RUNNING: frozenset({_S.NOT_RUNNING, _S.STARTING, _S.COMPLETING, _S.COMPLETED, _S.SUSPENDED, _S.FAILED}),
    _S.COMPLETING: frozenset({_S.STARTING, _S.COMPLETED, _S.SUSPENDED, _S.FAILED}),
    _S.SUSPENDED: frozenset({_S.NOT_RUNNING, _S.SUSPENDED_EXPORTING_SNAPSHOT, _S.FAILED}),
    _S.SUSPENDED_EXPORTING_SNAPSHOT: frozenset({_S.SUSPENDED, _S.FAILED}),
    _S.FAILED: frozenset(),
    _S.COMPLETED: frozenset(),
}


_AT_REST = (JobStatus.SUSPENDED.value, JobStatus.SUSPENDED_EXPORTING_SNAPSHOT.value)


class JobStatusEvent(NamedTuple):
    """A change of a job's status; see `Job.add_status_listener`.

    Example:
        >>> from jetbridge import JobStatus, JobStatusEvent
        >>> JobStatusEvent(JobStatus.RUNNING, JobStatus.FAILED, is_user_requested=True).new_status.is_terminal()
        True

    Attributes:
        previous_status: The status before.
        new_status: The status after.
        is_user_requested: Whether a user asked for it, by suspend, resume, restart or cancel.
    """

    previous_status: JobStatus
    new_status: JobStatus
    is_user_requested: bool


class Job:
    """A handle for a job. Any number of handles, in any process, may stand for one job.

    Example:
        >>> import jetbridge, tempfile
        >>> from jetbridge import JobConfig, Pipeline
        >>> with jetbridge.connect(home=tempfile.mkdtemp()) as client:
        ...     pipeline = Pipeline.create()
        ...     source = pipeline.read_from(Pipeline.from_list("numbers", [1, 2, 3]))
        ...     stage = source.map(lambda n: n * n).write_to(Pipeline.to_list("squares"))
        ...     job = client.get_jet().submit(pipeline, JobConfig(name="squares"))
        ...     job.join(timeout=60)
        ...     print(job.name, job.status, client.get_list("squares").get_all())
        squares COMPLETED [1, 4, 9]

        A job that reads a stream is steered:

        >>> from jetbridge import StreamSource
        >>> pipeline = Pipeline.create()
        >>> stage = pipeline.read_from(StreamSource("clicks")).write_to(Pipeline.to_list("seen"))
        >>> with jetbridge.connect(home=tempfile.mkdtemp()) as client:
        ...     job = client.get_jet().submit(pipeline, JobConfig(processing_guarantee="EXACTLY_ONCE"))
        ...     job.suspend()
        ...     print(job.status)
        ...     job.resume()
        ...     job.restart()
        ...     job.export_snapshot("monday")
        ...     print(job.get_metrics().received_count, job.is_terminal())
        ...     job.cancel()
        ...     print(job.status, job.is_terminal(), job.is_user_cancelled)
        SUSPENDED
        0 False
        FAILED True True
    """

    def __init__(self, session: Session, record: JobRecord) -> None:
        self._session = session
        self._last = record
        session.handles.add(self)

    @property
    def id(self) -> str:
        """The job's id: the same in every process, and for its whole life."""
        return self._last.id

    @property
    def name(self) -> str | None:
        """The name that its config gave it, or None."""
        return self._last.name

    @property
    def config(self) -> JobConfig:
        """A copy of the config that it was submitted with."""
        return JobConfig(**self._last.config)

    @property
    def submission_time(self) -> int:
        """When it was submitted, in milliseconds since the epoch."""
        return self._last.submission_time

    @property
    def status(self) -> JobStatus:
        """What it is doing now; after its client's shutdown, what it was doing then."""
        return JobStatus(self._record().status)

    @property
    def suspension_cause(self) -> str | None:
        """Why it is suspended, or None when it is not."""
        record = self._record()
        return record.cause if record.status in _AT_REST else None

    def is_terminal(self) -> bool:
        """Whether it has ended: COMPLETED or FAILED."""
        return self.status.is_terminal()

    @property
    def is_user_cancelled(self) -> bool:
        """Whether it ended because somebody cancelled it."""
        return self._record().user_cancelled

    def join(self, timeout: float | None = None) -> None:
        """Wait until the job has ended. What it printed has been shown by then.

        A suspended job has not ended: this goes on waiting, for someone to resume or cancel it.

        Args:
            timeout: Seconds to wait at most; None for as long as it takes.

        Raises:
            TimeoutException: When the time is over; the job goes on, unless it is suspended.
            JobFailedError: When it failed: with the stage, the item and the traceback.
            JobCancelledError: When it was cancelled.
            ConfigError: When ``timeout`` is no number of seconds from 0 on.
        """
        record = self._session.wait(self._record(), _checked(timeout))
        self._last = record
        described = self._session.describe(record)
        if not JobStatus(record.status).is_terminal():
            at_rest = record.status in _AT_REST and record.suspended_by != "restart"
            cause, then = (f" ({record.cause})", "resume() goes on with it") if at_rest else ("", "it goes on")
            raise TimeoutException(f"{described} is {record.status} after {timeout:g} s{cause}; {then}")
        if record.user_cancelled:
            raise JobCancelledError(f"{described} was cancelled")
        if record.status == JobStatus.FAILED.value:
            error = record.error or {}
            trace = error.get("traceback")
            raise JobFailedError(
                f"{described} failed: {error.get('message')}" + (f"\n\n{trace.rstrip()}" if trace else ""),
                stage=error.get("stage"),
                item=error.get("item"),
                user_traceback=trace,
            )

    def suspend(self) -> None:
        """Stop the job so that it can be resumed; returns when it is SUSPENDED.

        With a guarantee it commits a last time and is resumed at that very place.
        Without one, `resume` starts it afresh: as a new run, whose output comes
        behind what the sinks have received before. A stage whose function does not
        come back within some seconds is killed; the job then stands at its last commit.

        Raises:
            JobStateError: When it is not running, or has ended before it could be suspended.
        """
        self._last = self._session.control.suspend(self._record())

    def resume(self) -> None:
        """Start a suspended job again; returns when it is RUNNING, or has ended already.

        It belongs to this process from then on, whoever submitted it, and runs the
        pipeline that was stored with it: exactly once, at least once or afresh, by
        its guarantee.

        Raises:
            JobStateError: When it is not suspended.
        """
        self._last = self._session.control.resume(self._record())

    def restart(self) -> None:
        """Suspend a running job and resume it, where it runs; returns when it is RUNNING again.

        Raises:
            JobStateError: When it is not running.
        """
        self._last = self._session.control.restart(self._record())

    def cancel(self) -> None:
        """End the job for good, without its remaining input; returns when that has been done.

        It ends in FAILED with `is_user_cancelled`. What was committed stays.

        Raises:
            JobStateError: When the job has ended already.
        """
        self._session.check_open()
        self._last = self._session.control.cancel(self._record())

    def export_snapshot(self, name: str) -> None:
        """Store the job's state under a name; returns when it is durable.

        The job goes on meanwhile. A snapshot of that name is replaced. Named
        snapshots outlive their job: see `JobConfig.initial_snapshot_name` and
        `JetService.get_job_state_snapshots`.

        Args:
            name: The snapshot's name.

        Raises:
            SnapshotError: When the name is none, or the snapshot cannot be written. On Flink also of a job that is
                suspended because its client was killed: its checkpoint cannot be copied.
            JobStateError: When the job has ended, or is suspended and has no guarantee.
            UnsupportedByRunnerError: On Flink for a bounded job without a guarantee, which runs in batch mode.
        """
        self._last = self._session.control.export_snapshot(self._record(), name)

    def cancel_and_export_snapshot(self, name: str) -> None:
        """Store the job's state under a name and end the job there: nothing is processed in between.

        Args:
            name: The snapshot's name.

        Raises:
            SnapshotError: When the name is none, or the snapshot cannot be
                written; the job is left SUSPENDED in the second case.
            JobStateError: When the job has ended, or is suspended and has no guarantee.
            UnsupportedByRunnerError: As for `export_snapshot`.
        """
        self._last = self._session.control.cancel_and_export_snapshot(self._record(), name)

    def add_status_listener(self, listener: Callable[[JobStatusEvent], object]) -> str:
        """Have a function called at each change of the job's status, also when another process makes it.

        It is called in a thread of the client, in the order of the changes and soon
        after them. What it raises is logged and does no harm.

        Example:
            >>> import jetbridge, tempfile
            >>> from jetbridge import Pipeline, StreamSource
            >>> heard = []
            >>> with jetbridge.connect(home=tempfile.mkdtemp()) as client:
            ...     pipeline = Pipeline.create()
            ...     stage = pipeline.read_from(StreamSource("clicks")).write_to(Pipeline.to_list("seen"))
            ...     job = client.get_jet().submit(pipeline)
            ...     listener_id = job.add_status_listener(heard.append)
            ...     job.cancel()
            >>> print(heard[-1].new_status, heard[-1].is_user_requested)
            FAILED True

        Args:
            listener: Takes a `JobStatusEvent`.

        Returns:
            The listener's id, for `remove_status_listener`.

        Raises:
            ConfigError: When it cannot be called.
            JobStateError: When the job has ended, so that nothing will change.
        """
        if not callable(listener):
            raise ConfigError(f"add_status_listener must be given a callable; got {listener!r}")
        self._session.check_open()
        record = self._record()
        if JobStatus(record.status).is_terminal():
            described = self._session.describe(record)
            raise JobStateError(f"add_status_listener: {described} is {record.status}, which is its end")
        return self._session.listeners.add(record, listener)

    def remove_status_listener(self, listener_id: str) -> bool:
        """Call a listener no more.

        Example:
            >>> import jetbridge, tempfile
            >>> from jetbridge import Pipeline, StreamSource
            >>> with jetbridge.connect(home=tempfile.mkdtemp()) as client:
            ...     pipeline = Pipeline.create()
            ...     stage = pipeline.read_from(StreamSource("clicks")).write_to(Pipeline.to_list("seen"))
            ...     job = client.get_jet().submit(pipeline)
            ...     listener_id = job.add_status_listener(lambda event: None)
            ...     print(job.remove_status_listener(listener_id), job.remove_status_listener(listener_id))
            True False

        Args:
            listener_id: What `add_status_listener` returned.

        Returns:
            False when the job has no such listener: it was removed, or the job has ended.
        """
        return self._session.listeners.remove(self.id, listener_id)

    def get_metrics(self) -> JobMetrics:
        """Figures of the current run, while it runs and after it.

        Returns:
            The figures; without any when the config says so
            (``metrics_enabled``, ``store_metrics_after_job_completion``).
        """
        record = self._record()
        config = self.config
        ended = JobStatus(record.status).is_terminal()
        if not config.metrics_enabled or (ended and not config.store_metrics_after_job_completion):
            return JobMetrics()
        return JobMetrics.from_record(self._session.metrics(record))

    def __repr__(self) -> str:
        name = f" '{self.name}'" if self.name else ""
        return f"<Job {self.id}{name} {self._last.status if self._session.closed else self.status}>"

    def _refresh(self) -> None:
        """Read the status once more, before the client is shut down."""
        self._record()

    def _record(self) -> JobRecord:
        # A job that has ended never changes, so its handle works without a client.
        if not self._session.closed and not JobStatus(self._last.status).is_terminal():
            self._last = self._session.read(self._last.id) or self._last
        return self._last


def _checked(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or math.isnan(timeout) or timeout < 0:
        raise ConfigError(f"join: timeout must be a number of seconds from 0 on, or None; got {timeout!r}")
    return min(float(timeout), _FOREVER)


_FOREVER = 86400.0 * 365
"""Waiting functions refuse numbers that are much larger."""
