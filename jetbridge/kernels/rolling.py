"""Rolling aggregation: the running result, for each item."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from jetbridge.kernels.failure import FAILURES, at_hand, item_error
from jetbridge.kernels.fold import WHOLE, Folder, WholeSplitter
from jetbridge.kernels.group import GroupSplitter
from jetbridge.kernels.keyed import KeyedKernel, Keys, Splitter, State, decode, restored
from jetbridge.kernels.stateless import CHUNK_ITEMS

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

    def splitter(self, shards: int) -> Splitter:
        """A splitter that keeps every item: each has a result of its own."""
        if self.key_fn is None:
            return WholeSplitter(self.folder, combining=False)
        return GroupSplitter(Keys(self.kind, self.name, self.key_fn, shards))

    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """Fold items one by one and emit after each."""
        keys, groups, odd = decode(payload)
        keys = self.last = restored(keys, odd)
        create, finish = self.folder.create, self.folder.finish
        out: list[Any] = []
        for key, items in zip(keys, groups, strict=True):
            acc = state[key] if key in state else create()
            results = self._results(acc, items)
            for acc in results:
                result = finish(acc)
                # What the next item changes in place must not change what was emitted.
                result = copy.copy(result) if type(result) in (list, dict, set) else result
                out.append(result if key is WHOLE and self.single else (key, result))
                if len(out) >= CHUNK_ITEMS:
                    state[key] = acc
                    yield out
                    out = []
            state[key] = acc
        if out:
            yield out

    def _results(self, acc: Any, items: list[Any]) -> Iterator[Any]:
        accumulate, rest = self.folder.operation.accumulate, iter(items)
        for item in rest:
            try:
                acc = accumulate(acc, item)
            except FAILURES as error:
                raise item_error(self.kind, self.name, at_hand(items, rest), error) from error
            yield acc
