"""Rolling aggregation: the running result, for each item."""

from __future__ import annotations

import copy
from itertools import repeat
from typing import TYPE_CHECKING, Any

from jetbridge.errors import ItemError
from jetbridge.kernels.failure import FAILURES, at_hand
from jetbridge.kernels.fold import Folder, WholeSplitter
from jetbridge.kernels.keyed import KeyedKernel, Keys, Splitter, State, decode, restored
from jetbridge.kernels.singly import SinglySplitter, grouped
from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.times import Held, TimedItems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jetbridge.aggregations import AggregateOperation


class RollingKernel(KeyedKernel):
    """Emits ``(key, result so far)`` for each item, or the result alone when there is no key."""

    kind = "rolling_aggregate"
    ends = False

    def __init__(self, name: str, key_fn: Callable[[Any], Any] | None, operation: AggregateOperation) -> None:
        super().__init__(name)
        self.key_fn = key_fn
        self.folder = Folder(name, operation)
        self.single = key_fn is None
        self._careful = False

    def be_careful(self) -> None:
        """Leave out the items that cannot be folded."""
        self._careful = True

    def splitter(self, shards: int, port: int = 0) -> Splitter:
        """A splitter that keeps every item: each has a result of its own."""
        if self.key_fn is None:
            return WholeSplitter(self.folder, combining=False)
        return SinglySplitter(Keys(self.kind, self.name, self.key_fn, shards))

    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """Fold items one by one and emit after each."""
        content = decode(payload)
        if content[2] is None:
            if content[3] is None and not self._careful:
                yield from self._singly(state, content[0], content[1])
                return
            content = grouped(content)
        keys, groups, odd, times_of = content
        keys = self.last = restored(keys, odd)
        if times_of is None and not self._careful and max(map(len, groups), default=0) <= CHUNK_ITEMS:
            yield from self._untimed(state, keys, groups)
            return
        create, accumulate, single = self.folder.create, self.folder.operation.accumulate, self.single
        finish = None if self.folder.operation.finish is None else self.folder.finish
        held = Held()
        for at, (key, items) in enumerate(zip(keys, groups, strict=True)):
            acc = state[key] if key in state else create()
            out: list[Any] = []
            out_times: list[int] = []
            rest, times = iter(items), repeat(0) if times_of is None else iter(times_of[at])
            going = True
            while going:
                try:
                    for item, time in zip(rest, times):  # noqa: B905 - of one length
                        acc = accumulate(acc, item)
                        result = acc if finish is None else finish(acc)
                        if type(result) in _CHANGING:
                            result = copy.copy(result)
                        out.append(result if single else (key, result))
                        out_times.append(time)
                        if len(out) >= CHUNK_ITEMS:
                            state[key] = acc
                            yield out if times_of is None else TimedItems(out, out_times)
                            out, out_times = [], []
                    going = False
                except ItemError:
                    raise  # of the finisher
                except FAILURES as error:
                    item = at_hand(items, rest)
                    failure = self.folder.failure(item, error, self.kind)
                    if not self._careful:
                        raise failure from error
                    failure.__cause__ = error
                    self.failed.append((item, failure))
            state[key] = acc
            held.add(out if times_of is None else TimedItems(out, out_times))
            if len(held) >= CHUNK_ITEMS:
                yield held.take()
        if held:
            yield held.take()

    def _singly(self, state: State, keys: list[Any], items: list[Any]) -> Iterator[list[Any]]:
        """As `process`, for items that came one by one and have no times."""
        self.last = keys
        create, accumulate = self.folder.create, self.folder.operation.accumulate
        finish = None if self.folder.operation.finish is None else self.folder.finish
        for start in range(0, len(keys), CHUNK_ITEMS):
            out: list[Any] = []
            for key, item in zip(keys[start : start + CHUNK_ITEMS], items[start : start + CHUNK_ITEMS], strict=True):
                acc = state[key] if key in state else create()
                try:
                    acc = accumulate(acc, item)
                    result = acc if finish is None else finish(acc)
                    if type(result) in _CHANGING:
                        result = copy.copy(result)
                except ItemError:
                    raise  # of the finisher
                except FAILURES as error:
                    raise self.folder.failure(item, error, self.kind) from error
                state[key] = acc
                out.append((key, result))
            yield out

    def _untimed(self, state: State, keys: list[Any], groups: list[list[Any]]) -> Iterator[list[Any]]:
        """As `process`, with as little as can be for each key: where keys are many most have one item.

        A chunk may have up to twice `CHUNK_ITEMS`.
        """
        create, accumulate, single = self.folder.create, self.folder.operation.accumulate, self.single
        finish = None if self.folder.operation.finish is None else self.folder.finish
        out: list[Any] = []
        for key, items in zip(keys, groups, strict=True):
            acc = state[key] if key in state else create()
            try:
                for item in items:
                    acc = accumulate(acc, item)
                    result = acc if finish is None else finish(acc)
                    if type(result) in _CHANGING:
                        result = copy.copy(result)
                    out.append(result if single else (key, result))
            except ItemError:
                raise  # of the finisher
            except FAILURES as error:
                raise self.folder.failure(item, error, self.kind) from error
            state[key] = acc
            if len(out) >= CHUNK_ITEMS:
                yield out
                out = []
        if out:
            yield out


_CHANGING = frozenset({list, dict, set})
"""Results that the next item may change in place, which must not change what was emitted."""
