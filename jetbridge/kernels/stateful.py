"""Stages with state of the user's: a function that is given an object of its key's, and may change it."""

from __future__ import annotations

import copy
from itertools import repeat
from typing import TYPE_CHECKING, Any

from jetbridge.kernels.alarms import KeyStates
from jetbridge.kernels.failure import FAILURES, item_error, short_repr, stage_error
from jetbridge.kernels.group import GroupSplitter
from jetbridge.kernels.keyed import PLAIN, KeyedKernel, Keys, Splitter, State, decode, restored
from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.plan.stateful import FilterStatefulNode, FlatMapStatefulNode
from jetbridge.times import TimedItems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from jetbridge.errors import ItemError
    from jetbridge.plan.stateful import StatefulNode

_FIXED = frozenset({type(None), bool, int, float, complex, str, bytes, frozenset})
"""Types of which no function can change an object."""
_CHANGING = frozenset({list, dict, set})
"""Results that the next item may change in place, which must not change what was emitted."""

Entry = list[Any]
"""What is kept for a key: the state, and the newest time of its items where states expire."""


class ItemsSplitter(Splitter):
    """Sends each shard its items by key, in order, and their times; see `GroupSplitter`.

    Args:
        keys: The keys; one without a key function makes all items one group of shard 0.
        drops_late: Whether items that lie behind their partition's watermark are put aside.
    """

    def __init__(self, keys: Keys, *, drops_late: bool) -> None:
        if keys.key_fn is None:
            keys = Keys(keys.kind, keys.name, _whole, 1)
        self.keys = keys
        self._groups = GroupSplitter(keys, keep_times=True)
        self._drops_late = drops_late

    def add(self, chunk: list[Any]) -> None:
        """Group a chunk's items."""
        if self._drops_late and isinstance(chunk, TimedItems):
            chunk = chunk.on_time(self.late)
        self._groups.add(chunk)
        self.size = self._groups.size

    def check(self, chunk: list[Any]) -> None:
        """Whether the keys of a chunk can be keys."""
        self._groups.check(chunk)

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """The items of each shard."""
        yield from self._groups.flush()
        self.size = 0


class Results:
    """What a step has to give, in chunks of bounded size; with times if its first one has a time.

    Attributes:
        items: The results.
        times: The time of each, or None.
    """

    __slots__ = ("items", "times")

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.times: list[Any] = []

    def add(self, item: Any, time: int | None) -> None:
        """Add a result."""
        self.items.append(item)
        self.times.append(time)

    def take(self) -> list[Any]:
        """All of it."""
        items, times = self.items, self.times
        self.items, self.times = [], []
        return items if not times or times[0] is None else TimedItems(items, times)


