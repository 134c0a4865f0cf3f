"""Snapshots that a job's worker is asked for, across the deaths of workers."""

from __future__ import annotations

import contextlib
import itertools
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jetbridge.errors import SnapshotError

if TYPE_CHECKING:
    from jetbridge_direct.process import WorkerProcess


@dataclass
class _Request:
    name: str
    answered: threading.Event = field(default_factory=threading.Event)
    error: str | None = None
    taken: bool = False


class SnapshotRequests:
    """The snapshots that were asked for and are not there yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._open: dict[int, _Request] = {}
        self._closed = False

    def ask(self, name: str, worker: WorkerProcess | None) -> _Request | None:
        """Ask for one; None after the end.

        Args:
            name: Its name.
            worker: The worker at work, if there is one; else the next one is asked.
        """
        request = _Request(name)
        with self._lock:
            if self._closed:
                return None
            number = next(self._numbers)
            self._open[number] = request
        if worker is not None:
            _send(worker, number, name)
        return request

    def repeat(self, worker: WorkerProcess) -> None:
        """Ask a new worker for what its predecessor has not delivered."""
        with self._lock:
            left = [(number, request.name) for number, request in self._open.items()]
        for number, name in left:
            _send(worker, number, name)

    def answered(self, message: dict[str, Any]) -> None:
        """Note a worker's answer."""
        with self._lock:
            request = self._open.pop(message["id"], None)
        if request is not None:
            request.error, request.taken = message["error"], True
            request.answered.set()

    def close(self) -> None:
        """No worker will come any more."""
        with self._lock:
            self._closed = True
            left, self._open = list(self._open.values()), {}
        for request in left:
            request.answered.set()

    @staticmethod
    def wait(request: _Request) -> bool:
        """Wait for the answer.

        Returns:
            False when the end came first.

        Raises:
            SnapshotError: When the worker could not do it.
        """
        request.answered.wait()
        if request.error is not None:
            raise SnapshotError(request.error)
        return request.taken


def _send(worker: WorkerProcess, number: int, name: str) -> None:
    with contextlib.suppress(OSError):  # it has died: the next one is asked
        worker.control.send({"type": "export", "id": number, "name": name})
