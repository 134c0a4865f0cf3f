"""The worker pool's main process: forks workers, hears of their ends, and passes signals on."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import socket
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetbridge.processes import fate
from jetbridge_flink import worker_process, worker_release
from jetbridge_flink.worker_lines import Lines
from jetbridge_flink.worker_logs import Living, WorkerLogs

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

_LOGGER = logging.getLogger("jetbridge.flink.worker_pool")
_TERM_AFTER = 1.0  # a worker whose job has ended ends by itself, unless user code goes on
_KILL_AFTER = 4.0
_LOOK = 1.0  # seconds between looks whether a pool without an owner is still needed


@dataclass
class _Worker:
    pid: int
    name: str
    control: str
    peer: str
    lines: Lines
    log: Path
    request: int | None  # the start that is not answered yet
    fate: Path | None = None  # the file in which the job's supervisor looks how its last worker died
    error: str = ""
    stopping: bool = False
    signals: list[tuple[float, int]] = field(default_factory=list)  # when to send which, soonest first


class Pool:
    """The workers.

    Args:
        service: The connection to the gRPC server's process.
        options: What `worker_pool` was started with.
    """

    def __init__(self, service: Lines, options: argparse.Namespace) -> None:
        self._service = service
        self._options = options
        self._logs = WorkerLogs(options.logs)
        self._living = Living(options.logs / "workers.json")
        self._workers: dict[int, _Worker] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._running = True
        self._needed: float | None = None  # when a pool without an owner had a worker last

    def run(self) -> int:
        """Work until the end of the standard input, of the service, or a signal."""
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)  # without a handler nothing is written to the wake-up socket
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._woken)
        self._selector.register(self._service, selectors.EVENT_READ, self._hear_service)
        if not self._options.stay:
            # A file cannot be polled, and is at its end as soon as it is read.
            with contextlib.suppress(PermissionError):
                self._selector.register(0, selectors.EVENT_READ, self._hear_owner)
        try:
            self._release(self._living.take_over())
            while self._running:
                for key, _ in self._selector.select(self._pause()):
                    key.data(key.fileobj)
                self._reap()
                self._send_signals()
                self._linger()
        except _ServiceDiedError as error:
            _LOGGER.error("%s", error)
            return 1
        finally:
            for pid in self._workers:
                _kill(pid, signal.SIGKILL)
        return 0

    def _on_signal(self, number: int, frame: Any) -> None:
        self._running = self._running and number == signal.SIGCHLD

    def _woken(self, sock: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            sock.recv(4096)

    def _hear_owner(self, descriptor: int) -> None:
        if not os.read(descriptor, 4096):
            self._selector.unregister(descriptor)
            self._needed = time.monotonic()
            self._running = self._running and self._options.linger > 0

    def _linger(self) -> None:
        """Without an owner: go on for the workers that there are, and for those that a job may have again."""
        if self._needed is None:
            return
        if self._workers:
            self._needed = time.monotonic()
        elif time.monotonic() - self._needed > self._options.linger:
            self._running = False

    def _hear_service(self, service: Lines) -> None:
        messages = service.receive()
        if messages is None:
            raise _ServiceDiedError("the worker pool's server process died")
        for message in messages:
            if message["type"] == "listening":
                with contextlib.suppress(BrokenPipeError):
                    print(json.dumps({"port": message["port"]}), flush=True)
            elif message["type"] == "broken":
                raise _ServiceDiedError(f"the worker pool cannot serve: {message['message']}")
            elif message["type"] == "start":
                self._start(message)
            else:
                self._stop(message)

    def _start(self, request: dict[str, Any]) -> None:
        options = {"state_cache": self._options.state_cache, "data_buffer_ms": self._options.data_buffer_ms}
        spec = {key: request[key] for key in ("worker", "control", "params")} | options
        log = self._logs.choose(request["worker"])
        near, far = socket.socketpair()

        def become_worker() -> None:
            near.close()
            worker_process.main(Lines(far), spec, log)

        try:
            pid = self._fork(become_worker)
        except OSError as error:
            near.close()
            self._answer(request["id"], f"no process can be started for a worker: {error}")
            return
        finally:
            far.close()
        near.setblocking(False)
        worker = _Worker(
            pid,
            spec["worker"],
            spec["control"],
            request["peer"],
            Lines(near),
            log,
            request["id"],
            fate_file(spec["params"]),
        )
        self._workers[pid] = worker
        self._living.note(pid, worker.name, worker.control)
        self._selector.register(worker.lines, selectors.EVENT_READ, lambda _: self._hear_worker(worker))

    def _fork(self, body: Callable[[], None]) -> int:
        with warnings.catch_warnings():
            # Python 3.12 and later warn of threads: those of BLAS and of the allocator, which know of forks.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            try:
                self._let_go()
                body()
            finally:
                os._exit(1)
        return pid

    def _release(self, dead: list[tuple[str, str]]) -> None:
        """Free the TaskManagers that may wait for dead workers."""
        if dead:
            with contextlib.suppress(OSError):
                self._fork(lambda: worker_release.main(dead))

    def _let_go(self) -> None:
        """In a new process: give up all that belongs to the pool."""
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        self._selector.close()
        self._service.close()
        self._wake_read.close()
        self._wake_write.close()
        for other in self._workers.values():
            other.lines.close()

    def _hear_worker(self, worker: _Worker) -> None:
        messages = worker.lines.receive()
        if messages is None:  # its end: it is reaped when the system says so
            self._selector.unregister(worker.lines)
            return
        for message in messages:
            if message["type"] == "broken":
                worker.error = message["message"]
            elif worker.request is not None:
                self._answer(worker.request, "")
                worker.request = None

    def _stop(self, request: dict[str, Any]) -> None:
        """Stop a worker, unless it is unclear which one is meant.

        TaskManagers number their workers alike. A stop comes on the connection that
        the start came on; if that has been renewed since, nothing is done: a worker
        also ends by itself when its control stream does.
        """
        now = time.monotonic()
        for worker in self._workers.values():
            if (worker.name, worker.peer) == (request["worker"], request["peer"]) and not worker.stopping:
                worker.stopping = True
                worker.signals = [(now + _TERM_AFTER, signal.SIGTERM), (now + _KILL_AFTER, signal.SIGKILL)]

    def _pause(self) -> float | None:
        due = [worker.signals[0][0] for worker in self._workers.values() if worker.signals]
        if self._needed is not None:
            due.append(time.monotonic() + _LOOK)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _send_signals(self) -> None:
        now = time.monotonic()
        for worker in self._workers.values():
            while worker.signals and worker.signals[0][0] <= now:
                _kill(worker.pid, worker.signals.pop(0)[1])

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            worker = self._workers.pop(pid, None)
            if worker is None:  # it was none: the service's end is seen by its socket
                continue
            _kill(pid, signal.SIGKILL)  # what it started itself
            self._bury(worker, os.waitstatus_to_exitcode(status))

    def _bury(self, worker: _Worker, code: int) -> None:
        # Nothing may have come, a process that it started may keep the socket open, or its end has been heard.
        with contextlib.suppress(OSError, KeyError):
            self._hear_worker(worker)
        with contextlib.suppress(KeyError):
            self._selector.unregister(worker.lines)
        worker.lines.close()
        if worker.request is not None:
            cause = worker.error or fate(code)
            self._answer(
                worker.request, f"worker {worker.name} ended before it had connected: {cause}; log: {worker.log}"
            )
        elif code != worker_process.LET_GO and not worker.stopping:
            _LOGGER.warning("worker %s (pid %d) %s", worker.name, worker.pid, fate(code))
            if worker.fate is not None:
                with contextlib.suppress(OSError):
                    worker.fate.write_text(fate(code))
            self._release([(worker.name, worker.control)])
        self._living.forget(worker.pid)
        self._logs.ended(worker.log)

    def _answer(self, request: int, error: str) -> None:
        if error:
            _LOGGER.warning("%s", error)
        with contextlib.suppress(OSError):  # the service died: the next round finds out
            self._service.send({"id": request, "error": error})


def fate_file(params: Mapping[str, str]) -> Path | None:
    """Where it is said how a job's last worker died: beside the job's log."""
    try:
        log = json.loads(params.get(worker_process.PARAMETER) or "{}").get("log")
        return Path(log).with_suffix(".died") if log and os.path.isdir(os.path.dirname(log)) else None
    except (ValueError, TypeError, AttributeError):  # the worker says what is wrong; the pool lives on for the others
        return None


class _ServiceDiedError(Exception):
    pass


def _kill(pid: int, number: int) -> None:
    """Send a signal to a worker that is not reaped yet, and to the processes that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: a group of zombies may not be killed
        os.killpg(pid, number)
