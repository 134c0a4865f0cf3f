"""Hash joins: a kernel that gathers a build side by key, and one that joins items with it once it has ended.

The second learns of the end in band: each shard of the first gives what it has
gathered when its input has ended, and then a mark with the number of its keys.
Both have the same shards, so a shard waits for its own counterpart alone.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from jetbridge.errors import ItemError, KeyTypeError
from jetbridge.kernels.failure import FAILURES, at_hand, item_error
from jetbridge.kernels.group import GroupKernel
from jetbridge.kernels.keyed import PLAIN, KeyedKernel, Keys, Splitter, State, decode, encode, is_odd, restored
from jetbridge.kernels.keys import canonical, shards_of
from jetbridge.kernels.ports import PortSplitter, ported
from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.times import Behind, TimedItems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetbridge.plan.hash_join import BuildNode, HashJoinNode

_MARK: list[Any] = []
"""Names the entry of a build side's shard that is no key's: a list is no key."""
_BUILD, _WAITING, _ABOUT = 0, 1, (2,)
"""What the names of a hash join's entries begin with; the last is a whole name."""


class BuildEnd(NamedTuple):
    """The mark behind all that a shard has gathered.

    Attributes:
        shard: The shard.
        keys: How many keys it has given.
    """

    shard: int
    keys: int


class BuildState(dict[Any, list[Any]]):
    """What a shard has gathered.

    Attributes:
        shard: Its number while the mark is still to be given, as far as it is known.
        given: How many keys were given.
    """

    __slots__ = ("given", "shard")

    def __init__(self) -> None:
        super().__init__()
        self.shard: int | None = None
        self.given = 0

    def __bool__(self) -> bool:
        return len(self) > 0 or self.shard is not None


class BuildKernel(GroupKernel):
    """Gathers items by key, and gives ``(key, [items])`` and a mark at the end, on every shard."""

    kind = "build"

    def __init__(self, node: BuildNode) -> None:
        super().__init__(node.name, node.key_fn)

    def woken(self, shards: int) -> dict[int, bytes]:
        """Every shard learns its number, also if nothing reaches it."""
        return {shard: encode(([_MARK], [[shard, 0]], False, None)) for shard in range(shards)}

    def new_state(self) -> State:
        """Nothing."""
        return BuildState()

    def add(self, state: State, keys: Any, values: Any, gone: Any = ()) -> None:
        """Add groups of items to those that are there, and what is known of the mark."""
        assert isinstance(state, BuildState)
        for key, value in zip(keys, values, strict=True):
            if type(key) is list:
                state.shard, state.given = value
            else:
                super().add(state, [key], [value])

    def entries(self, state: State) -> tuple[Any, Any]:
        """The groups, and what is known of the mark."""
        assert isinstance(state, BuildState)
        mark = [] if state.shard is None else [(_MARK, [state.shard, state.given])]
        return [*state, *(name for name, _ in mark)], [*state.values(), *(value for _, value in mark)]

    def on_end(self, state: State) -> Iterator[list[Any]]:
        """Give the groups, and then the mark."""
        assert isinstance(state, BuildState)
        out: list[Any] = []
        held = 0
        for key in list(state):
            group = state.pop(key)
            state.given += 1
            out.append((key, group))
            held += len(group)
            if held >= CHUNK_ITEMS:
                yield out
                out, held = [], 0
        if state.shard is not None:
            out.append(BuildEnd(state.shard, state.given))
            state.shard = None
        if out:
            yield out


class BuildSplitter(Splitter):
    """Sends each shard what its counterpart has gathered: ``(keys, groups, odd, how many keys there are at last)``."""

    def __init__(self, shards: int) -> None:
        self.shards = shards
        self._groups: list[tuple[Any, list[Any]]] = []
        self._ends: list[BuildEnd] = []

    def add(self, chunk: list[Any]) -> None:
        """Take groups and marks."""
        self._ends += [each for each in chunk if type(each) is BuildEnd]
        groups = [each for each in chunk if type(each) is not BuildEnd]
        self._groups += groups
        self.size += sum(len(group) for _, group in groups)

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """The parts of each shard."""
        groups, ends, self._groups, self._ends, self.size = self._groups, self._ends, [], [], 0
        parts: dict[int, tuple[list[Any], list[Any]]] = defaultdict(lambda: ([], []))
        for shard, (key, group) in zip(shards_of([key for key, _ in groups], self.shards), groups, strict=True):
            parts[shard][0].append(key)
            parts[shard][1].append(group)
        last = {end.shard: end.keys for end in ends}
        for shard in sorted(parts.keys() | last.keys()):
            keys, values = parts[shard]
            yield shard, encode((keys, values, any(map(is_odd, keys)), last.get(shard)))


