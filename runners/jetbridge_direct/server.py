"""The client's side of the fork server: starting it, asking it for workers, hearing of their ends."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from typing import Any

from jetbridge.jobs.console import levels
from jetbridge.processes import fate
from jetbridge_direct.channel import Channel
from jetbridge_direct.process import WorkerError, WorkerProcess, close_in_forks

WORKER_MODULE = "jetbridge_direct.worker"

# The server imports what the client would import: also what the client's own sys.path alone finds.
_COMMAND = "import sys; sys.path[:] = {path!r}; from jetbridge_direct.forkserver import main; main({fd}, {worker!r})"
_GRACE = 5.0  # seconds within which a server ends whose socket is closed


class ForkServer:
    """A running fork server. Its methods may be called from any thread.

    The constructor returns at once; the server's imports take their time in the background.

    Args:
        worker_module: The module that the workers run.

    Attributes:
        process: The server's process.
    """

    def __init__(self, worker_module: str = WORKER_MODULE) -> None:
        if not sys.executable:
            raise WorkerError("sys.executable is empty: jetbridge needs to know which Python to start", permanent=True)
        near, far = socket.socketpair()
        # Warnings of imports: shown only when the server dies.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        command = _COMMAND.format(path=sys.path, fd=far.fileno(), worker=worker_module)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", command],
                pass_fds=[far.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._stderr,
                stderr=self._stderr,
                start_new_session=True,  # the terminal's Ctrl-C does not reach it, nor the workers
            )
        except OSError as error:
            near.close()
            self._stderr.close()
            raise WorkerError(f"{sys.executable} could not be started: {error}") from error
        finally:
            far.close()
        self._sock = near
        self._channel = Channel(near)
        close_in_forks(self._channel)
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._answers: dict[int, Any] = {}
        self._starting: dict[int, tuple[Channel, int, int]] = {}
        self._workers: dict[int, WorkerProcess] = {}
        self._obituary: WorkerError | None = None
        self._ready = False
        self._reader = threading.Thread(target=self._read, name="jetbridge-forkserver", daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        """Whether workers can be asked for."""
        return self._obituary is None

    def spawn(self, spec: dict[str, Any]) -> WorkerProcess:
        """Start a worker, waiting for the server's imports if need be.

        Args:
            spec: What the worker's ``main`` is called with.

        Raises:
            WorkerError: When no process could be started; the message says why.
        """
        with contextlib.ExitStack() as ours:
            with contextlib.ExitStack() as theirs:
                near, far = socket.socketpair()
                ours.callback(near.close)
                theirs.callback(far.close)
                reads, writes = [], [far.fileno()]
                for _ in ("stdout", "stderr"):
                    read, write = os.pipe()
                    ours.callback(os.close, read)
                    theirs.callback(os.close, write)
                    reads.append(read)
                    writes.append(write)
                worker = self._request((Channel(near), reads[0], reads[1]), writes)
            ours.pop_all()
        with contextlib.suppress(OSError):  # it died at once: the reader of its channel will see that
            worker.control.send({"surroundings": _surroundings(), "spec": spec})
        return worker

    def close(self) -> None:
        """End the server, and the workers that still run."""
        if not self._ready:  # it would look at its socket only after its imports
            self.process.kill()
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._reader.join(2 * _GRACE)

    def _request(self, ends: tuple[Channel, int, int], descriptors: list[int]) -> WorkerProcess:
        with self._changed:
            number = next(self._numbers)
            self._starting[number] = ends
            with contextlib.suppress(OSError):  # it has died: the reader says so
                self._channel.send({"type": "start", "id": number}, descriptors)
            self._changed.wait_for(lambda: number in self._answers or self._obituary is not None)
            self._starting.pop(number, None)
            answer = self._answers.pop(number, self._obituary)
        if isinstance(answer, WorkerProcess):
            return answer
        assert answer is not None
        raise answer

    def _read(self) -> None:
        """The reader's thread: answers and ends, until the server's own end."""
        broken = ""
        while (message := self._channel.recv()) is not None:
            with self._changed:
                if message["type"] == "started":
                    pid = message["pid"]
                    control, stdout, stderr = self._starting.pop(message["id"])
                    worker = WorkerProcess(pid, control, stdout, stderr, functools.partial(self._kill, pid))
                    self._workers[pid] = self._answers[message["id"]] = worker
                elif message["type"] == "refused":
                    self._answers[message["id"]] = WorkerError(
                        f"the system gave no process for the job: {message['message']}"
                    )
                elif message["type"] == "exited":
                    self._workers.pop(message["pid"]).ended(message["status"])
                elif message["type"] == "ready":
                    self._ready = True
                elif message["type"] == "broken":
                    broken = message["message"]
                self._changed.notify_all()
        try:
            status = self.process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        with self._changed:
            if broken:
                text = "the worker's modules cannot be imported in a new process:\n" + broken
            else:
                text = f"the process that starts workers {fate(status)}{self._last_words()}"
            self._obituary = WorkerError(text, permanent=bool(broken))
            for pid, worker in self._workers.items():
                # They would run on, but nobody would hear how they end.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
                worker.ended(None)
            self._workers.clear()
            self._changed.notify_all()
        self._stderr.close()
        self._channel.close()

    def _kill(self, pid: int) -> None:
        # By the server, which knows whether it has reaped that pid: else it could be another process by now.
        with self._changed:
            if pid in self._workers:
                with contextlib.suppress(OSError):
                    self._channel.send({"type": "kill", "pid": pid})

    def _last_words(self) -> str:
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - 2000))
        text = self._stderr.read().decode(errors="replace").strip()
        return f"; it said:\n{text}" if text else ""


def _surroundings() -> dict[str, Any]:
    try:
        folder = os.getcwd()
    except OSError:  # it was removed
        folder = "/"
    return {
        "environ": dict(os.environ),
        "cwd": folder,
        "path": list(sys.path),
        "argv": list(sys.argv),
        "levels": levels(),
    }
