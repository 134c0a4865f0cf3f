"""Folding: one accumulator for each key, or one for the whole stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetbridge.aggregations import Initial
from jetbridge.errors import ItemError
from jetbridge.kernels.failure import FAILURES, at_hand, item_error, stage_error
from jetbridge.kernels.group import Gathered, GroupSplitter, append_to
from jetbridge.kernels.keyed import KeyedKernel, Keys, Splitter, State, decode, encode, restored
from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.times import TimedItems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jetbridge.aggregations import AggregateOperation

_FEW = 4
"""How often a key comes in a chunk, at the least and on average, for the items of each to be gathered first."""
_LOOK_AGAIN = 32
"""After how many chunks that is found out anew."""
RETURNED_NONE = "the accumulator returned None: it must return what is accumulated, also when it changes it in place"
WHOLE = None
"""The key of the only accumulator of a whole-stage aggregate."""


class Folder:
    """Applies an operation's functions, and says which stage and item failed."""

    def __init__(self, name: str, operation: AggregateOperation) -> None:
        self.name = name
        self.operation = operation
        self.create = create = operation.create
        # An initial list that becomes None was changed by a function that forgot to return it; a number may become one.
        self.returns = isinstance(create, Initial) and not create.shared
        self.failed: list[tuple[Any, ItemError]] | None = None  # where items go that are to be left out

    def fold(self, acc: Any, items: list[Any]) -> Any:
        """Fold items into an accumulator, in order."""
        if self.failed is not None:
            return self._fold_carefully(acc, items, self.failed)
        fold_all = self.operation.accumulate_all
        if fold_all is not None:
            return self._at_once(fold_all, acc, items)
        accumulate, rest = self.operation.accumulate, iter(items)
        try:
            for item in rest:
                acc = accumulate(acc, item)
            if acc is None and self.returns:
                raise TypeError(RETURNED_NONE)
        except FAILURES as error:
            raise self.failure(at_hand(items, rest), error) from error
        return acc

    def failure(self, item: Any, error: BaseException, kind: str = "aggregate") -> ItemError:
        """The error for an accumulator that raised on an item."""
        return item_error(kind, self.name, item, hinted(error, self.create))

    def _fold_carefully(self, acc: Any, items: list[Any], failed: list[tuple[Any, ItemError]]) -> Any:
        accumulate = self.operation.accumulate
        for item in items:
            try:
                acc = accumulate(acc, item)
            except FAILURES as error:
                failure = self.failure(item, error)
                failure.__cause__ = error
                failed.append((item, failure))
        return acc

    def take_in(self, state: State, keys: list[Any], values: list[Any]) -> None:
        """Fold what a splitter sent into the accumulators of keys: partial results, or items if nothing is combined."""
        combine = self.operation.combine
        if combine is not None:
            if state.keys().isdisjoint(keys):
                state.update(zip(keys, values, strict=True))
                return
            try:
                for key, acc in zip(keys, values, strict=True):
                    state[key] = combine(state[key], acc) if key in state else acc
            except FAILURES as error:
                raise stage_error("aggregate", self.name, "combining partial results", error) from error
        else:
            fold, create = self.fold, self.create
            failed = self.failed
            for key, items in zip(keys, values, strict=True):
                if key in state:
                    state[key] = fold(state[key], items)
                    continue
                before = 0 if failed is None else len(failed)
                acc = fold(create(), items)
                if failed is None or len(failed) - before < len(items):  # a key whose items all failed has no result
                    state[key] = acc

    def values(self, items: list[Any]) -> list[Any]:
        """What the operation looks at of each item, where it says so; else the items."""
        value = self.operation.value
        if value is None:
            return items
        rest = iter(items)
        try:
            return [value(item) for item in rest]
        except FAILURES as error:
            raise item_error("aggregate", self.name, at_hand(items, rest), error) from error

    def fold_values(self, acc: Any, values: list[Any]) -> Any:
        """Fold what `values` gave into an accumulator, in order."""
        fold_all = self.operation.accumulate_values
        return self.fold(acc, values) if fold_all is None else self._at_once(fold_all, acc, values)

    def _at_once(self, fold_all: Callable[[Any, list[Any]], Any], acc: Any, items: list[Any]) -> Any:
        try:
            return fold_all(acc, items)
        except FAILURES as error:
            raise stage_error("aggregate", self.name, f"folding {len(items)} items", error) from error

    def finish(self, acc: Any) -> Any:
        """The result of an accumulator."""
        if self.operation.finish is None:
            return acc
        try:
            return self.operation.finish(acc)
        except ItemError:
            raise
        except FAILURES as error:
            raise stage_error("aggregate", self.name, "finishing a result", error) from error