class ProbeSplitter(Splitter):
    """Sends each shard ``(keys, items, odd, times)``, where every item comes with its key; None for times without any.

    Args:
        keys: The keys.
    """

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self._reset()

    def _reset(self) -> None:
        self._keys: list[Any] = []
        self._items: list[Any] = []
        self._times: list[int] = []
        self.size = 0

    def add(self, chunk: list[Any]) -> None:
        """Keep a chunk."""
        self._keys += self.keys.of(chunk)
        self._items += chunk
        if isinstance(chunk, TimedItems):
            self._times += chunk.times
        self.size += len(chunk)

    def check(self, chunk: list[Any]) -> None:
        """Whether the keys of a chunk can be keys."""
        self.keys.check(chunk)

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """The items of each shard."""
        keys, items, times, dealt = self._keys, self._items, self._times, self.keys.by_shard
        self._reset()
        try:
            shards = shards_of(keys, self.keys.shards)
        except KeyTypeError:
            shards = [self.keys.shard(key, item) for key, item in zip(keys, items, strict=True)]  # raises for one
        times_of = dealt(shards, times) if len(times) == len(items) else None
        for shard, (part, theirs) in enumerate(zip(dealt(shards, keys), dealt(shards, items), strict=True)):
            if part:
                odd = not set(map(type, part)) <= PLAIN and any(map(is_odd, part))
                yield shard, encode((part, theirs, odd, None if times_of is None else times_of[shard]))


class HashJoinKernel(KeyedKernel):
    """Emits a result for each match of an item; items that come before the build side's end wait for it."""

    kind = "hash_join"
    ends = False

    def __init__(self, node: HashJoinNode) -> None:
        super().__init__(node.name)
        self.key_fn, self.fn = node.key_fn, node.fn
        self.outer, self.as_list, self.entries_only = node.outer, node.as_list, node.entries
        self._careful = False

    def be_careful(self) -> None:
        """Leave out the items for which the function fails."""
        self._careful = True

    def splitter(self, shards: int, port: int = 0) -> Splitter:
        """For items one that deals them, for the build side one that hands on."""
        keys = Keys(self.kind, self.name, self.key_fn, shards)
        return PortSplitter(BuildSplitter(shards) if port else ProbeSplitter(keys), port)

    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """Join items, or keep them; at the build side's end join those that were kept."""
        port, inner = ported(payload)
        keys, groups, odd, more = decode(inner)
        keys = restored(keys, odd)
        last, got, waiting = state.get(_ABOUT, (None, 0, 0))
        self.last = []
        if port == 0 and last == got:
            yield from self._joined(state, keys, groups, more)
            return
        if port == 0:
            name: tuple[Any, ...] = (_WAITING, waiting)
            state[name] = keys, groups, None if more is None else list(map(_plain, more))
            state[_ABOUT] = last, got, waiting + 1
            self.last = [name, _ABOUT]
            return
        for key, group in zip(keys, groups, strict=True):
            state[_BUILD, key] = [item[1] for item in group] if self.entries_only else group
        last, got = last if more is None else more, got + len(keys)
        touched: list[Any] = [*((_BUILD, key) for key in keys), _ABOUT]
        self.last = touched
        if last != got:
            state[_ABOUT] = last, got, waiting
            return
        state[_ABOUT] = last, got, 0
        for number in range(waiting):
            touched.append((_WAITING, number))
            keys, items, times = state.pop((_WAITING, number))
            times = None if times is None else list(map(_timed, times))
            yield from self._joined(state, list(map(canonical, keys)), items, times)

    def _joined(self, state: State, keys: list[Any], items: list[Any], times: list[int] | None) -> Iterator[list[Any]]:
        if not self._careful:
            yield from self._results(state, keys, items, times)
            return
        for at, key in enumerate(keys):
            # One after the other, and all that an item gives or nothing.
            try:
                results = list(self._results(state, [key], [items[at]], None if times is None else [times[at]]))
            except ItemError as failure:
                self.failed.append((items[at], failure))
                continue
            yield from results

    def _results(self, state: State, keys: list[Any], items: list[Any], times: list[int] | None) -> Iterator[list[Any]]:
        find, fn, outer, as_list = state.get, self.fn, self.outer, self.as_list
        rest = iter(items)
        out: list[Any] = []
        out_times: list[Any] = []
        try:
            for key, item, time in zip(keys, rest, repeat(None) if times is None else times):  # noqa: B905 - as long
                matches = find((_BUILD, key))
                if as_list and (matches or outer):
                    out.append(fn(item, list(matches or ())))
                    out_times.append(time)
                elif matches:
                    for match in matches:
                        out.append(fn(item, match))
                        out_times.append(time)
                elif outer:
                    out.append(fn(item, None))
                    out_times.append(time)
                if len(out) >= CHUNK_ITEMS:
                    yield out if times is None else TimedItems(out, out_times)
                    out, out_times = [], []
        except FAILURES as error:
            raise item_error(self.kind, self.name, at_hand(items, rest), error) from error
        if out:
            yield out if times is None else TimedItems(out, out_times)


def _plain(time: int) -> Any:
    """A time as it is stored."""
    return (int(time), time.watermark) if isinstance(time, Behind) else time


def _timed(stored: Any) -> int:
    return Behind(*stored) if isinstance(stored, tuple) else stored
