"""One job of this process: its worker, what the worker says, and a new worker when it dies."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import secrets
import selectors
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jetbridge.errors import DiskFullError, JobError, SnapshotError, StoreError
from jetbridge.job import JobStatus
from jetbridge.jobs.discarding import discard
from jetbridge.jobs.failing import fields_of
from jetbridge.store import runs, states
from jetbridge.store.registry import Registry, StaleOwnerError
from jetbridge_direct.logs import Output
from jetbridge_direct.process import WorkerError, WorkerProcess
from jetbridge_direct.requests import SnapshotRequests

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetbridge.store.database import Database
    from jetbridge.store.records import JobRecord
    from jetbridge_direct.server import ForkServer

_LOGGER = logging.getLogger("jetbridge")
_DEATHS = 3  # in a row, until the job has failed
_FIRST_PAUSE = 0.1  # seconds before a worker is started again; doubled each time
_LONGEST_PAUSE = 5.0
_WATCH = 0.5  # seconds between looks at the worker when nothing is heard of it
_ROOM = 0.5  # seconds between looks at a disk that is full
_ENDING = 4.0  # seconds that a worker with services has to end when it is killed
_STOPPING = 5.0  # seconds that a worker has to end its epoch when it is to stop
_GRACE = 5.0  # seconds that a worker has to end after it has closed its channel
_READ = 1 << 16


class DirectExecution:
    """A job from its start to its end or its suspension; see `jetbridge.runner.Execution`.

    Args:
        record: The job.
        spec: What each worker gets; see `jetbridge_direct.worker`.
        db: The data folder's database.
        server: Gives a running fork server.
    """

    def __init__(
        self, record: JobRecord, spec: dict[str, Any], *, db: Database, server: Callable[[], ForkServer]
    ) -> None:
        assert record.owner is not None, "a job is started by its owner"
        self._record = record
        self._spec = spec
        self._db = db
        self._registry = Registry(db)
        self._server = server
        self._output = Output(db.home / "logs" / f"{record.id}.log")
        self._run = record.run
        self._owner = record.owner
        self._commits = record.commits
        self._metrics: dict[str, Any] | None = None
        self._dying: str | None = None
        self._unwritten: dict[str, Any] | None = None
        self._worker: WorkerProcess | None = None
        self._requests = SnapshotRequests()
        self._killed = False
        self._serving = False  # whether the worker has services to destroy
        self._kill_at: float | None = None  # when a worker that was asked to end is killed
        self._suspension: dict[str, Any] | None = None
        self._left: Callable[[], None] | None = None  # what a failure without a worker leaves to be done
        self._halt = threading.Event()  # it was killed or is to stop: no other worker is started
        self._ended = threading.Event()
        limit = record.config["timeout_millis"]
        self._deadline = time.monotonic() + (limit - record.ran) / 1000 if limit > 0 else None
        threading.Thread(target=self._supervise, name=f"jetbridge-{record.id}", daemon=True).start()

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self._record.id

    @property
    def pid(self) -> int | None:
        """The process id of the worker at work; None between two workers."""
        worker = self._worker
        return None if worker is None else worker.pid

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no worker runs any more and all output was shown."""
        return self._ended.wait(timeout)

    def kill(self) -> None:
        """Kill the worker, and start no other; one with services may destroy them first."""
        self._killed = True
        self._halt.set()
        worker = self._worker
        if not self._serving or worker is None:
            self._kill_worker()
        elif self._kill_at is None:
            try:
                worker.control.send({"type": "end"})
                self._kill_at = time.monotonic() + _ENDING
            except OSError:  # it has ended, or hears nothing
                worker.kill()

    def stop(self, by: str, cause: str) -> None:
        """Ask the worker to commit and to end."""
        self._suspension = self._suspension or {
            "status": JobStatus.SUSPENDED.value,
            "owner": None,
            "suspended_by": by,
            "cause": cause,
        }
        self._halt.set()
        worker = self._worker
        if worker is None:
            return
        record = self._registry.get(self.job_id)
        if record is not None and record.status == JobStatus.STARTING.value:
            worker.kill()  # it has done nothing yet
        else:
            with contextlib.suppress(OSError):  # it has ended
                worker.control.send({"type": "suspend", "fields": self._suspension})

    def suspend(self, by: str, cause: str) -> None:
        """Stop the worker; one that does not end by itself stands at its last commit."""
        self.stop(by, cause)
        if not self.wait(_STOPPING):
            _LOGGER.warning(
                "%s does not end its epoch within %g s and is suspended at its last commit", self._name, _STOPPING
            )
            self._kill_worker()
            self.wait()

    def detach(self) -> bool:
        """Nothing of it runs on without this process."""
        return False

    def export(self, name: str, *, last: bool = False) -> bool:
        """Have the worker take a named snapshot, or the next one if it dies."""
        request = self._requests.ask(name, self._worker)
        if request is None:
            return False
        if last:  # behind the request, so that nothing is processed between the two
            self.stop("user", "it is being cancelled")
        return self._requests.wait(request)

    def metrics(self) -> dict[str, Any] | None:
        """The metrics that the worker has sent last."""
        return self._metrics

    def _kill_worker(self) -> None:
        worker = self._worker
        if worker is not None:
            worker.kill()

    def _supervise(self) -> None:
        try:
            self._run_workers()
        except StaleOwnerError:
            pass  # it was cancelled or suspended: the registry says so
        except Exception as error:
            _LOGGER.exception("%s cannot be supervised any more", self._name)
            with contextlib.suppress(StoreError, JobError):
                self._fail(type(error).__name__, f"its supervision failed: {type(error).__name__}: {error}")
        finally:
            if self._left is not None:
                self._left()
            self._output.close()
            self._ended.set()
            self._requests.close()

    def _run_workers(self) -> None:
        deaths, pause = 0, _FIRST_PAUSE
        while not self._halt.is_set():
            permanent, begun = False, time.monotonic()
            try:
                # Before the worker is there: it says RUNNING itself, and only its owner may say anything.
                started = {"start_time": int(time.time() * 1000)} if deaths == 0 or not self._guarded else {}
                self._write(
                    functools.partial(
                        self._registry.update,
                        self.job_id,
                        token=self._owner["token"],
                        owner=self._owner,
                        run=self._run,
                        status=JobStatus.STARTING.value,
                        **started,
                    )
                )
                fate = self._run_worker()
            except WorkerError as error:
                fate, permanent = str(error), error.permanent
            if self._killed or self._has_left():
                return
            if self._unwritten is not None:
                return self._leave(self._unwritten)
            if permanent:
                return self._fail("WorkerError", fate)
            if self._halt.is_set():
                break
            if self._has_progressed() or runs.has_lasted(self._record, begun):
                deaths, pause = 0, _FIRST_PAUSE
            deaths += 1
            if deaths >= _DEATHS:
                return self._fail("WorkerDied", f"{fate}; it has died {deaths} times and is not started again")
            _LOGGER.warning("%s: %s; it is started again (%d of %d)", self._name, fate, deaths + 1, _DEATHS)
            if self._halt.wait(pause):
                break
            pause = min(2 * pause, _LONGEST_PAUSE)
            try:
                self._write(self._begin_anew)
            except SnapshotError as error:
                return self._fail("SnapshotError", f"{fate}; it cannot be started again: {error}")
        if self._suspension is not None and not self._killed:
            self._leave(dict(self._suspension))

    @property
    def _guarded(self) -> bool:
        return runs.goes_on(self._record)

    def _has_left(self) -> bool:
        """Whether the job has ended or was suspended, or belongs to someone else by now."""
        record = self._registry.get(self.job_id)
        return record is None or record.owner is None or record.owner["token"] != self._owner["token"]

    def _has_progressed(self) -> bool:
        """Whether the last worker has committed. A job that starts afresh has made no progress by that."""
        record = self._registry.get(self.job_id)
        before, self._commits = self._commits, 0 if record is None else record.commits
        return self._guarded and self._commits != before

    def _begin_anew(self) -> None:
        """Become another owner, so that a worker which is not quite dead can write nothing."""
        owner = {**self._owner, "token": secrets.token_hex(8)}
        with self._db.transaction() as tx:
            changes: dict[str, Any] = {}
            if not self._guarded:
                changes = runs.begin(tx, self._db.home, self._registry.get(self.job_id) or self._record)
            # With the new run, not after it: RUNNING says that the run's worker knows where it begins.
            starting = JobStatus.STARTING.value
            self._registry.update_in(
                tx, self.job_id, token=self._owner["token"], owner=owner, status=starting, **changes
            )
        if changes:
            self._run, self._metrics = changes["run"], None
        self._owner = owner

    def _run_worker(self) -> str:
        """Start one worker and follow it to its end.

        Returns:
            How it ended, in words.
        """
        spec = {
            **self._spec,
            "job_id": self.job_id,
            "job_name": self._record.name or self.job_id,
            "run": self._run,
            "token": self._owner["token"],
            "resumed": self._record.start_time is not None,
            "resume": self._guarded or states.load(self._db.reader(), self.job_id) is not None,
        }
        self._serving = False
        worker = self._worker = self._server().spawn(spec)
        try:
            if self._halt.is_set():
                worker.kill()
            self._requests.repeat(worker)
            self._follow(worker)
        finally:
            worker.kill()
            self._worker = None
            worker.close()
        dying, self._dying = self._dying, None
        return dying or f"the worker process {worker.fate}"

    def _follow(self, worker: WorkerProcess) -> None:
        """Pass on what the worker says and prints until it has ended."""
        pipes = {worker.stdout: "stdout", worker.stderr: "stderr"}
        closed_at = None
        with selectors.DefaultSelector() as selector:
            for descriptor in (worker.control.fileno(), *pipes):
                selector.register(descriptor, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(self._patience() if closed_at is None else 0.02)
                for key, _ in ready:
                    if key.fd in pipes:
                        goes_on = self._pass_on(key.fd, pipes[key.fd])
                    else:
                        goes_on = self._hear(worker.control.recv())
                        closed_at = closed_at if goes_on else time.monotonic()
                    if not goes_on:
                        selector.unregister(key.fd)
                now = time.monotonic()
                if closed_at is not None and now > closed_at + _GRACE:
                    break
                if not ready and worker.wait(0):  # a process that left the worker's group may keep a pipe open
                    break
                if self._kill_at is not None and now > self._kill_at:
                    worker.kill()
                if self._deadline is not None and now > self._deadline:
                    self._time_out()
        if not worker.wait(_GRACE):
            worker.kill()
            worker.wait(_GRACE)

    def _hear(self, message: dict[str, Any] | None) -> bool:
        if message is None:
            return False
        if message["type"] == "metrics":
            self._metrics = message["metrics"]
        elif message["type"] == "serving":
            self._serving = True
        elif message["type"] == "log":
            self._output.logged(message)
        elif message["type"] == "exported":
            self._requests.answered(message)
        elif message["type"] == "dying":
            self._dying = message["cause"]
        elif message["type"] == "unwritten":
            self._unwritten = message["fields"]
        return True

    def _pass_on(self, descriptor: int, stream: str) -> bool:
        data = os.read(descriptor, _READ)
        self._output.printed(stream, data)
        return bool(data)

    def _patience(self) -> float:
        left = _WATCH if self._deadline is None else self._deadline - time.monotonic()
        return max(0.0, min(_WATCH, left))

    def _time_out(self) -> None:
        self._deadline = None
        limit = self._record.config["timeout_millis"]
        with contextlib.suppress(StaleOwnerError):  # it has just ended
            self._fail("Timeout", f"it ran longer than its timeout_millis of {limit} ms", final=True)
            self.kill()

    def _fail(self, kind: str, message: str, *, final: bool = False) -> None:
        error = {"type": kind, "message": message, "stage": None, "item": None, "traceback": None}
        suspends = self._record.config["suspend_on_failure"] and not final
        if not suspends and self._record.staged:
            with contextlib.suppress(StoreError):  # it is damaged, and fails all the same
                checkpoint = states.load(self._db.reader(), self.job_id) if self._guarded else None
                self._left = functools.partial(
                    discard, self._db.home, replace(self._record, run=self._run), self._spec["payload"], checkpoint
                )
        self._leave(fields_of(error, begun=True, suspends=suspends))

    def _leave(self, changes: dict[str, Any]) -> None:
        def leave() -> None:
            with self._db.transaction(durable=True) as tx:
                self._registry.update_in(tx, self.job_id, token=self._owner["token"], **{**changes, "owner": None})

        self._write(leave)

    def _write(self, write: Callable[[], object]) -> None:
        """Write to the registry; while the disk is full, wait for room: the job stands at its last commit meanwhile."""
        told = False
        while True:
            last = self._halt.is_set()
            try:
                write()
                return
            except DiskFullError as error:
                if last:
                    raise
                if not told:
                    _LOGGER.error("%s waits for room: %s", self._name, error)
                told = True
            self._halt.wait(_ROOM)

    @property
    def _name(self) -> str:
        return f"job '{self._record.name}' ({self.job_id})" if self._record.name else f"job {self.job_id}"