def hinted(error: BaseException, create: Callable[[], Any]) -> BaseException:
    """An error; one that comes of an unfit initial value, or of a result that was not returned, says so."""
    text = str(error)
    if type(error) not in (TypeError, AttributeError) or not isinstance(create, Initial) or text == RETURNED_NONE:
        return error
    initial, none = create.value, "NoneType" in text
    if initial is None and none:
        hint = "initial is None: give the accumulated value of no items, such as initial=0"
    elif callable(initial) and type(initial).__name__ in text:
        hint = f"initial is a {type(initial).__name__}: give the value itself, which is copied for each key"
    elif none:
        hint = f"where no item is None, {RETURNED_NONE}"
    else:
        return error
    return TypeError(f"{text} ({hint})").with_traceback(error.__traceback__)


class PartialSplitter(Splitter):
    """Folds items at once and sends each shard ``(keys, accumulators, odd)``."""

    def __init__(self, keys: Keys, folder: Folder) -> None:
        self.keys = keys
        self.folder = folder
        self.partials: dict[Any, Any] = {}
        self._chunks = 0
        self._gathering = True

    def add(self, chunk: list[Any]) -> None:
        """Fold a chunk's items into their keys' partial results."""
        keys = self.keys.of(chunk)
        self._chunks += 1
        if self._gathering or not self._chunks % _LOOK_AGAIN:
            self._gather(keys, chunk)
        else:
            self._fold_each(keys, chunk)
        self.size = len(self.partials)

    def _gather(self, keys: list[Any], chunk: list[Any]) -> None:
        """Bring the items of each key together first: where keys come again soon that is quicker."""
        groups = Gathered()
        append_to(groups, keys, chunk, self.keys)
        self._take(groups, self.folder.fold)
        self._gathering = len(groups) * _FEW <= len(chunk)

    def _take(self, groups: dict[Any, list[Any]], fold: Callable[[Any, list[Any]], Any]) -> None:
        partials, create = self.partials, self.folder.create
        for key, group in groups.items():
            partials[key] = fold(partials[key] if key in partials else create(), group)

    def _fold_each(self, keys: list[Any], chunk: list[Any]) -> None:
        create, accumulate = self.folder.create, self.folder.operation.accumulate
        partials, items, one = self.partials, iter(chunk), self.keys.one
        key: Any = None
        try:
            for key, item in zip(keys, items, strict=True):
                if key in partials:
                    partials[key] = accumulate(partials[key], item)
                else:
                    name = one(key)  # a NaN is never found: its representative may be there
                    partials[name] = accumulate(partials[name] if name in partials else create(), item)
        except FAILURES as error:
            item = at_hand(chunk, items)
            if isinstance(error, TypeError):
                raise self.keys.unhashable(item, key, error) from error
            raise self.folder.failure(item, error) from error

    def check(self, chunk: list[Any]) -> None:
        """Whether the keys of a chunk can be keys."""
        self.keys.check(chunk)

    def take(self) -> tuple[list[Any], list[Any]]:
        """The keys and their partial results; nothing is held afterwards."""
        partials, self.partials, self.size = self.partials, {}, 0
        return list(partials), list(partials.values())

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """The partial results of each shard."""
        yield from self.keys.parted(*self.take())


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

    def take(self) -> tuple[list[Any], list[Any]]:
        """The keys and their partial results; those of every NaN become one."""
        combine = self.folder.operation.combine
        assert combine is not None
        for key in filter(self.keys.odd, list(self.partials)):
            one = self.keys.one(key)
            if one is not key:
                acc = self.partials.pop(key)
                self.partials[one] = combine(self.partials[one], acc) if one in self.partials else acc
        return super().take()


