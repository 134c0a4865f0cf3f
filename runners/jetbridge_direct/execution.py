"""One job of this process: its worker, what the worker says, and a new worker when it dies."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import selectors
import threading
import time
from typing import TYPE_CHECKING, Any

from jetbridge.errors import JobError, StoreError
from jetbridge.job import JobStatus
from jetbridge.store.registry import StaleOwnerError
from jetbridge_direct.logs import Output
from jetbridge_direct.process import WorkerError, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jetbridge.store.records import JobRecord
    from jetbridge.store.registry import Registry
    from jetbridge_direct.server import ForkServer

_LOGGER = logging.getLogger("jetbridge")
_DEATHS = 3  # in a row, until the job has failed
_FIRST_PAUSE = 0.1  # seconds before a worker is started again; doubled each time
_LONGEST_PAUSE = 5.0
_WATCH = 0.5  # seconds between looks at the registry, where another process may have cancelled the job
_GRACE = 5.0  # seconds that a worker has to end after it has closed its channel
_READ = 1 << 16


class DirectExecution:
    """A job from its start to its end; see `jetbridge.runner.Execution`.

    Args:
        record: The job.
        spec: What each worker gets: home, parallelism, shards and the payload.
        registry: The registry.
        server: Gives a running fork server.
        logs: The folder of the job's log file.
    """

    def __init__(
        self,
        record: JobRecord,
        spec: dict[str, Any],
        *,
        registry: Registry,
        server: Callable[[], ForkServer],
        logs: Path,
    ) -> None:
        assert record.owner is not None, "a job is started by its owner"
        self._record = record
        self._spec = spec
        self._registry = registry
        self._server = server
        self._output = Output(logs / f"{record.id}.log")
        self._run = record.run
        self._owner = record.owner
        self._metrics: dict[str, Any] | None = None
        self._dying: str | None = None
        self._worker: WorkerProcess | None = None
        self._killed = threading.Event()
        self._ended = threading.Event()
        limit = record.config["timeout_millis"]
        self._deadline = time.monotonic() + limit / 1000 if limit > 0 else None
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
        """Kill the worker, and start no other."""
        self._killed.set()
        worker = self._worker
        if worker is not None:
            worker.kill()

    def metrics(self) -> dict[str, Any] | None:
        """The metrics that the worker has sent last."""
        return self._metrics

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
            self._output.close()
            self._ended.set()

    def _run_workers(self) -> None:
        deaths, pause = 0, _FIRST_PAUSE
        while True:
            permanent = False
            try:
                # Before the worker is there: it says RUNNING itself, and only its owner may say anything.
                self._registry.update(
                    self.job_id,
                    token=self._owner["token"],
                    owner=self._owner,
                    run=self._run,
                    status=JobStatus.STARTING.value,
                    start_time=int(time.time() * 1000),
                )
                fate = self._run_worker()
            except WorkerError as error:
                fate, permanent = str(error), error.permanent
            if self._killed.is_set() or self._has_left():
                return
            deaths += 1
            if permanent:
                return self._fail("WorkerError", fate)
            if deaths >= _DEATHS:
                return self._fail("WorkerDied", f"{fate}; it has died {deaths} times and is not started again")
            _LOGGER.warning("%s: %s; it is started again (%d of %d)", self._name, fate, deaths + 1, _DEATHS)
            if self._killed.wait(pause):
                return
            pause = min(2 * pause, _LONGEST_PAUSE)
            self._begin_anew()

    def _has_left(self) -> bool:
        """Whether the job has ended or was suspended, or belongs to someone else by now."""
        record = self._registry.get(self.job_id)
        return record is None or record.owner is None or record.owner["token"] != self._owner["token"]

    def _begin_anew(self) -> None:
        # A job without a guarantee starts afresh, so what it had committed is no progress, and every death counts.
        owner = {**self._owner, "token": secrets.token_hex(8)}
        self._run = secrets.token_hex(8)
        self._metrics = None
        self._registry.update(self.job_id, token=self._owner["token"], owner=owner, run=self._run)
        self._owner = owner

    def _run_worker(self) -> str:
        """Start one worker and follow it to its end.

        Returns:
            How it ended, in words.
        """
        spec = {**self._spec, "job_id": self.job_id, "run": self._run, "token": self._owner["token"]}
        worker = self._worker = self._server().spawn({**spec, "job_name": self._record.name or self.job_id})
        try:
            if self._killed.is_set():
                worker.kill()
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
        look_at = time.monotonic() + _WATCH
        with selectors.DefaultSelector() as selector:
            for descriptor in (worker.control.fileno(), *pipes):
                selector.register(descriptor, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(_WATCH if closed_at is None else 0.02)
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
                if now > look_at:
                    look_at = now + _WATCH
                    self._watch(worker)
        if not worker.wait(_GRACE):
            worker.kill()
            worker.wait(_GRACE)

    def _hear(self, message: dict[str, Any] | None) -> bool:
        if message is None:
            return False
        if message["type"] == "metrics":
            self._metrics = message["metrics"]
        elif message["type"] == "log":
            self._output.logged(message)
        elif message["type"] == "dying":
            self._dying = message["cause"]
        return True

    def _pass_on(self, descriptor: int, stream: str) -> bool:
        data = os.read(descriptor, _READ)
        self._output.printed(stream, data)
        return bool(data)

    def _watch(self, worker: WorkerProcess) -> None:
        """Look for a cancel by another process, and at the clock."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            self._deadline = None
            limit = self._record.config["timeout_millis"]
            self._fail("Timeout", f"it ran longer than its timeout_millis of {limit} ms")
            self.kill()
            return
        record = self._registry.get(self.job_id)
        if record is not None and (record.user_cancelled or record.status == JobStatus.SUSPENDED.value):
            worker.kill()

    def _fail(self, kind: str, message: str) -> None:
        self._registry.update(
            self.job_id,
            token=self._owner["token"],
            status=JobStatus.FAILED.value,
            owner=None,
            end_time=int(time.time() * 1000),
            error={"type": kind, "message": message, "stage": None, "item": None, "traceback": None},
        )

    @property
    def _name(self) -> str:
        return f"job '{self._record.name}' ({self.job_id})" if self._record.name else f"job {self.job_id}"
