"""One job on Flink: submitted, watched and steered by a thread of its owner's process."""

from __future__ import annotations

import contextlib
import functools
import logging
import shutil
import threading
import time
from typing import TYPE_CHECKING, Any

from jetbridge.config import ProcessingGuarantee
from jetbridge.connectors import intake
from jetbridge.connectors.embedded import EmbeddedSink
from jetbridge.errors import JetbridgeError, JobError, StoreError, UnsupportedByRunnerError
from jetbridge.job import JobStatus
from jetbridge.jobs.failing import fields_of
from jetbridge.jobs.packing import plan_of
from jetbridge.kernels.failure import as_record
from jetbridge.store import runs, snapshots, states
from jetbridge.store.registry import StaleOwnerError
from jetbridge_flink import failures, standing
from jetbridge_flink.delivery import Delivery
from jetbridge_flink.exports import Exports
from jetbridge_flink.figures import JobFigures
from jetbridge_flink.launch import Launch
from jetbridge_flink.output import Follower
from jetbridge_flink.own_record import OwnRecord
from jetbridge_flink.steering import NO_ANSWER, FlinkJob, await_cluster

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetbridge.store.database import Database
    from jetbridge.store.records import JobRecord
    from jetbridge_flink.clusters import FlinkCluster

_LOGGER = logging.getLogger("jetbridge")
_LOOK_SECONDS = 0.1
_TELL_SECONDS = 1.0
_START_SECONDS = 60.0
_SILENT_SECONDS = 120.0  # for which the cluster may not answer
_DETACH_SECONDS = 10.0  # in which it is left to its cluster
_SCALED = "it goes on with more parallelism, since a TaskManager has joined the cluster"
_DEATHS = 5  # starts in a row without a checkpoint in between, until the job has failed


