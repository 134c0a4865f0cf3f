"""Grouping: the splitter that sends items with their keys, and the kernel that keeps all items of each key."""

from __future__ import annotations

from collections import deque
from operator import length_hint
from typing import TYPE_CHECKING, Any

from jetbridge.errors import KeyTypeError
from jetbridge.kernels.failure import at_hand, item_error, short_repr
from jetbridge.kernels.keyed import KeyedKernel, Keys, Splitter, State, decode, encode, restored
from jetbridge.kernels.keys import canonical
from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.times import TimedItems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FEW = 8
"""Up to so many items for each key groups are made in bulk."""


class GroupSplitter(Splitter):
    """Sends each shard ``(keys, lists of items, odd, lists of times)``; the items of a key stay in order.

    Args:
        keys: The keys.
        keep_times: Whether times are sent, where all items have them; else None is.
    """

    def __init__(self, keys: Keys, *, keep_times: bool = False) -> None:
        self.keys = keys
        self.keep_times = keep_times
        self._many = False  # whether the latest items had many keys
        self._reset()

    def _reset(self) -> None:
        self.size = 0
        self.groups = Groups(self._new)
        self.times: Groups | None = Groups(self._new_times) if self.keep_times else None

    def add(self, chunk: list[Any]) -> None:
        """Group a chunk's items by key."""
        self.group(self.keys.of(chunk), chunk)

    def group(self, keys: list[Any], chunk: list[Any]) -> None:
        """Group a chunk's items by the keys that they have."""
        plain = self._many and self.keys.plain(keys)
        if plain:
            self.groups.begin(keys)
        append_to(self.groups, keys, chunk, self.keys)
        if self.times is not None:
            if isinstance(chunk, TimedItems):
                if plain:
                    self.times.begin(keys)
                append_to(self.times, keys, chunk.times, self.keys)
            else:
                self.times = None  # until the next flush: some items have none
        self.size += len(chunk)
        self._many = len(self.groups) * _FEW > self.size

    def _new_times(self, key: Any) -> list[int]:
        assert self.times is not None
        return dict.setdefault(self.times, self.keys.one(key), [])

    def _new(self, key: Any) -> list[Any]:
        # Every NaN comes here, since no two are equal; the group is found by their representative.
        key = self.keys.one(key)
        group = dict.get(self.groups, key)
        if group is None:
            self.keys.home(key)  # a key that cannot be one is found here, while its item is at hand
            group = self.groups[key] = []
        return group

    def take(self) -> tuple[list[Any], list[Any]]:
        """The keys and the items of each; nothing is held afterwards."""
        groups = self.groups
        self._reset()
        return list(groups), list(groups.values())

    def check(self, chunk: list[Any]) -> None:
        """Whether the keys of a chunk can be keys."""
        self.keys.check(chunk)

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """The groups of each shard."""
        groups, times = self.groups, self.times
        self._reset()
        for shard, keys, their, odd in self.keys.dealt(list(groups), list(groups.values())):
            yield shard, encode((keys, their, odd, None if times is None else [times[key] for key in keys]))


def append_to(
    groups: dict[Any, list[Any]],
    keys: list[Any],
    items: list[Any],
    about: Keys,
    values: list[Any] | None = None,
) -> None:
    """Append each item to the group of its key.

    Args:
        groups: Makes the group of a key that it does not have.
        keys: The items' keys.
        items: The items.
        about: Whose keys they are.
        values: What to append of each item; None appends the items.

    Raises:
        ItemError: When a key cannot be one.
    """
    looked_up, rest = iter(keys), iter(items if values is None else values)
    try:
        # As `groups[key].append(item)` for each, but the loop runs in C.
        deque(map(list.append, map(groups.__getitem__, looked_up), rest), 0)
    except KeyTypeError as error:
        raise item_error(about.kind, about.name, at_hand(items, looked_up), error) from error
    except TypeError as error:
        raise about.unhashable(at_hand(items, looked_up), at_hand(keys, looked_up), error) from error
    if length_hint(rest):  # map() takes a StopIteration of a key's own __eq__ for the end
        raise RuntimeError(f"the key {short_repr(at_hand(keys, looked_up))} raised StopIteration")


class Gathered(dict[Any, list[Any]]):
    """The items of each key; asking for those of a new one makes its list, and those of any NaN are one list.

    Example:
        >>> groups = Gathered()
        >>> for item in (1, float("nan"), 1.0, float("nan")):
        ...     groups[item].append(item)
        >>> [*groups.values()]
        [[1, 1.0], [nan, nan]]
    """

    def __missing__(self, key: Any) -> list[Any]:
        key = canonical(key)
        group = self.get(key)
        if group is None:
            group = self[key] = []
        return group


class Groups(dict[Any, list[Any]]):
    """The group of each key; asking for a new one makes it."""

    def __init__(self, make: Callable[[Any], list[Any]]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: Any) -> list[Any]:
        return self._make(key)

    def begin(self, keys: list[Any]) -> None:
        """Make the groups of all new ones among plain keys: several times quicker than asking for each."""
        new = [key for key in dict.fromkeys(keys) if key not in self]
        self.update(zip(new, [[] for _ in new], strict=True))


class GroupKernel(KeyedKernel):
    """Keeps all items of each key and emits ``(key, [items])`` at the end."""

    kind = "group_by"
    appends = True

    def __init__(self, name: str, key_fn: Callable[[Any], Any] | None) -> None:
        super().__init__(name)
        self.key_fn = key_fn

    def splitter(self, shards: int, port: int = 0) -> GroupSplitter:
        """A splitter that groups."""
        return GroupSplitter(Keys(self.kind, self.name, self.key_fn, shards))

    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """Add the items to their groups."""
        keys, groups, odd, *_ = decode(payload)
        self.last = keys, groups
        self.add(state, restored(keys, odd), groups)
        return iter(())

    def add(self, state: State, keys: Any, values: Any, gone: Any = ()) -> None:
        """Add groups of items to those that are there."""
        for key, group in zip(keys, values, strict=True):
            if key in state or (key := canonical(key)) in state:
                state[key] += group
            else:
                # A copy: what was added may still be written to the journal.
                state[key] = list(group)

    def records(self, state: State) -> int:
        """How many items the groups hold."""
        return sum(map(len, state.values()))

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
