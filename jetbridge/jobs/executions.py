"""The jobs that a client carries out: starting them, resuming them, and finding what runs."""

from __future__ import annotations

import functools
import logging
import secrets
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jetbridge.config import ProcessingGuarantee
from jetbridge.connectors import fingerprints
from jetbridge.errors import JetbridgeError, JobError, JobStateError, SnapshotError
from jetbridge.job import JobStatus
from jetbridge.jobs import ownership
from jetbridge.jobs.packing import plan_of
from jetbridge.plan import matching
from jetbridge.store import runs, states
from jetbridge.store.records import JobRecord

if TYPE_CHECKING:
    import sqlite3

    from jetbridge.config import JobConfig
    from jetbridge.jobs.session import Session
    from jetbridge.plan.graph import Plan
    from jetbridge.runner import Execution

_LAST_WORDS = 10.0  # seconds in which an execution ends whose job has left it
_AGAIN = 5.0  # seconds until a job is attached to again that could not be
_LOGGER = logging.getLogger("jetbridge")


@dataclass(frozen=True)
class Submission:
    """A pipeline and a config, ready to be started.

    Attributes:
        config: The config.
        plan: The plan.
        payload: The packed pipeline.
        run: The run that it was packed for.
    """

    config: JobConfig
    plan: Plan
    payload: bytes
    run: str

    @property
    def fields(self) -> dict[str, Any]:
        """What a job's record says of it."""
        remembers = self.config.processing_guarantee is ProcessingGuarantee.EXACTLY_ONCE
        return {
            "config": self.config.model_dump(mode="json"),
            "unbounded": self.plan.unbounded,
            "staged": any(node.sink.staged or (remembers and node.sink.remembers) for node in self.plan.sinks),
            "metrics": {"stages": stages_of(self.plan)},
        }