class StatefulKernel(KeyedKernel):
    """Gives each item to the user's function with the state of its key, and drops states that have expired.

    A state expires by the times of its key's items: an item that comes more
    than the ttl after the last one finds a new state, whether or not the
    watermark is there already. So what comes of a partition does not depend on
    when a host tells of the watermark.
    """

    def __init__(self, node: StatefulNode) -> None:
        super().__init__(node.name)
        self.kind = node.kind
        self.node = node
        self.single = node.key_fn is None
        self.ends = self.timed = node.ttl is not None
        self._fn = _with_key(node.fn, keyed=node.key_fn is not None)
        self._on_evict = None if node.on_evict is None else _with_key(node.on_evict, keyed=node.key_fn is not None)
        outputs = {FilterStatefulNode: self._filtered, FlatMapStatefulNode: self._drawn}
        self._outputs: Callable[[Any, Any, Any], Iterable[Any]] | None = outputs.get(type(node))
        self._careful = False

    def be_careful(self) -> None:
        """Leave out the items that the user's function fails on."""
        self._careful = True

    def splitter(self, shards: int, port: int = 0) -> ItemsSplitter:
        """A splitter that keeps every item and its time."""
        return ItemsSplitter(Keys(self.kind, self.name, self.node.key_fn, shards), drops_late=self.node.drops_late)

    def new_state(self) -> State:
        """No states; those that expire are found by when they do."""
        return {} if self.node.ttl is None else KeyStates(self._due)

    def _due(self, entry: Entry, key: Any) -> int:
        # An item at the very end of a state's life still finds it: it expires when no such item is expected any more.
        assert self.node.ttl is not None
        return int(entry[1]) + self.node.ttl + 1

    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """Give the items to the function, one after the other."""
        keys, groups, odd, times_of = decode(payload)
        keys = self.last = restored(keys, odd)
        results = Results()
        for at, (key, items) in enumerate(zip(keys, groups, strict=True)):
            times = repeat(None, len(items)) if times_of is None else times_of[at]
            yield from self._of_key(state, key, zip(items, times, strict=True), results)
            if isinstance(state, KeyStates):
                state.touched(key)
        if results.items:
            yield results.take()

    def _of_key(
        self, state: State, key: Any, items: Iterable[tuple[Any, Any]], results: Results
    ) -> Iterator[list[Any]]:
        fn, ttl, delete, outputs = self._fn, self.node.ttl, self.node.delete, self._outputs
        careful = self._careful
        entry: Entry | None = state.get(key)
        for item, time in items:
            if ttl is not None and entry is not None and time > entry[1] + ttl:
                del state[key]
                self._evict(key, entry, results)
                entry = None
            try:
                mine = [self._created(), None] if entry is None else entry
                if outputs is None:
                    result = fn(mine[0], key, item)
                    deleted = delete is not None and delete(mine[0])
                    results.items.append(result if type(result) in PLAIN else _kept(result, mine[0]))
                    results.times.append(time)
                    if len(results.items) >= CHUNK_ITEMS:
                        yield results.take()
                else:
                    given = outputs(mine[0], key, item)
                    deleted = careful and delete is not None and delete(mine[0])
                    for output in given:
                        results.add(output, time)
                        if len(results.items) >= CHUNK_ITEMS:
                            yield results.take()
                    deleted = deleted or (not careful and delete is not None and delete(mine[0]))
            except FAILURES as error:
                self._fail(item, item_error(self.kind, self.name, item, error), error)
                continue
            if deleted:
                state.pop(key, None)
                entry = None
                continue
            if ttl is not None:
                mine[1] = int(time) if mine[1] is None else max(mine[1], int(time))
            if entry is None:
                entry = state[key] = mine

    def _filtered(self, mine: Any, key: Any, item: Any) -> Iterable[Any]:
        return (item,) if self._fn(mine, key, item) else ()

    def _drawn(self, mine: Any, key: Any, item: Any) -> Iterable[Any]:
        drawn = (_kept(output, mine) for output in _iterable(self._fn(mine, key, item)))
        # All of an item's results or none, where a failure may come in the middle.
        return list(drawn) if self._careful else drawn

    def _created(self) -> Any:
        mine = self.node.create()
        if type(mine) in _FIXED:
            raise TypeError(
                "create must return an object that fn can change, such as a dict, a list or "
                f"types.SimpleNamespace(count=0); got {short_repr(mine)} ({type(mine).__name__})"
            )
        return mine

    def _evict(self, key: Any, entry: Entry, results: Results) -> None:
        """Emit what the user's function gives for a state that has expired; it has left the state already."""
        if self._on_evict is None:
            return
        mine, time = entry[0], entry[1] + self.node.ttl
        try:
            result = self._on_evict(mine, key, time)
            if result is None:
                return
            for output in list(_iterable(result)) if isinstance(self.node, FlatMapStatefulNode) else (result,):
                results.add(output, time)
        except FAILURES as error:
            of = "" if self.single else f" of key {short_repr(key)}"
            failure = stage_error(self.kind, self.name, f"evicting the state{of}", error)
            self._fail(mine if self.single else (key, mine), failure, error)

    def _fail(self, item: Any, failure: ItemError, error: BaseException) -> None:
        if not self._careful:
            raise failure from error
        failure.__cause__ = error
        self.failed.append((item, failure))

    def due(self, state: State) -> int | None:
        """When the first of the states expires."""
        if not isinstance(state, KeyStates):
            return None
        first = state.alarms.first()
        return None if first is None else first[0]

    def on_watermark(self, state: State, watermark: int) -> Iterator[list[Any]]:
        """Drop the states that have expired, in the order in which they did."""
        touched: list[Any] = []
        self.last = touched
        if not isinstance(state, KeyStates):
            return
        results = Results()
        while (first := state.alarms.first()) is not None and first[0] <= watermark:
            key = first[1]
            touched.append(key)
            self._evict(key, state.pop(key), results)
            if len(results.items) >= CHUNK_ITEMS:
                yield results.take()
        if results.items:
            yield results.take()

    def add(self, state: State, keys: Any, values: Any, gone: Any = ()) -> None:
        """Put stored states back."""
        if isinstance(state, KeyStates):
            state.put_back(keys, values, gone)
        else:
            super().add(state, keys, values, gone)


def _with_key(fn: Callable[..., Any], *, keyed: bool) -> Callable[[Any, Any, Any], Any]:
    """A function of the user's as one that is given a key, too."""
    return fn if keyed else lambda mine, _, rest: fn(mine, rest)


def _kept(output: Any, mine: Any) -> Any:
    """An output that the next item does not change."""
    if output is mine:
        return copy.deepcopy(output)
    return copy.copy(output) if type(output) in _CHANGING else output


def _iterable(result: Any) -> Iterator[Any]:
    try:
        return iter(result)
    except TypeError as error:
        raise TypeError(f"its function must return an iterable ({error})") from error


def _whole(_: Any) -> None:
    return None
