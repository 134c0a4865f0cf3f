"""Grouping: the splitter that sends items with their keys, and the kernel that keeps all items of each key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetbridge.kernels.failure import at_hand, item_error
from jetbridge.kernels.keyed import KeyedKernel, Keys, Splitter, State, decode, encode, is_odd, restored
from jetbridge.kernels.keys import KeyTypeError, canonical, shard_of
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
        self.groups = _Groups(self._new)
        self.by_shard: dict[int, tuple[list[Any], list[list[Any]]]] = {}
        self.odd: set[int] = set()

    def add(self, chunk: list[Any]) -> None:
        """Group a chunk's items by key."""
        groups, keys, items = self.groups, self.keys.of(chunk), iter(chunk)
        key: Any = None
        try:
            for key, item in zip(keys, items, strict=True):
                groups[key].append(item)
        except KeyTypeError as error:
            raise item_error(self.keys.kind, self.keys.name, at_hand(chunk, items), error) from error
        except TypeError as error:
            raise self.keys.unhashable(at_hand(chunk, items), key, error) from error
        self.size += len(chunk)

    def _new(self, key: Any) -> list[Any]:
        # Every NaN comes here, since no two are equal; the group is found by their representative.
        key = canonical(key)
        group = dict.get(self.groups, key)
        if group is None:
            shard = shard_of(key, self.keys.shards)
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


class _Groups(dict[Any, list[Any]]):
    """The group of each key; asking for a new one makes it."""

    def __init__(self, make: Callable[[Any], list[Any]]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: Any) -> list[Any]:
        return self._make(key)


class GroupKernel(KeyedKernel):
    """Keeps all items of each key and emits ``(key, [items])`` at the end."""

    kind = "group_by"
    appends = True

    def __init__(self, name: str, key_fn: Callable[[Any], Any] | None) -> None:
        super().__init__(name)
        self.key_fn = key_fn

    def splitter(self, shards: int) -> GroupSplitter:
        """A splitter that groups."""
        return GroupSplitter(Keys(self.kind, self.name, self.key_fn, shards))

    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """Add the items to their groups."""
        keys, groups, odd = decode(payload)
        self.last = keys, groups
        self.add(state, restored(keys, odd), groups)
        return iter(())

    def add(self, state: State, keys: Any, values: Any) -> None:
        """Add groups of items to those that are there."""
        for key, group in zip(keys, values, strict=True):
            if key in state or (key := canonical(key)) in state:
                state[key] += group
            else:
                # A copy: what was added may still be written to the journal.
                state[key] = list(group)

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
