"""What joins by the distance of times keep: the items of both inputs by key, each until none can match it any more."""

from __future__ import annotations

from bisect import insort
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetbridge.kernels.joins import TimeJoinKernel

LEFT, RIGHT = 0, 1
BLOCK = 64
"""How many rows of a key are stored as one entry: so one that comes does not write all again."""


class Row(NamedTuple):
    """An item that waits for others.

    Attributes:
        time: Its time.
        number: Its number among those of its key.
        item: The item.
    """

    time: int
    number: int
    item: Any


class _Rows:
    """The rows of one key: those of each input by time, and the numbers of those that have no match yet."""

    __slots__ = ("alone", "following", "sides")

    def __init__(self) -> None:
        self.sides: tuple[list[Row], list[Row]] = ([], [])
        self.following = 0
        self.alone: set[int] = set()


class JoinState(dict[tuple[Any, int], dict[int, tuple[int, int, Any, bool]]]):
    """What a shard keeps: blocks of rows as they are stored, by key and number, and where each key's rows are.

    Args:
        kernel: Says when rows are looked at.
    """

    __slots__ = ("_heap", "_kernel", "_rows", "_wakes")

    def __init__(self, kernel: TimeJoinKernel) -> None:
        super().__init__()
        self._kernel = kernel
        self.forget()

    def forget(self) -> None:
        """The blocks have changed: everything else is found anew when it is needed."""
        self._rows: dict[Any, _Rows] | None = None
        self._wakes: dict[int, dict[Any, None]] = {}
        self._heap: list[int] = []

    def rows(self) -> dict[Any, _Rows]:
        """The rows of each key."""
        if self._rows is None:
            self._rows = {}
            for (key, _), block in self.items():
                mine = self._rows.setdefault(key, _Rows())
                for number, (port, time, item, alone) in block.items():
                    mine.sides[port].append(Row(time, number, item))
                    mine.following = max(mine.following, number + 1)
                    if alone:
                        mine.alone.add(number)
                    self.wake(self._kernel.when(port, time, alone), key)
            for key, mine in self._rows.items():
                for side in mine.sides:
                    side.sort()
                self.wake(self._kernel.prunes(mine.sides[RIGHT], 0), key)
        return self._rows

    def wake(self, when: int | None, key: Any) -> None:
        """Look at a key when the watermark is there."""
        if when is None:
            return
        keys = self._wakes.get(when)
        if keys is None:
            keys = self._wakes[when] = {}
            heappush(self._heap, when)
        keys[key] = None

    def next_wake(self) -> int | None:
        """When the next key is to be looked at."""
        self.rows()
        while self._heap and not self._wakes[self._heap[0]]:
            del self._wakes[heappop(self._heap)]
        return self._heap[0] if self._heap else None

    def waking(self, watermark: int) -> Iterator[Any]:
        """The keys to be looked at by a watermark, each taken out before it is given."""
        while (when := self.next_wake()) is not None and when <= watermark:
            yield self._wakes[when].popitem()[0]

    def put(self, key: Any, port: int, time: int, item: Any, *, alone: bool) -> tuple[Any, int]:
        """Add a row, and say in which block."""
        rows = self.rows()
        mine = rows.get(key)
        if mine is None:
            mine = rows[key] = _Rows()
        number = mine.following
        mine.following += 1
        if alone:
            mine.alone.add(number)
        side, row = mine.sides[port], Row(time, number, item)
        if side and side[-1].time > time:
            insort(side, row)
        else:
            side.append(row)
        name = (key, number // BLOCK)
        self.setdefault(name, {})[number] = (port, time, item, alone)
        self.wake(self._kernel.when(port, time, alone), key)
        return name

    def matched(self, key: Any, port: int, row: Row) -> tuple[Any, int]:
        """Note that a row has a match, and say in which block it is."""
        name = (key, row.number // BLOCK)
        self[name][row.number] = (port, row.time, row.item, False)
        self.rows()[key].alone.discard(row.number)
        return name

    def drop(self, key: Any, port: int, count: int) -> set[tuple[Any, int]]:
        """Remove so many rows of a key's input from its beginning, and say in which blocks they were."""
        rows = self.rows()
        mine = rows[key]
        names = set()
        for row in mine.sides[port][:count]:
            name = (key, row.number // BLOCK)
            block = self[name]
            del block[row.number]
            if not block:
                del self[name]
            names.add(name)
            mine.alone.discard(row.number)
        del mine.sides[port][:count]
        if not any(mine.sides):
            del rows[key]
        return names
