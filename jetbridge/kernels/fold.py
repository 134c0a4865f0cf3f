"""Folding: one accumulator for each key, or one for the whole stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetbridge.kernels.failure import FAILURES, at_hand, item_error, stage_error
from jetbridge.kernels.group import GroupSplitter
from jetbridge.kernels.keyed import KeyedKernel, Keys, Splitter, State, decode, encode, is_odd, restored
from jetbridge.kernels.keys import canonical
from jetbridge.kernels.stateless import CHUNK_ITEMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jetbridge.aggregations import AggregateOperation

WHOLE = None
"""The key of the only accumulator of a whole-stage aggregate."""


class Folder:
    """Applies an operation's functions, and says which stage and item failed."""

    def __init__(self, name: str, operation: AggregateOperation) -> None:
        self.name = name
        self.operation = operation
        self.create = operation.create

    def fold(self, acc: Any, items: list[Any]) -> Any:
        """Fold items into an accumulator, in order."""
        fold_all = self.operation.accumulate_all
        if fold_all is not None:
            try:
                return fold_all(acc, items)
            except FAILURES as error:
                raise stage_error("aggregate", self.name, f"folding {len(items)} items", error) from error
        accumulate, rest = self.operation.accumulate, iter(items)
        try:
            for item in rest:
                acc = accumulate(acc, item)
        except FAILURES as error:
            raise item_error("aggregate", self.name, at_hand(items, rest), error) from error
        return acc

    def finish(self, acc: Any) -> Any:
        """The result of an accumulator."""
        if self.operation.finish is None:
            return acc
        try:
            return self.operation.finish(acc)
        except FAILURES as error:
            raise stage_error("aggregate", self.name, "finishing a result", error) from error


class PartialSplitter(Splitter):
    """Folds items at once and sends each shard ``(keys, accumulators, odd)``."""

    def __init__(self, keys: Keys, folder: Folder) -> None:
        self.keys = keys
        self.folder = folder
        self.partials: dict[Any, Any] = {}

    def add(self, chunk: list[Any]) -> None:
        """Fold a chunk's items into their keys' partial results."""
        create, accumulate = self.folder.create, self.folder.operation.accumulate
        partials, keys, items = self.partials, self.keys.of(chunk), iter(chunk)
        key: Any = None
        try:
            for key, item in zip(keys, items, strict=True):
                if key in partials:
                    partials[key] = accumulate(partials[key], item)
                else:
                    # A NaN is never found above: its representative may be there.
                    key = canonical(key)
                    partials[key] = accumulate(partials[key] if key in partials else create(), item)
        except FAILURES as error:
            item = at_hand(chunk, items)
            if isinstance(error, TypeError):
                raise self.keys.unhashable(item, key, error) from error
            raise item_error("aggregate", self.folder.name, item, error) from error
        self.size = len(partials)

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """The partial results of each shard."""
        partials, self.partials, self.size = self.partials, {}, 0
        yield from self.keys.parted(list(partials), list(partials.values()))


class KeysSplitter(PartialSplitter):
    """Folds a whole chunk in one call, for operations that have a way to."""

    def add(self, chunk: list[Any]) -> None:
        """Fold a chunk's items into their keys' partial results."""
        fold = self.folder.operation.accumulate_keys
        assert fold is not None
        keys = self.keys.of(chunk)
        try:
            self.partials = fold(self.partials, keys, chunk)
        except TypeError as error:
            for key, item in zip(keys, chunk, strict=True):
                try:
                    hash(key)
                except TypeError:
                    raise self.keys.unhashable(item, key, error) from error
            raise stage_error("aggregate", self.folder.name, f"folding {len(chunk)} items", error) from error
        except FAILURES as error:
            raise stage_error("aggregate", self.folder.name, f"folding {len(chunk)} items", error) from error
        self.size = len(self.partials)

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """The partial results of each shard; those of every NaN become one."""
        combine = self.folder.operation.combine
        assert combine is not None
        for key in [key for key in self.partials if key != key or is_odd(key)]:
            one = canonical(key)
            if one is not key:
                acc = self.partials.pop(key)
                self.partials[one] = combine(self.partials[one], acc) if one in self.partials else acc
        return super().flush()


