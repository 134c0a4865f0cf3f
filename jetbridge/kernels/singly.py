"""Items that travel one by one, each with its key, where most keys have but one: a list for each would cost more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetbridge.kernels.group import GroupSplitter, append_to
from jetbridge.kernels.keyed import encode
from jetbridge.times import TimedItems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetbridge.kernels.keyed import Keys

_LOOK = 8
"""How many flushes apart it is looked whether keys still have but one item."""


class SinglySplitter(GroupSplitter):
    """Sends groups by key or, where keys are many, ``(keys, items, None, times)`` with a key for each item.

    Of a flush it sends the one or the other, so the items of a key stay in order.
    Only keys that stand for themselves travel so: see `keyed.PLAIN`.

    Example:
        >>> from jetbridge.kernels.keyed import Keys, decode
        >>> splitter = SinglySplitter(Keys("rolling_aggregate", "sums", lambda item: item % 5, 1))
        >>> for chunk in ([1, 2, 3], [4, 9]):
        ...     splitter.add(chunk)
        ...     for shard, payload in splitter.flush():
        ...         print(decode(payload))
        ([1, 2, 3], [[1], [2], [3]], False, None)
        ([4, 4], [4, 9], None, None)

    Args:
        keys: The keys.
    """

    def __init__(self, keys: Keys) -> None:
        self._singly = False
        self._flushes = 0
        super().__init__(keys, keep_times=True)

    def _reset(self) -> None:
        super()._reset()
        self._keys: list[Any] = []
        self._items: list[Any] = []
        self._times: list[int] | None = []

    def add(self, chunk: list[Any]) -> None:
        """Take a chunk."""
        keys = self.keys.of(chunk)
        if self._singly and not self.keys.plain(keys):
            self._gather()
        if not self._singly:
            self.group(keys, chunk)
            return
        self._keys += keys
        self._items += chunk
        if self._times is not None:
            if isinstance(chunk, TimedItems):
                self._times += chunk.times
            else:
                self._times = None  # until the next flush: some items have none
        self.size += len(chunk)

    def _gather(self) -> None:
        """Make groups of what is held."""
        self._singly, keys = False, self._keys
        append_to(self.groups, keys, self._items, self.keys)
        if self._times is None:
            self.times = None
        elif self.times is not None:
            append_to(self.times, keys, self._times, self.keys)
        self._keys, self._items, self._times = [], [], []

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """What is held, for each shard."""
        if not self._singly:
            self._singly = 2 * len(self.groups) > self.size and self.keys.plain(list(self.groups))
            self._flushes = 0
            yield from super().flush()
            return
        keys, items, times = self._keys, self._items, self._times
        if self._flushes % _LOOK == 0:
            self._singly = 2 * len(set(keys)) > len(keys)
        self._flushes += 1
        self._reset()
        if times is None:
            for shard, their, part, _ in self.keys.dealt(keys, items):
                yield shard, encode((their, part, None, None))
            return
        pairs = list(zip(items, times, strict=True))
        for shard, their, part, _ in self.keys.dealt(keys, pairs):
            yield shard, encode((their, [item for item, _ in part], None, [time for _, time in part]))


def grouped(content: tuple[Any, ...]) -> tuple[Any, ...]:
    """What came one by one, as a `GroupSplitter` sends it: a group for each item, so a key may come again."""
    keys, items, _, times = content
    return keys, [[item] for item in items], False, None if times is None else [[time] for time in times]
