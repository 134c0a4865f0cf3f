"""When which key of a shard has something to do: a heap with one entry for each key that waits."""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace
from itertools import count
from typing import TYPE_CHECKING, Any

from jetbridge.kernels.keys import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Alarms:
    """The times at which keys are due, the least of which is known.

    A key that becomes due later costs nothing: its entry is put right when it
    comes to the top, so a key that is busy has one entry, not one for each item.

    Example:
        >>> due = {"a": 3, "b": 5}
        >>> alarms = Alarms(due.get)
        >>> for key in due:
        ...     alarms.note(key, due[key])
        >>> due["a"] = 9
        >>> alarms.first()
        (5, 'b')

    Args:
        due_of: When a key is due; None for one that waits for nothing.
    """

    __slots__ = ("_due_of", "_heap", "_queued", "_ties")

    def __init__(self, due_of: Callable[[Any], int | None]) -> None:
        self._due_of = due_of
        self._heap: list[tuple[int, int, Any]] = []
        self._queued: dict[Any, int] = {}  # the least entry of each key; others of it are void
        self._ties = count()

    def note(self, key: Any, due: int | None) -> None:
        """A key is due at a time; None when it waits for nothing."""
        if due is not None and due < self._queued.get(key, due + 1):
            self._queued[key] = due
            heappush(self._heap, (due, next(self._ties), key))

    def first(self) -> tuple[int, Any] | None:
        """The least time at which a key is due, and the key."""
        heap, queued = self._heap, self._queued
        while heap:
            at, _, key = heap[0]
            if queued.get(key) != at:
                heappop(heap)
                continue
            due = self._due_of(key)
            if due is None:
                heappop(heap)
                del queued[key]
            elif due > at:
                queued[key] = due
                heapreplace(heap, (due, next(self._ties), key))
            else:
                return at, key
        return None


class KeyStates(dict[Any, Any]):
    """What a shard keeps for each key, with the keys that are due.

    Args:
        due_of: When a key is due, given its entry and the key.
    """

    __slots__ = ("_alarms", "_due_of")

    def __init__(self, due_of: Callable[[Any, Any], int | None]) -> None:
        super().__init__()
        self._due_of = due_of
        self._alarms: Alarms | None = None

    @property
    def alarms(self) -> Alarms:
        """The keys that are due; found out when it is first asked after entries were put back."""
        if self._alarms is None:
            self._alarms = Alarms(self._of)
            for key in self:
                self._alarms.note(key, self._of(key))
        return self._alarms

    def _of(self, key: Any) -> int | None:
        entry = self.get(key)
        return None if entry is None else self._due_of(entry, key)

    def touched(self, key: Any) -> None:
        """A key's entry has changed."""
        if self._alarms is not None:
            self._alarms.note(key, self._of(key))

    def put_back(self, keys: Iterable[Any], values: Iterable[Any], gone: Iterable[Any]) -> None:
        """Put stored entries back."""
        for key, value in zip(keys, values, strict=True):
            self[canonical(key)] = value
        for key in gone:
            self.pop(canonical(key), None)
        self._alarms = None
