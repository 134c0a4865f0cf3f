"""One worker process as its client sees it."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Protocol

from jetbridge.processes import fate

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetbridge_direct.channel import Channel


class WorkerError(Exception):
    """A worker process could not be started.

    Attributes:
        permanent: True when trying again would fail in the same way.
    """

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


class WorkerProcess:
    """A worker: a process id, a channel, and what it prints.

    Args:
        pid: The process id; the process leads its own session and group.
        control: The channel to it.
        stdout: The read end of the pipe that it prints to.
        stderr: The read end of its pipe for errors.
        kill: Kills it, unless it has ended.
    """

    def __init__(self, pid: int, control: Channel, stdout: int, stderr: int, kill: Callable[[], None]) -> None:
        self.pid = pid
        self.control = control
        self.stdout = stdout
        self.stderr = stderr
        self._kill = kill
        self._status: int | None = None
        self._ended = threading.Event()
        close_in_forks(self)

    def kill(self) -> None:
        """Kill it and the processes that it forked, unless it has ended; does not wait."""
        self._kill()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended and is reaped.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether it has ended.
        """
        return self._ended.wait(timeout)

    @property
    def fate(self) -> str:
        """How it ended, in words that go on from "the worker process"."""
        if self._status is None:
            return "was killed since the process that had started it died"
        return fate(self._status)

    def ended(self, status: int | None) -> None:
        """Note the end: the exit code, the negative signal, or None if nobody knows."""
        self._status = status
        self._ended.set()

    def close(self) -> None:
        """Close the channel and the pipes; a worker that still runs ends by that."""
        self.control.close()
        os.close(self.stdout)
        os.close(self.stderr)
        _open.discard(self)


class _Closeable(Protocol):
    def close(self) -> None: ...


_open: weakref.WeakSet[Any] = weakref.WeakSet()


def close_in_forks(item: _Closeable) -> None:
    """Close something in every process that the user forks from the client.

    A copy of a socket there would keep a worker alive after the client's death.
    """
    _open.add(item)


def _after_fork() -> None:
    for item in list(_open):
        with contextlib.suppress(OSError):  # another thread was just closing it
            item.close()


os.register_at_fork(after_in_child=_after_fork)
