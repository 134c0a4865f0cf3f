"""The named snapshots that are asked of a running job: by any thread, to be taken by its supervisor's."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jetbridge.errors import JetbridgeError, SnapshotError, UnsupportedByRunnerError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(eq=False)
class _Order:
    name: str
    last: bool
    done: threading.Event = field(default_factory=threading.Event)
    error: JetbridgeError | None = None
    taken: bool = False


class Exports:
    """The open orders of one job.

    Args:
        wake: Tells the supervisor that there is one.
    """

    def __init__(self, wake: threading.Event) -> None:
        self._wake = wake
        self._open: list[_Order] = []
        self._ended = False
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        with self._lock:
            return bool(self._open)

    def ask(self, name: str, *, last: bool) -> bool:
        """Have a snapshot taken, and wait for it.

        Args:
            name: The snapshot's name.
            last: Whether the job is to be left then.

        Returns:
            False when the job ended before.

        Raises:
            SnapshotError: When it could not be taken.
            UnsupportedByRunnerError: When the job is one that takes none.
        """
        order = _Order(name, last)
        with self._lock:
            if self._ended:
                return False
            self._open.append(order)
        self._wake.set()
        order.done.wait()
        if order.error is not None:
            raise order.error
        return order.taken

    def carry_out(self, export: Callable[[str], None]) -> bool:
        """Take the snapshots that were asked for.

        Args:
            export: Takes one of a name.

        Returns:
            Whether the job is to be left now.
        """
        leave = False
        while self:
            order = self._open[0]  # only this thread takes any away
            try:
                export(order.name)
                order.taken = True
            except (SnapshotError, UnsupportedByRunnerError) as error:
                order.error = error
            except JetbridgeError as error:
                order.error = SnapshotError(str(error))
            leave = leave or order.last
            with self._lock:
                self._open.remove(order)
            order.done.set()
        return leave

    def end(self) -> None:
        """Nothing will be taken any more."""
        with self._lock:
            self._ended = True
            left, self._open = self._open, []
        for order in left:
            order.done.set()