class BulkSplitter(GroupSplitter):
    """Groups first and folds each group in one call, for operations that have a quick way for many items."""

    def __init__(self, keys: Keys, folder: Folder) -> None:
        super().__init__(keys)
        self.folder = folder

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """The partial results of each shard."""
        by_shard, odd, folder = self.by_shard, self.odd, self.folder
        self._reset()
        for shard, (keys, groups) in by_shard.items():
            accs = [folder.fold(folder.create(), group) for group in groups]
            yield shard, encode((keys, accs, shard in odd))


class WholeSplitter(Splitter):
    """For one accumulator: sends shard 0 a partial result, or the items when nothing may be combined."""

    def __init__(self, folder: Folder, *, combining: bool) -> None:
        self.folder = folder
        self.combining = combining
        self.items: list[Any] = []
        self.empty = True
        self.acc: Any = None

    def add(self, chunk: list[Any]) -> None:
        """Fold a chunk, or keep it."""
        if self.combining:
            self.acc = self.folder.fold(self.folder.create() if self.empty else self.acc, chunk)
            self.empty = False
        else:
            self.items += chunk
            self.size = len(self.items)

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """What was added since the last flush."""
        if self.combining and not self.empty:
            yield 0, encode(([WHOLE], [self.acc], False))
        elif self.items:
            yield 0, encode(([WHOLE], [self.items], False))
        self.items, self.acc, self.empty, self.size = [], None, True, 0


class FoldKernel(KeyedKernel):
    """Emits ``(key, result)`` for each key at the end, or one result when there is no key."""

    kind = "aggregate"

    def __init__(self, name: str, key_fn: Callable[[Any], Any] | None, operation: AggregateOperation) -> None:
        super().__init__(name)
        self.key_fn = key_fn
        self.folder = Folder(name, operation)
        self.combining = operation.combine is not None
        self.single = self.always = key_fn is None

    def splitter(self, shards: int) -> Splitter:
        """A splitter that reduces as far as the operation allows."""
        if self.key_fn is None:
            return WholeSplitter(self.folder, combining=self.combining)
        keys = Keys(self.kind, self.name, self.key_fn, shards)
        if not self.combining:
            return GroupSplitter(keys)
        if self.folder.operation.accumulate_keys is not None:
            return KeysSplitter(keys, self.folder)
        if self.folder.operation.accumulate_all is not None:
            return BulkSplitter(keys, self.folder)
        return PartialSplitter(keys, self.folder)

    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """Fold a payload into the state."""
        keys, values, odd = decode(payload)
        keys = self.last = restored(keys, odd)
        combine = self.folder.operation.combine
        if combine is not None:
            try:
                for key, acc in zip(keys, values, strict=True):
                    state[key] = combine(state[key], acc) if key in state else acc
            except FAILURES as error:
                raise stage_error("aggregate", self.name, "combining partial results", error) from error
        else:
            fold, create = self.folder.fold, self.folder.create
            for key, items in zip(keys, values, strict=True):
                state[key] = fold(state[key] if key in state else create(), items)
        return iter(())

    def on_end(self, state: State) -> Iterator[list[Any]]:
        """Emit the results and drop their accumulators."""
        finish, pop = self.folder.finish, state.pop
        if self.single:
            yield [finish(pop(WHOLE) if state else self.folder.create())]
            return
        plain = self.folder.operation.finish is None
        keys = list(state)
        for start in range(0, len(keys), CHUNK_ITEMS):
            part = keys[start : start + CHUNK_ITEMS]
            yield [(key, pop(key)) for key in part] if plain else [(key, finish(pop(key))) for key in part]