class Executions:
    """The jobs of one client.

    Args:
        session: The client's session.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()  # held while a job is claimed and started, so that nobody sees it in between
        self._executions: dict[str, Execution] = {}
        self._refused: dict[str, float] = {}  # when a job could not be attached to
        self._closed = False

    def close(self) -> None:
        """Start nothing any more."""
        with self._lock:
            self._closed = True

    def start(self, submission: Submission) -> JobRecord:
        """Put a new job into the registry and start it.

        Raises:
            JobAlreadyExistsError: When an active job has its name.
            SnapshotError: When its initial snapshot cannot be read.
        """
        session = self._session
        session.check_open()
        record = JobRecord(
            id="-".join(secrets.token_hex(2) for _ in range(4)),
            name=submission.config.name,
            status=JobStatus.NOT_RUNNING.value,
            submission_time=int(time.time() * 1000),
            run=submission.run,
            owner=ownership.claim(session.id),
            shards=session.settings.shards,
            **submission.fields,
        )
        also = None
        if submission.config.initial_snapshot_name is not None:
            also = functools.partial(runs.restore, home=session.db.home, record=record)
        with self._lock:
            self._check_open()
            session.registry.add(record, submission.payload, also=also)
            self._begin(record, submission.payload)
        return record

    def resume(self, record: JobRecord, anew: Submission | None = None) -> JobRecord:
        """Start a suspended job again, as a job of this client; by its guarantee it goes on or starts afresh.

        Args:
            record: The job.
            anew: What it shall run from now on, instead of what it ran.

        Raises:
            JobStateError: When it is not suspended any more.
            SnapshotError: When what it shall run does not fit its state, what it has read has changed, or its initial
                snapshot cannot be read.
        """
        session = self._session
        session.check_open()
        execution = self.get(record.id)
        if execution is not None:
            execution.wait(_LAST_WORDS)  # the output of the run before comes first
        payload = session.registry.pipeline(record.id) if anew is None else anew.payload
        self._check_sources(record.id, payload, anew)

        def renew(tx: sqlite3.Connection, job: JobRecord) -> dict[str, Any]:
            changes: dict[str, Any] = {"ran": job.ran + _ran(job)}
            afresh = not runs.goes_on(job)
            if anew is not None:
                if not afresh and (body := _stands_on(tx, job)) is not None:
                    try:
                        matching.check(body, anew.plan)
                    except SnapshotError:
                        if body.get("epoch", 1):
                            raise
                        states.clear(tx, job.id)  # it has not processed anything, so it may become any pipeline
                session.registry.set_pipeline_in(tx, job.id, anew.payload)
                changes |= anew.fields
                job = replace(job, **changes)
            if afresh:
                changes |= runs.begin(tx, session.db.home, job)
                if anew is not None:
                    changes["run"] = anew.run
            return changes

        with self._lock:
            self._check_open()
            resumed = session.registry.transition(
                record.id,
                [JobStatus.SUSPENDED.value],
                JobStatus.NOT_RUNNING.value,
                also=renew,
                owner=ownership.claim(session.id),
                cause=None,
                suspended_by=None,
                error=None,
            )
            now = session.registry.get(record.id) or record
            if not resumed:
                raise JobStateError(
                    f"resume: {session.describe(now)} is {now.status}: only a suspended job can be resumed"
                )
            self._begin(now, payload)
        return now

    def attach(self, record: JobRecord) -> JobRecord:
        """Look after a job that runs on in a cluster without a client, if that is the cluster of this one.

        Returns:
            The job's record; without an owner if there is none that lives.
        """
        session, registry = self._session, self._session.registry
        with self._lock:
            late = time.monotonic() - self._refused.get(record.id, -_AGAIN) < _AGAIN
            owner = None
            if not (self._closed or late) and session.runner.attaches(record):
                owner = ownership.claim(session.id)
            with session.db.transaction(durable=True) as tx:
                now = registry.get_in(tx, record.id)
                if now.remote_cluster is None or (now.owner is not None and ownership.is_alive(now.owner)):
                    return now  # somebody was quicker
                if (now.owner, owner) != (None, None):
                    now = registry.update_in(tx, now.id, owner=owner)
            if owner is None:
                return now
            try:
                self._enter(now, session.runner.start(now, registry.pipeline(now.id)))
            except JetbridgeError as error:
                self._refused[now.id] = time.monotonic()
                _LOGGER.warning("%s runs on in a cluster and cannot be looked after: %s", session.describe(now), error)
                now = registry.update(now.id, token=owner["token"], owner=None)
        return now

    def attach_all(self) -> None:
        """Look after all jobs that run on in the cluster of this client."""
        for record in self._session.registry.active():
            if record.remote_cluster is not None:
                self._session.settled(record)

    def _check_sources(self, job_id: str, payload: bytes, anew: Submission | None) -> None:
        """Before the job leaves its suspension, so that it can still be resumed when a file was restored."""
        job = self._session.registry.get(job_id)
        if job is None or job.status != JobStatus.SUSPENDED.value or not runs.goes_on(job):
            return
        if job.stands_in_cluster:
            return  # its workers see
        body = states.load(self._session.db.reader(), job_id)
        if body is not None and fingerprints.has_fingerprints(body):
            fingerprints.refuse_changed_sources(body, plan_of(payload) if anew is None else anew.plan)

    def get(self, job_id: str) -> Execution | None:
        """The last execution of a job here, which may have ended."""
        return self._executions.get(job_id)

    def execution(self, record: JobRecord) -> Execution | None:
        """The execution of a job that belongs to this client; None when it belongs to someone else or to nobody."""
        if (record.owner or {}).get("client") != self._session.id:
            return None
        with self._lock:
            return self._executions.get(record.id)

    @property
    def running(self) -> list[Execution]:
        """What runs."""
        return [execution for execution in list(self._executions.values()) if not execution.wait(0)]

    def check_supervised(self, record: JobRecord, execution: Execution) -> None:
        """Find out about a job that seems to run, and nobody looks after it.

        Raises:
            JobError: When this is such a job.
        """
        with self._lock:
            if self._executions.get(record.id) is not execution or not execution.wait(0):
                return
            now = self._session.registry.get(record.id)
        if now is not None and now.status == JobStatus.SUSPENDED_EXPORTING_SNAPSHOT.value:
            return  # nothing of it runs: this client takes a snapshot of it for somebody
        if now is not None and now.is_active and (now.owner or {}).get("client") == self._session.id:
            raise JobError(f"{self._session.describe(now)} is {now.status} and cannot be supervised: see the log")

    def _check_open(self) -> None:
        if self._closed:
            raise JetbridgeError("the client is being shut down: call jetbridge.connect() for a new one")

    def _begin(self, record: JobRecord, payload: bytes) -> None:
        session = self._session
        assert record.owner is not None
        try:
            execution = session.runner.start(record, payload)
        except BaseException as error:
            session.registry.update(
                record.id,
                token=record.owner["token"],
                status=JobStatus.SUSPENDED.value,
                owner=None,
                suspended_by="client",
                cause=f"it could not be started: {type(error).__name__}: {error}",
            )
            raise
        self._enter(record, execution)

    def _enter(self, record: JobRecord, execution: Execution) -> None:
        self._executions = {key: each for key, each in self._executions.items() if not each.wait(0)}
        self._executions[record.id] = execution
        self._session.unjoined.add(record.id)
        self._session.attendant.start()


def stages_of(plan: Plan) -> dict[str, dict[str, Any]]:
    """The plan's stages as metrics without figures: what a job's record knows of its pipeline."""
    return {node.name: {"kind": node.kind, "received": 0, "emitted": 0, "errors": 0} for node in plan.nodes}


def _stands_on(tx: sqlite3.Connection, job: JobRecord) -> dict[str, Any] | None:
    """What a job goes on from: its checkpoint's body, or what its pipeline was if a cluster has a newer checkpoint."""
    return job.engine["plan"] if job.engine and job.stands_in_cluster else states.load(tx, job.id)


def _ran(record: JobRecord) -> int:
    """How many milliseconds the last run of a job took, as far as its commits tell."""
    if record.start_time is None:
        return 0
    updated: int = (record.metrics or {}).get("updated", record.start_time)
    return max(0, updated - record.start_time)
