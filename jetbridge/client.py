"""The client, and the service that jobs are submitted to."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NoReturn

from jetbridge import endings
from jetbridge.config import JobConfig
from jetbridge.errors import (
    ConfigError,
    JetbridgeError,
    JobAlreadyExistsError,
    NotYetSupportedError,
    PipelineError,
    SinkError,
    SourceError,
)
from jetbridge.job import Job, JobStatus
from jetbridge.packing import pack
from jetbridge.pipeline import Pipeline
from jetbridge.session import Session, stages_of
from jetbridge.store.lists import StoredList
from jetbridge.store.maps import StoredMap
from jetbridge.store.streams import StoredStream

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from jetbridge.plan.graph import Plan
    from jetbridge.settings import Settings
    from jetbridge.store.records import JobRecord

_LOGGER = logging.getLogger("jetbridge")


class Client:
    """A connection to a data folder and a runner; `jetbridge.connect` makes it.

    Leaving its ``with`` block, `shutdown` and a normal end of the interpreter
    act alike: jobs that this client has submitted are waited for. When the block
    is left by an exception (Ctrl-C and a non-zero ``SystemExit`` too), they
    become SUSPENDED instead.
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
        """The stored list of a name; it comes into being with its first item."""
        self._session.check_open()
        return StoredList(self._session.db, name)

    def get_map(self, name: str) -> StoredMap:
        """The stored map of a name; it comes into being with its first entry."""
        self._session.check_open()
        return StoredMap(self._session.db, name)

    def get_stream(self, name: str) -> StoredStream:
        """The stored stream of a name; it comes into being with its first item."""
        self._session.check_open()
        return StoredStream(self._session.db, name)

    def shutdown(self) -> None:
        """Wait for the jobs that this client has submitted, and close it. Ctrl-C while waiting suspends them.

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
    """Submits pipelines as jobs and finds jobs again; `Client.get_jet` gives it."""

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
            SerializationError: When a function cannot travel to the worker.
            JobAlreadyExistsError: When an active job has the config's name.
        """
        config, plan = self._accepted(pipeline, config)
        try:
            return self._start(config, plan)
        except JobAlreadyExistsError as error:
            taken = self._active(config.name)
            if taken is None:  # it has ended since
                return self._start(config, plan)
            cause = f" ({taken.cause})" if taken.status == JobStatus.SUSPENDED.value and taken.cause else ""
            raise JobAlreadyExistsError(
                f"the name '{taken.name}' is taken by job {taken.id}, which is {taken.status}{cause}: choose another "
                "name, join or cancel that job, or call new_job_if_absent to get it"
            ) from error

    def new_job_if_absent(self, pipeline: Pipeline, config: JobConfig | None = None) -> Job:
        """The active job of the config's name, or a new one if there is none.

        A running job keeps its own pipeline; a warning is logged if its stages are
        not those of ``pipeline``. Without a name this is `submit`. Of any number
        of processes that call this at once, one starts the job and all get it.

        Args:
            pipeline: What to run if there is no such job.
            config: How.

        Raises:
            JetbridgeError: As `submit`, but for the name.
        """
        config, plan = self._accepted(pipeline, config)
        if config.name is None:
            return self._start(config, plan)
        while True:
            record = self._active(config.name)
            if record is None:
                try:
                    return self._start(config, plan)
                except JobAlreadyExistsError:
                    continue  # another thread or process was quicker: that job it is
            if record.status == JobStatus.SUSPENDED.value:
                raise NotYetSupportedError(
                    f"new_job_if_absent: {self._session.describe(record)} is SUSPENDED ({record.cause}), and this "
                    "version of jetbridge does not resume jobs: cancel it and call this again"
                )
            self._warn_if_different(record, plan)
            return Job(self._session, record)

    def get_job(self, job_id: str) -> Job | None:
        """The job of an id, or None."""
        record = self._session.read(job_id)
        return None if record is None else Job(self._session, record)

    def get_job_by_name(self, name: str) -> Job | None:
        """The active job of a name or, without one, the newest that had it; None if none ever had."""
        self._session.check_open()
        record = self._session.registry.by_name(name)
        return None if record is None else Job(self._session, self._session.settled(record))

    def get_jobs(self, name: str | None = None) -> list[Job]:
        """All jobs of the data folder, newest first, ended ones included.

        Args:
            name: Only jobs of this name.
        """
        self._session.check_open()
        settled = self._session.settled
        return [Job(self._session, settled(record)) for record in self._session.registry.all(name)]

    def get_job_state_snapshots(self) -> NoReturn:
        """All named snapshots."""
        self._later("get_job_state_snapshots")

    def get_job_state_snapshot(self, name: str) -> NoReturn:
        """The named snapshot of a name."""
        self._later("get_job_state_snapshot")

    def __repr__(self) -> str:
        return f"<JetService runner='{self._session.settings.runner}'>"

    def _accepted(self, pipeline: Pipeline, config: JobConfig | None) -> tuple[JobConfig, Plan]:
        self._session.check_open()
        if not isinstance(pipeline, Pipeline):
            raise PipelineError(f"submit must be given a Pipeline, as Pipeline.create() makes it; got {pipeline!r}")
        if config is not None and not isinstance(config, JobConfig):
            raise ConfigError(f"the config must be a JobConfig, as JobConfig(name='...') makes it; got {config!r}")
        config = JobConfig() if config is None else config.model_copy(deep=True)
        plan = pipeline.plan()
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
                sink.sink.check()
            except JetbridgeError:
                raise
            except Exception as error:
                raise SinkError(f"sink '{sink.name}': its check failed: {type(error).__name__}: {error}") from error
        self._session.runner.check(plan, config)
        return config, plan

    def _start(self, config: JobConfig, plan: Plan) -> Job:
        return Job(self._session, self._session.start(config, plan, pack(plan)))

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

    def _later(self, call: str) -> NoReturn:
        self._session.check_open()
        raise NotYetSupportedError(f"{call}: this version of jetbridge takes no named snapshots")
