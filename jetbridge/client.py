"""The client, and the service that jobs are submitted to."""

from __future__ import annotations

import logging
import secrets
import shlex
from typing import TYPE_CHECKING, cast

from jetbridge.checks import described
from jetbridge.config import JobConfig
from jetbridge.connectors import fingerprints
from jetbridge.errors import (
    ConfigError,
    JetbridgeError,
    JobAlreadyExistsError,
    JobError,
    JobStateError,
    PipelineError,
    SinkError,
    SourceError,
)
from jetbridge.job import Job, JobStatus
from jetbridge.jobs import endings
from jetbridge.jobs.executions import Submission, stages_of
from jetbridge.jobs.packing import pack
from jetbridge.pipeline import Pipeline
from jetbridge.plan import matching
from jetbridge.snapshots import JobStateSnapshot
from jetbridge.store import snapshots
from jetbridge.store.lists import StoredList
from jetbridge.store.maps import StoredMap
from jetbridge.store.streams import StoredStream

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from jetbridge.jobs.session import Session
    from jetbridge.plan.graph import Plan
    from jetbridge.settings import Settings
    from jetbridge.store.records import JobRecord

_LOGGER = logging.getLogger("jetbridge")


class Client:
    """A connection to a data folder and a runner; `jetbridge.connect` makes it.

    Leaving its ``with`` block, `shutdown` and a normal end of the interpreter
    act alike: jobs that this client has submitted or resumed are waited for, but
    those that read a stream never end and are suspended. When the block is left by
    an exception (Ctrl-C and a non-zero ``SystemExit`` too), all become SUSPENDED
    at once. So they do when the interpreter ends with an error or with a status other
    than 0 from ``sys.exit``, ``exit`` or ``quit``; a bare ``raise SystemExit(2)`` cannot
    be seen outside the block and counts as a normal end. Jobs in a Flink cluster of yours
    run on in all these cases, and the next client of the cluster looks after them.

    Example:
        >>> import jetbridge, tempfile
        >>> client = jetbridge.connect(home=tempfile.mkdtemp())
        >>> words, prices, clicks = client.get_list("words"), client.get_map("prices"), client.get_stream("clicks")
        >>> _ = words.add("tea"), prices.put("tea", 3), clicks.publish("/shop")
        >>> words.get_all(), prices.get("tea"), clicks.size(), client.get_jet()
        (['tea'], 3, 1, <JetService runner='direct'>)
        >>> client.shutdown()
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def settings(self) -> Settings:
        """The settings that it works by."""
        return self._session.settings

    def get_jet(self) -> JetService:
        """The service that pipelines are submitted to."""
        self._session.check_open()
        return JetService(self._session)

    def get_list(self, name: str) -> StoredList:
        """The stored list of a name; it comes into being with its first item.

        For a client of a Hazelcast cluster this and the others give that client's own blocking structures.

        Args:
            name: The list's name.
        """
        self._session.check_open()
        if self._session.structures is not None:
            return cast("StoredList", self._session.structures.list(name))
        return StoredList(self._session.db, name)

    def get_map(self, name: str) -> StoredMap:
        """The stored map of a name; it comes into being with its first entry.

        Args:
            name: The map's name.
        """
        self._session.check_open()
        if self._session.structures is not None:
            return cast("StoredMap", self._session.structures.map(name))
        return StoredMap(self._session.db, name)

    def get_stream(self, name: str) -> StoredStream:
        """The stored stream of a name; it comes into being with its first item.

        Args:
            name: The stream's name.
        """
        self._session.check_open()
        if self._session.structures is not None:
            return cast("StoredStream", self._session.structures.stream(name))
        return StoredStream(self._session.db, name)

    def shutdown(self) -> None:
        """Wait for the jobs of this client, suspend those that never end, and close it.

        Ctrl-C while waiting suspends the others too. Jobs that failed and that
        nobody has joined or listened to are printed on stderr.

        A second call does nothing. Handles of jobs go on telling what they knew.
        """
        self._session.finish()

    def __enter__(self) -> Self:
        self._session.check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cause = endings.cause_of(error)
        if cause is None:
            self._session.finish()
        else:
            self._session.abandon(cause)

    def __repr__(self) -> str:
        state = " shut down" if self._session.closed else ""
        return f"<Client runner='{self.settings.runner}' home='{self.settings.home}'{state}>"


class JetService:
    """Submits pipelines as jobs and finds jobs again; `Client.get_jet` gives it.

    Example:
        >>> import jetbridge, tempfile
        >>> from jetbridge import JobConfig, Pipeline
        >>> pipeline = Pipeline.create()
        >>> stage = pipeline.read_from(Pipeline.from_list("words", ["tea"])).write_to(Pipeline.to_list("copy"))
        >>> with jetbridge.connect(home=tempfile.mkdtemp()) as client:
        ...     jet, config = client.get_jet(), JobConfig(name="copying")
        ...     job = jet.submit(pipeline, config)
        ...     job.join()
        ...     print(jet.get_job(job.id).status, jet.get_job_by_name("copying").id == job.id)
        ...     jet.new_job_if_absent(pipeline, config).join()
        ...     print(len(jet.get_jobs("copying")), jet.get_job_state_snapshots(), jet.get_job_state_snapshot("monday"))
        COMPLETED True
        2 [] None
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def submit(self, pipeline: Pipeline, config: JobConfig | None = None) -> Job:
        """Start a pipeline as a new job.

        The pipeline and the config are copied: later changes do not reach the job.

        Args:
            pipeline: What to run.
            config: How; None for a job without a name and with the defaults.

        Returns:
            The job, which has begun to start.

        Raises:
            PipelineError: When the pipeline is incomplete.
            SourceError: When a source sees already that it cannot be read.
            SinkError: When a sink sees already that it cannot be written.
            UnsupportedByRunnerError: When the runner cannot honour the pipeline or the config.
            SnapshotError: When the initial snapshot is unknown, cannot be read or does not fit the pipeline.
            SerializationError: When a function cannot travel to the worker.
            ConnectionError: When a cluster elsewhere, on which it is to run, does not answer.
            ClusterError: When that cannot run it: its version, its free slots, or what it can reach does not do.
            JobAlreadyExistsError: When an active job has the config's name.
        """
        submission = self._accepted(pipeline, config)
        try:
            return self._start(submission)
        except JobAlreadyExistsError:
            taken = self._active(submission.config.name)
            if taken is None:  # it has ended since
                return self._start(submission)
            raise JobAlreadyExistsError(_taken(taken)) from None

    def new_job_if_absent(self, pipeline: Pipeline, config: JobConfig | None = None) -> Job:
        """The active job of the config's name, or a new one if there is none.

        A job that was suspended by the end of its client, however that came, is
        resumed with the pipeline and the config given now, so that a script can
        simply be run again; its state goes to the stages of the same names. A job
        that somebody suspended, or a failure, stays as it is. A running job keeps its own
        pipeline; a warning is logged if its stages are not those of ``pipeline``.
        Without a name this is `submit`. Of any number of processes that call this
        at once, one starts the job and all get it.

        Args:
            pipeline: What to run if there is no such job, or to go on with.
            config: How.

        Raises:
            SnapshotError: When the state of a suspended job does not fit the pipeline.
            JetbridgeError: As `submit`, but for the name.
        """
        submission = self._accepted(pipeline, config)
        if submission.config.name is None:
            return self._start(submission)
        while True:
            record = self._active(submission.config.name)
            if record is None:
                try:
                    return self._start(submission)
                except JobAlreadyExistsError:
                    continue  # another thread or process was quicker: that job it is
            if record.status != JobStatus.SUSPENDED.value:
                self._warn_if_different(record, submission.plan)
            elif _resumed_anew(record):
                try:
                    record = self._session.jobs.resume(record, submission)
                except JobStateError:
                    continue  # the same
            return Job(self._session, record)

    def get_job(self, job_id: str) -> Job | None:
        """The job of an id, or None.

        Args:
            job_id: A job's ``id``.

        Raises:
            JobError: When it is no text.
        """
        record = self._session.read(_text("id", job_id))
        return None if record is None else Job(self._session, record)

    def get_job_by_name(self, name: str) -> Job | None:
        """The active job of a name or, without one, the newest that had it; None if none ever had.

        Args:
            name: The name in the job's config.

        Raises:
            JobError: When it is no text.
        """
        self._session.check_open()
        record = self._session.registry.by_name(_text("name", name))
        return None if record is None else Job(self._session, self._session.settled(record))

    def get_jobs(self, name: str | None = None) -> list[Job]:
        """All jobs of the data folder, newest first, ended ones included.

        Args:
            name: Only jobs of this name.

        Raises:
            JobError: When it is no text.
        """
        self._session.check_open()
        settled = self._session.settled
        name = None if name is None else _text("name", name)
        return [Job(self._session, settled(record)) for record in self._session.registry.all(name)]

    def get_job_state_snapshots(self) -> list[JobStateSnapshot]:
        """All named snapshots of the data folder, newest first; those that cannot be read are logged and left out."""
        self._session.check_open()
        found = snapshots.listing(self._session.db.home)
        return [JobStateSnapshot(self._session, info) for info in found]

    def get_job_state_snapshot(self, name: str) -> JobStateSnapshot | None:
        """The named snapshot of a name, or None.

        Args:
            name: The name that it was exported under.

        Raises:
            SnapshotError: When the name cannot be one, or the snapshot cannot be read.
        """
        self._session.check_open()
        info = snapshots.info(self._session.db.home, name)
        return None if info is None else JobStateSnapshot(self._session, info)

    def __repr__(self) -> str:
        return f"<JetService runner='{self._session.settings.runner}'>"

    def _accepted(self, pipeline: Pipeline, config: JobConfig | None) -> Submission:
        self._session.check_open()
        if not isinstance(pipeline, Pipeline):
            raise PipelineError(f"submit must be given a Pipeline, as Pipeline.create() makes it; got {pipeline!r}")
        if config is not None and not isinstance(config, JobConfig):
            raise ConfigError(f"the config must be a JobConfig, as JobConfig(name='...') makes it; got {config!r}")
        config = JobConfig() if config is None else config.model_copy(deep=True)
        plan = self._session.bound(pipeline.plan())
        for source in plan.sources:
            try:
                source.source.check()
            except JetbridgeError:
                raise
            except Exception as error:
                raise SourceError(
                    f"source '{source.name}': its check failed: {type(error).__name__}: {error}"
                ) from error
        for sink in plan.sinks:
            try:
                (sink.sink.check_stream if plan.unbounded else sink.sink.check)()
            except JetbridgeError:
                raise
            except Exception as error:
                raise SinkError(f"sink '{sink.name}': its check failed: {type(error).__name__}: {error}") from error
        self._session.runner.check(plan, config)
        if config.initial_snapshot_name is not None:
            checkpoint = snapshots.checkpoint(self._session.db.home, config.initial_snapshot_name)
            matching.check(checkpoint, plan)
            fingerprints.refuse_changed_sources(checkpoint, plan)
        for source in plan.sources:
            source.source.submitted(str(self._session.db.home))
        run = secrets.token_hex(8)
        return Submission(config, plan, pack(plan, run), run)

    def _start(self, submission: Submission) -> Job:
        return Job(self._session, self._session.jobs.start(submission))

    def _active(self, name: str | None) -> JobRecord | None:
        record = None if name is None else self._session.registry.by_name(name)
        if record is not None:
            record = self._session.settled(record)
        return None if record is None or JobStatus(record.status).is_terminal() else record

    def _warn_if_different(self, record: JobRecord, plan: Plan) -> None:
        running = {name: stage["kind"] for name, stage in (record.metrics or {}).get("stages", {}).items()}
        given = {name: stage["kind"] for name, stage in stages_of(plan).items()}
        if running and running != given:
            _LOGGER.warning(
                "new_job_if_absent: %s runs and keeps its own pipeline, whose stages are others: %s; given now: %s",
                self._session.describe(record),
                ", ".join(running),
                ", ".join(given),
            )


def _text(what: str, value: str) -> str:
    """What was given as a job's id or name, when it can be one."""
    if not isinstance(value, str):
        raise JobError(f"the {what} of a job is a str; got {described(value)}: a Job has its own as job.{what}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise JobError(f"the {what} of a job is valid Unicode text; got {value!r}") from error
    return value


def _taken(record: JobRecord) -> str:
    """That a job has the name that another one was to have, and what to do."""
    start = f"the name '{record.name}' is taken by job {record.id}, which is {record.status}"
    if record.status != JobStatus.SUSPENDED.value:
        return f"{start}: choose another name, join or cancel that job, or call new_job_if_absent to get it"
    name = shlex.quote(str(record.name))
    does = "resumes" if _resumed_anew(record) else "gets"
    return (
        f"{start}{f' ({record.cause})' if record.cause else ''}: `jetbridge resume {name}` starts it again, `jetbridge "
        f"cancel {name}` ends it; or call new_job_if_absent, which {does} it, instead of submit"
    )


def _resumed_anew(record: JobRecord) -> bool:
    """Whether new_job_if_absent resumes a suspended job: not one that somebody suspended, or a failure."""
    return record.suspended_by not in ("user", "failure")
