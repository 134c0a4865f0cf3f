"""Grouping: the splitter that sends items with their keys, and the kernel that keeps all items of each key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetbridge.kernels.keyed import KeyedKernel, Keys, Splitter, State, decode, encode, is_odd, restored
from jetbridge.kernels.keys import canonical
from jetbridge.kernels.stateless import CHUNK_ITEMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class GroupSplitter(Splitter):
    """Sends each shard ``(keys, lists of items, odd)``; the items of a key stay in order."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self._reset()

    def _reset(self) -> None:
        self.size = 0
        self.groups: dict[Any, list[Any]] = {}
        self.by_shard: dict[int, tuple[list[Any], list[list[Any]]]] = {}
        self.odd: set[int] = set()

    def add(self, chunk: list[Any]) -> None:
        """Group a chunk's items by key."""
        get = self.groups.get
        pairs = zip(self.keys.of(chunk), chunk, strict=True)
        for key, item in pairs:
            try:
                group = get(key)
            except TypeError as error:
                raise self.keys.unhashable(item, key, error) from error
            if group is None:
                group = self._new(key, item)
            group.append(item)
        self.size += len(chunk)

    def _new(self, key: Any, item: Any) -> list[Any]:
        # Every NaN comes here, since no two are equal; the group is found by their representative.
        key = canonical(key)
        group = self.groups.get(key)
        if group is None:
            shard = self.keys.shard(key, item)
            group = self.groups[key] = []
            keys, groups = self.by_shard.setdefault(shard, ([], []))
            keys.append(key)
            groups.append(group)
            if is_odd(key):
                self.odd.add(shard)
        return group

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """The groups of each shard."""
        by_shard, odd = self.by_shard, self.odd
        self._reset()
        for shard, (keys, groups) in by_shard.items():
            yield shard, encode((keys, groups, shard in odd))


class GroupKernel(KeyedKernel):
    """Keeps all items of each key and emits ``(key, [items])`` at the end."""

    kind = "group_by"

    def __init__(self, name: str, key_fn: Callable[[Any], Any] | None) -> None:
        super().__init__(name)
        self.key_fn = key_fn

    def splitter(self, shards: int) -> GroupSplitter:
        """A splitter that groups."""
        return GroupSplitter(Keys(self.kind, self.name, self.key_fn, shards))

    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """Add the items to their groups."""
        keys, groups, odd = decode(payload)
        for key, group in zip(restored(keys, odd), groups, strict=True):
            if key in state:
                state[key].extend(group)
            else:
                state[key] = group
        return iter(())

    def on_end(self, state: State) -> Iterator[list[Any]]:
        """Emit the groups, so many at a time that a chunk holds about `CHUNK_ITEMS` items."""
        out: list[Any] = []
        held = 0
        for key in list(state):
            group = state.pop(key)
            out.append((key, group))
            held += len(group)
            if held >= CHUNK_ITEMS:
                yield out
                out, held = [], 0
        if out:
            yield out
