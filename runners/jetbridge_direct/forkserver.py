"""The fork server: imports Beam once and gives each job a process that has it already.

It is started by `jetbridge_direct.process` and reads requests from its socket::

    client → server   {"type": "start", "id": n} with three descriptors: control, stdout, stderr
                      {"type": "kill", "pid": pid}
    server → client   {"type": "ready"}, or {"type": "broken", "message": text} and the end
                      {"type": "started", "id": n, "pid": pid} or {"type": "refused", "id": n, "message": text}
                      {"type": "exited", "pid": pid, "status": exit code, or the negative signal}

The new process reads what it is to do from its control socket. The server runs
one thread only, so a fork copies no lock that another thread holds. When the
client ends, however it ends, the socket closes: the server kills the workers
and ends as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import select
import signal
import socket
import sys
import traceback
import types
import warnings
from typing import Any, NoReturn

from jetbridge.jobs.console import set_levels
from jetbridge_direct.channel import Channel

_PR_SET_CHILD_SUBREAPER = 36


def main(descriptor: int, worker_module: str) -> NoReturn:
    """Run the server on a socket until the other end closes.

    Args:
        descriptor: The socket's file descriptor.
        worker_module: The module whose ``warm()`` is called once here and whose
            ``main(spec, control)`` is called in each new process.
    """
    channel = Channel(socket.socket(fileno=descriptor))
    gc.disable()  # importing makes many objects and hardly any garbage
    try:
        worker = importlib.import_module(worker_module)
        worker.warm()
    except BaseException:
        with contextlib.suppress(OSError):
            channel.send({"type": "broken", "message": traceback.format_exc()})
        os._exit(1)
    gc.freeze()  # what was imported is never collected, so its pages stay shared with the workers
    gc.enable()
    with contextlib.suppress(OSError):
        channel.send({"type": "ready"})
        _Server(channel, worker).serve()
    os._exit(0)


class _Server:
    def __init__(self, channel: Channel, worker: types.ModuleType) -> None:
        self._channel = channel
        self._worker = worker
        self._pids: set[int] = set()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)

    def serve(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: None)  # without a handler nothing is written to the wake-up socket
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        _adopt_orphans()
        try:
            while True:
                readable, _, _ = select.select([self._channel.fileno(), self._wake_read.fileno()], [], [])
                if self._wake_read.fileno() in readable:
                    with contextlib.suppress(BlockingIOError):
                        self._wake_read.recv(4096)
                self._reap()
                if self._channel.fileno() in readable:
                    request, descriptors = self._channel.recv_with_descriptors()
                    if request is None:
                        return
                    if request["type"] == "start":
                        self._start(request["id"], descriptors)
                    elif request["pid"] in self._pids:  # a pid that is reaped may be another process by now
                        _kill(request["pid"])
        finally:
            for pid in self._pids:
                _kill(pid)

    def _start(self, number: int, descriptors: list[int]) -> None:
        try:
            with warnings.catch_warnings():
                # Python 3.12 and later warn of threads: those of BLAS and of the allocator, which know of forks.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
        except OSError as error:
            self._channel.send({"type": "refused", "id": number, "message": f"fork: {error}"})
        else:
            if not pid:
                self._run_worker(descriptors)
            self._pids.add(pid)
            self._channel.send({"type": "started", "id": number, "pid": pid})
        for descriptor in descriptors:
            os.close(descriptor)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in self._pids:  # others are the workers' orphans
                self._pids.remove(pid)
                _kill_group(pid)  # its own children
                self._channel.send({"type": "exited", "pid": pid, "status": os.waitstatus_to_exitcode(status)})

    def _run_worker(self, descriptors: list[int]) -> NoReturn:
        """In the new process: become the worker, and never return."""
        code = 1
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._channel.close()
            self._wake_read.close()
            self._wake_write.close()
            control, stdout, stderr = descriptors
            for source, target in ((stdout, 1), (stderr, 2)):
                os.dup2(source, target)
                os.close(source)
            # By lines, so that a print is seen at once, and not twice when a pool is forked.
            sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
            sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
            sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]
            sock = socket.socket(fileno=control)
            first = Channel(sock).recv()
            if first is not None:  # else the client is gone
                _take_over(first["surroundings"])
                code = self._worker.main(first["spec"], sock)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)


def _take_over(surroundings: dict[str, Any]) -> None:
    """Make the process look like the client that submitted the job."""
    os.environ.clear()
    os.environ.update(surroundings["environ"])
    with contextlib.suppress(OSError):  # the folder is gone: the client has none either
        os.chdir(surroundings["cwd"])
    sys.path[:] = surroundings["path"]
    sys.argv[:] = surroundings["argv"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    set_levels(surroundings["levels"])
    numpy = sys.modules.get("numpy")
    if numpy is not None:  # Python's own generator is seeded anew by a fork, numpy's is not
        numpy.random.seed()


def _kill(pid: int) -> None:
    """Kill a worker that is not reaped yet, and the processes that it forked."""
    _kill_group(pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)  # forked just now, it has no group of its own yet


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: a group of zombies may not be killed
        os.killpg(pid, signal.SIGKILL)


def _adopt_orphans() -> None:
    """On Linux: be given the children of a worker that died, so that none stays a zombie."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
