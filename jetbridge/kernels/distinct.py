"""Distinct: the first item of each key, as soon as it is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from jetbridge.kernels.keyed import PLAIN, KeyedKernel, Keys, Splitter, State, decode, restored
from jetbridge.kernels.keys import canonical
from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.times import TimedItems, cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class _Timed(NamedTuple):
    item: Any
    time: int


class DistinctSplitter(Splitter):
    """Drops repetitions at once and sends each shard ``(keys, first items, odd)``, items with times as `_Timed`."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.firsts: dict[Any, Any] = {}
        self._alike = keys.key_fn is None

    def add(self, chunk: list[Any]) -> None:
        """Keep the first item of each new key."""
        firsts, key, item = self.firsts, None, None
        keys = self.keys.of(chunk)
        if isinstance(chunk, TimedItems):
            chunk, self._alike = list(map(_Timed, chunk, chunk.times)), False
        try:
            if set(map(type, keys)) <= PLAIN:
                for key, item in zip(keys, chunk, strict=True):
                    if key not in firsts:
                        firsts[key] = item
                self.size = len(firsts)
                return
            self._alike = False
            for key, item in zip(keys, chunk, strict=True):
                if key not in firsts:
                    # A NaN is never found above: its representative may be there.
                    key = canonical(key)
                    if key not in firsts:
                        firsts[key] = item
        except TypeError as error:
            raise self.keys.unhashable(item.item if isinstance(item, _Timed) else item, key, error) from error
        self.size = len(firsts)

    def check(self, chunk: list[Any]) -> None:
        """Whether the keys of a chunk can be keys."""
        self.keys.check(chunk)

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """The new keys of each shard."""
        firsts, self.firsts, self.size = self.firsts, {}, 0
        keys = list(firsts)
        items = keys if self._alike else list(firsts.values())
        self._alike = self.keys.key_fn is None
        yield from self.keys.parted(keys, items)


class DistinctKernel(KeyedKernel):
    """Remembers the keys that it has seen, and emits the first item of each at once."""

    kind = "distinct"
    ends = False

    def __init__(self, name: str, key_fn: Callable[[Any], Any] | None) -> None:
        super().__init__(name)
        self.key_fn = key_fn

    def splitter(self, shards: int, port: int = 0) -> DistinctSplitter:
        """A splitter that drops repetitions."""
        return DistinctSplitter(Keys(self.kind, self.name, self.key_fn, shards))

    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """Emit the items whose key is new."""
        keys, items, odd = decode(payload)
        keys = restored(keys, odd)
        if items is keys:
            new = fresh = [key for key in keys if key not in state]
        else:
            pairs = [(key, item) for key, item in zip(keys, items, strict=True) if key not in state]
            new, fresh = [key for key, _ in pairs], [item for _, item in pairs]
        self.last = new
        state.update(dict.fromkeys(new))
        if _Timed in set(map(type, fresh)):
            fresh = TimedItems([pair.item for pair in fresh], [pair.time for pair in fresh])
        yield from cut(fresh, CHUNK_ITEMS)