class FlinkExecution:
    """A job from its start to its end or its suspension; see `jetbridge.runner.Execution`.

    Args:
        record: The job.
        payload: The packed pipeline.
        db: The data folder's database.
        cluster: Gives the cluster, started if need be.
        parallelism: The job's parallelism, as far as the cluster has slots.
        shards: The number of shards of a job that has none recorded.
        lasting: Whether it can run on without this client.
    """

    def __init__(
        self,
        record: JobRecord,
        payload: bytes,
        *,
        db: Database,
        cluster: Callable[[], FlinkCluster],
        parallelism: int,
        shards: int,
        lasting: bool = False,
    ) -> None:
        self._record = record
        self._payload = payload
        self._db = db
        self._own = OwnRecord(db, record)
        self._find_cluster = cluster
        self._parallelism = parallelism
        self._shards = record.shards or shards
        self._run = record.run or ""
        self._guarantee = record.config["processing_guarantee"]
        self._guarded = runs.goes_on(record)
        self._metrics: dict[str, Any] | None = None
        self._figures: Any = None  # a JobFigures, once the job is on its way
        self._suspension: dict[str, Any] | None = None
        self._killed = False
        self._remote = record.remote_cluster is not None  # it runs on there, and is to be looked after
        self._lasting = lasting
        self._leaving: float | None = None
        self._left = False
        self._wake = threading.Event()
        self._exports = Exports(self._wake)
        self._ended = threading.Event()
        self._rest: Any = None  # a FlinkRest, as soon as there is a cluster
        self._flink: Any = None  # a FlinkJob, once it is submitted
        self._ids: list[str] = list((record.engine or {}).get("ids", []))
        self._follower = Follower(db.home / "logs" / f"{record.id}.log")
        now, limit = int(time.time() * 1000), record.config["timeout_millis"]
        self._began = (record.start_time if self._remote else None) or now
        left = limit - record.ran - (now - self._began)
        self._deadline = time.monotonic() + left / 1000 if limit > 0 else None
        threading.Thread(target=self._supervise, name=f"jetbridge-{record.id}", daemon=True).start()

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self._record.id

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing of the job runs any more."""
        return self._ended.wait(timeout)

    def kill(self) -> None:
        """Have Flink cancel it, and say nothing to the registry."""
        self._killed = True
        self._wake.set()

    def stop(self, by: str, cause: str) -> None:
        """Ask it to become SUSPENDED."""
        self._suspension = self._suspension or {"suspended_by": by, "cause": cause}
        self._wake.set()

    def suspend(self, by: str, cause: str) -> None:
        """Suspend it: with a guarantee it takes a savepoint first."""
        self.stop(by, cause)
        self.wait()

    def detach(self) -> bool:
        """Leave it to a remote cluster, as soon as it runs there, or some seconds later."""
        self._leaving = time.monotonic() + _DETACH_SECONDS
        self._wake.set()
        while self._lasting and not self.wait(_LOOK_SECONDS) and time.monotonic() < self._leaving + _DETACH_SECONDS:
            pass
        return self._left

    def export(self, name: str, *, last: bool = False) -> bool:
        """Have a savepoint taken and kept as a named snapshot."""
        return self._exports.ask(name, last=last)

    def metrics(self) -> dict[str, Any] | None:
        """The metrics as they are now."""
        figures = self._figures
        return self._metrics if figures is None or self._ended.is_set() else figures.metrics(self._db.reader())

    # The supervisor's thread

    def _supervise(self) -> None:
        try:
            self._work()
        except StaleOwnerError:
            self._cancel()  # it was cancelled or suspended: the registry says so
        except Exception as error:
            if not isinstance(error, JetbridgeError):
                _LOGGER.exception("job %s cannot be supervised any more", self.job_id)
            self._cancel()
            with contextlib.suppress(StoreError):
                self._fail(as_record(error))
        finally:
            self._follower.close()
            if self._rest is not None:
                self._rest.close()
            self._ended.set()
            self._exports.end()

    def _work(self) -> None:
        self._plan = plan_of(self._payload)
        self._embedded = {n.name: n.sink for n in self._plan.sinks if isinstance(n.sink, EmbeddedSink)}
        if not self._remote:
            self._own.begin(status=JobStatus.STARTING.value, run=self._run, start_time=self._began)
        self._cluster = self._find_cluster()
        self._rest = self._cluster.rest()
        deaths = 0
        while True:
            await_cluster(self._rest, _SILENT_SECONDS)
            if not self._remote:
                self._cancel_predecessor()
            self._figures = JobFigures(self._plan, self._run, self._began if self._remote else None)
            delivery = Delivery(self._db, self._own, self._record, self._run, self._plan)
            delivery.open(self._own.engine.get("positions", {}))
            paused = False
            try:
                try:
                    self._place()
                    lost = self._follow(delivery)
                except NO_ANSWER as error:
                    lost = str(error)
                paused = lost is not None or self._left or (self._suspension is not None and self._guarded)
                if lost is None:
                    return
            except StaleOwnerError:
                raise
            except Exception:
                paused = self._guarded and bool(self._record.config["suspend_on_failure"])
                raise
            finally:
                delivery.close(pause=paused)
                if self._left:
                    self._own.leave({})
            if self._figures.snapshots["count"] or runs.has_lasted(self._record, self._figures.begun):  # it got further
                deaths = 0
            if lost == _SCALED:
                _LOGGER.info("job %s: %s", self.job_id, lost)
                continue
            deaths += 1
            if deaths >= _DEATHS:
                raise JetbridgeError(f"{lost}; it was started {deaths} times without getting further")
            _LOGGER.warning("job %s: %s; it is started again (%d of %d)", self.job_id, lost, deaths + 1, _DEATHS)
            self._wake.wait(min(0.2 * 2**deaths, 5.0))
            if not self._guarded:
                self._run = self._own.begin_anew(self._run)

    def _place(self) -> None:
        """Submit the job, unless it runs on in a remote cluster."""
        record, self._remote, found = self._own.now, False, self._remote
        launch = Launch(
            self._cluster, self._rest, record, self._plan, self._run, self._shards, self._parallelism, found=found
        )
        self._launch = launch
        self._flink = FlinkJob(self._rest, launch.flink_id, self._cluster.savepoints)
        if not found:
            savepoint = launch.standing(self._db, self._ids if self._guarded else [])
            self._ids.append(launch.flink_id)
            # Before it is submitted: what is in the cluster can then be found, whatever happens to this process.
            engine = {**(record.engine or {}), **launch.noted(self._ids)}
            self._own.note(engine=engine, status=JobStatus.STARTING.value)
            launch.submit(str(self._db.home), str(self._follower.path), savepoint)
        self._lasting = self._lasting and not launch.batch
        self._scaling = launch.scaling()

    def _cancel_predecessor(self) -> None:
        """End what an earlier owner has left in the cluster."""
        if self._ids:
            FlinkJob(self._rest, self._ids[-1], self._cluster.savepoints).cancel()

    def _follow(self, delivery: Delivery) -> str | None:
        """Watch the job until it has ended here or was suspended.

        Returns:
            None then; or why it must be started again.
        """
        running, told, silent, begun = False, 0.0, 0.0, time.monotonic()
        while True:
            self._wake.wait(_LOOK_SECONDS)
            self._wake.clear()
            if self._killed:
                self._cancel()
                return None
            self._follower.show()
            if self._lasting and self._may_leave(running):
                delivery.deliver()
                self._left = True
                return None
            try:
                view = self._rest.job(self._flink.id)
                texts = [] if view is None else self._rest.exceptions(self._flink.id)
                failure = failures.of_users(texts, {node.name for node in self._plan.beam})
                silent = 0.0
            except NO_ANSWER:
                # The JobManager may be on its way back; it will not know the job any more.
                silent = silent or time.monotonic()
                if time.monotonic() - silent > _SILENT_SECONDS:
                    raise
                continue
            if failure is not None:
                self._cancel()
                self._follower.show()
                self._fail(failure)
                return None
            if self._launch.batch and view is not None and view.state == "FINISHED":
                return self._finish(delivery)
            if view is None or view.over:
                if view is not None and view.state == "FAILED" and not self._guarded:
                    return self._explained()
                return "its job in the cluster is gone" if view is None else self._explained()
            # In batch mode a stage may begin when the one before it has ended.
            begun_all = any if self._launch.batch else all
            ready = view.state == "RUNNING" and begun_all(vertex.status == "RUNNING" for vertex in view.vertices)
            if not running and ready:
                running = True
                self._own.note(status=JobStatus.RUNNING.value)
            if not running and time.monotonic() - begun > _START_SECONDS:
                raise JetbridgeError(self._flink.why_not_running(_START_SECONDS, self._explained()))
            delivery.deliver()
            if running and ready:
                if self._exports.carry_out(functools.partial(self._export, delivery=delivery)):
                    self._suspension = self._suspension or {"suspended_by": "user", "cause": "it is being cancelled"}
                if self._suspension is not None:
                    self._suspend(delivery)
                    return None
                if not self._plan.unbounded and not self._launch.batch and self._flink.input_end.reached(view):
                    return self._finish(delivery)
                if self._guarded and self._scaling.joined():
                    return _SCALED if self._keep(delivery, {}) else "no savepoint could be taken to scale it"
            elif self._guarded and self._scaling.left():
                self._cancel()
                return "a TaskManager has left the cluster, and there is no room for the job as it was"
            elif self._suspension is not None and not self._guarded:
                self._suspend(delivery)
                return None
            if time.monotonic() - told > _TELL_SECONDS:
                told = time.monotonic()
                self._tell()
            if self._deadline is not None and time.monotonic() > self._deadline:
                self._cancel()
                error = JobError(f"it ran longer than its timeout_millis of {self._record.config['timeout_millis']} ms")
                self._fail({**as_record(error), "type": "Timeout", "traceback": None}, final=True)
                return None

    def _may_leave(self, running: bool) -> bool:
        if self._leaving is None or self._suspension is not None or self._exports:
            return False
        return running or time.monotonic() > self._leaving

    def _explained(self) -> str:
        return failures.told(self._rest.exceptions(self._flink.id), self._follower.path.with_suffix(".died"))

    def _suspend(self, delivery: Delivery) -> None:
        fields: dict[str, Any] = {**(self._suspension or {}), "status": JobStatus.SUSPENDED.value, "owner": None}
        if not self._guarded:
            self._cancel()
            delivery.deliver()
            self._own.change(fields)
        elif not self._keep(delivery, fields):
            _LOGGER.warning("job %s could not take a savepoint and is suspended at its last checkpoint", self.job_id)
            self._own.change(fields)

    def _keep(self, delivery: Delivery, changes: dict[str, Any]) -> bool:
        """Stop the job behind a savepoint, where it stands from now on; False when there is none."""
        if self._guarantee == ProcessingGuarantee.EXACTLY_ONCE.value:
            self._flink.release()  # else rows that are in the savepoint would show only when the job goes on
        savepoint = self._flink.stop()
        delivery.deliver()
        self._tell()
        if savepoint is None:
            return False
        body = standing.body(self._db.reader(), self._plan, self._run, self._shards, savepoint)
        gone, self._ids = self._ids, []
        changes = {**changes, "engine": {**self._own.engine, "ids": []}}
        self._own.change(changes, lambda tx: states.save(tx, self.job_id, body))
        standing.forget(self._cluster.checkpoints, gone)
        return True

    def _finish(self, delivery: Delivery) -> str | None:
        self._own.note(status=JobStatus.COMPLETING.value)
        savepoint = None
        if not self._launch.batch:
            if self._guarded:
                self._flink.release()
            savepoint = self._flink.stop()
            if savepoint is None:
                return "it could not be stopped at the end of its input"
        if not self._figures.all_ended(self._db.reader()) or intake.waiting(self._db.reader(), self._run):
            return "parts of it have not told their end"
        delivery.deliver()
        delivery.complete()
        self._tell()
        metrics = self._figures.metrics(self._db.reader())
        metrics["progress"] = 1.0
        self._metrics = metrics
        self._own.leave(
            {"status": JobStatus.COMPLETED.value, "end_time": int(time.time() * 1000), "metrics": metrics},
            lambda tx: intake.finish(tx, self._run, self._embedded),
        )
        if savepoint is not None:
            shutil.rmtree(savepoint, ignore_errors=True)
        standing.forget(self._cluster.checkpoints, self._ids)
        return None

    def _export(self, name: str, delivery: Delivery) -> None:
        if self._launch.batch:
            raise UnsupportedByRunnerError(
                f"job {self.job_id} is a batch job of Flink, since it is bounded and has no guarantee, and a batch job "
                "takes no snapshots: set a guarantee"
            )
        savepoint = self._flink.savepoint()
        try:
            delivery.deliver()
            body = standing.body(self._db.reader(), self._plan, self._run, self._shards, savepoint)
            snapshots.export(self._db, self.job_id, self._record.name, name, body=body)
        finally:
            shutil.rmtree(savepoint, ignore_errors=True)

    def _tell(self) -> None:
        latest = self._rest.checkpoints(self._flink.id)
        if latest is not None:
            self._figures.snapshots = latest.figures()
        self._metrics = self._figures.metrics(self._db.reader())
        self._own.note(metrics=self._metrics, commits=self._figures.snapshots["count"])

    def _cancel(self) -> None:
        if self._flink is not None:
            self._flink.cancel()

    def _fail(self, error: dict[str, Any], *, final: bool = False) -> None:
        begun = self._record.start_time is not None or self._own.now.commits > 0
        fields = fields_of(error, begun=begun, suspends=self._record.config["suspend_on_failure"] and not final)
        if fields["status"] == JobStatus.SUSPENDED.value:
            self._suspension = fields  # so that what is staged stays
        self._own.leave(fields)
