"""Distinct: the first item of each key, as soon as it is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetbridge.kernels.keyed import KeyedKernel, Keys, Splitter, State, decode, restored
from jetbridge.kernels.keys import canonical
from jetbridge.kernels.stateless import CHUNK_ITEMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class DistinctSplitter(Splitter):
    """Drops repetitions at once and sends each shard ``(keys, first items, odd)``."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.firsts: dict[Any, Any] = {}

    def add(self, chunk: list[Any]) -> None:
        """Keep the first item of each new key."""
        firsts, key, item = self.firsts, None, None
        keys = self.keys.of(chunk)
        try:
            for key, item in zip(keys, chunk, strict=True):
                if key not in firsts:
                    # A NaN is never found above: its representative may be there.
                    key = canonical(key)
                    if key not in firsts:
                        firsts[key] = item
        except TypeError as error:
            raise self.keys.unhashable(item, key, error) from error
        self.size = len(firsts)

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """The new keys of each shard."""
        firsts, self.firsts, self.size = self.firsts, {}, 0
        yield from self.keys.parted(list(firsts), list(firsts.values()))


class DistinctKernel(KeyedKernel):
    """Remembers the keys that it has seen, and emits the first item of each at once."""

    kind = "distinct"
    ends = False

    def __init__(self, name: str, key_fn: Callable[[Any], Any] | None) -> None:
        super().__init__(name)
        self.key_fn = key_fn

    def splitter(self, shards: int) -> DistinctSplitter:
        """A splitter that drops repetitions."""
        return DistinctSplitter(Keys(self.kind, self.name, self.key_fn, shards))

    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """Emit the items whose key is new."""
        keys, items, odd = decode(payload)
        keys = restored(keys, odd)
        fresh = []
        new: list[Any] = []
        self.last = new
        for key, item in zip(keys, items, strict=True):
            if key not in state:
                state[key] = None
                new.append(key)
                fresh.append(item)
        for start in range(0, len(fresh), CHUNK_ITEMS):
            yield fresh[start : start + CHUNK_ITEMS]