class BulkSplitter(PartialSplitter):
    """Gathers the items of many chunks before it folds them, for operations that have a quick way for many."""

    def __init__(self, keys: Keys, folder: Folder) -> None:
        super().__init__(keys, folder)
        self.groups = Gathered()
        self.held = 0

    def add(self, chunk: list[Any]) -> None:
        """Keep what counts of a chunk's items, or fold them."""
        super().add(chunk)
        self.size += self.held

    def _gather(self, keys: list[Any], chunk: list[Any]) -> None:
        # Values are taken now, while the items are at hand; when they are folded they no longer are.
        append_to(self.groups, keys, chunk, self.keys, self.folder.values(chunk))
        self.held += len(chunk)
        self._gathering = len(self.groups) * _FEW <= self.held
        if not self._gathering:
            self._settle()

    def _settle(self) -> None:
        groups, self.groups, self.held = self.groups, Gathered(), 0
        self._take(groups, self.folder.fold_values)

    def take(self) -> tuple[list[Any], list[Any]]:
        """The keys and their partial results; nothing is held afterwards."""
        self._settle()
        return super().take()


class WholeSplitter(Splitter):
    """For one accumulator: sends shard 0 a partial result, or the items when nothing may be combined."""

    def __init__(self, folder: Folder, *, combining: bool) -> None:
        self.folder = folder
        self.combining = combining
        self.items: list[Any] = []
        self.times: list[int] | None = []
        self.empty = True
        self.acc: Any = None

    def add(self, chunk: list[Any]) -> None:
        """Fold a chunk, or keep it."""
        if self.combining:
            acc = self.folder.create() if self.empty else self.acc
            self.acc = self.folder.fold_values(acc, self.folder.values(chunk))
            self.empty = False
        else:
            self.items += chunk
            timed = isinstance(chunk, TimedItems) and self.times is not None
            self.times = [*self.times, *chunk.times] if timed else None  # type: ignore[misc, attr-defined]
            self.size = len(self.items)

    def take(self) -> tuple[list[Any], list[Any]]:
        """The key and its partial result, or its items; no key when nothing was added."""
        value = self.acc if self.combining and not self.empty else self.items or None
        nothing = value is None and self.empty
        self.items, self.times, self.acc, self.empty, self.size = [], [], None, True, 0
        return ([], []) if nothing else ([WHOLE], [value])

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """What was added since the last flush; items with their times if all have them."""
        times = self.times
        keys, values = self.take()
        if keys:
            yield 0, encode((keys, values, False, [times] if times else None))


def reducing(keys: Keys, folder: Folder, *, careful: bool = False) -> PartialSplitter | GroupSplitter | WholeSplitter:
    """The splitter that reduces items as far as the operation allows: by key, or all of them without a key function.

    Args:
        keys: The keys.
        folder: Applies the operation.
        careful: Whether items must be folded as they are added, so that one that fails is known then.
    """
    combining = folder.operation.combine is not None
    if keys.key_fn is None:
        return WholeSplitter(folder, combining=combining)
    if not combining:
        return GroupSplitter(keys)
    if careful:
        return PartialSplitter(keys, folder)
    if folder.operation.accumulate_keys is not None:
        return KeysSplitter(keys, folder)
    if folder.operation.accumulate_all is not None:
        return BulkSplitter(keys, folder)
    return PartialSplitter(keys, folder)


class FoldKernel(KeyedKernel):
    """Emits ``(key, result)`` for each key at the end, or one result when there is no key."""

    kind = "aggregate"

    def __init__(self, name: str, key_fn: Callable[[Any], Any] | None, operation: AggregateOperation) -> None:
        super().__init__(name)
        self.key_fn = key_fn
        self.folder = Folder(name, operation)
        self.single = self.always = key_fn is None

    def be_careful(self) -> None:
        """Leave out the items that cannot be folded."""
        self.folder.failed = self.failed

    def splitter(self, shards: int, port: int = 0) -> Splitter:
        """A splitter that reduces as far as the operation allows."""
        keys, folder = Keys(self.kind, self.name, self.key_fn, shards), Folder(self.name, self.folder.operation)
        return reducing(keys, folder, careful=self.folder.failed is not None)

    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """Fold a payload into the state."""
        keys, values, odd, *_ = decode(payload)
        keys = self.last = restored(keys, odd)
        self.folder.take_in(state, keys, values)
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
