"""Aggregate operations: how many items become one result.

An operation is a few plain functions. Those of this module have a combiner, so
that partial results are made beside the source, on every core, before items
are sent to their key's shard.

Example:
    >>> operation = averaging(lambda flight: flight["delay"])
    >>> total = operation.create()
    >>> for delay in (10, 20):
    ...     total = operation.accumulate(total, {"delay": delay})
    >>> operation.finish(total)
    15.0
"""

from __future__ import annotations

import copy
import math
import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from jetbridge.errors import PipelineError

Value = Callable[[Any], Any]


@dataclass(frozen=True)
class AggregateOperation:
    """How items are folded into an accumulator, and an accumulator into a result.

    The meaning of each function is that of Jet's AggregateOperation1, except
    that functions return the new accumulator instead of changing it in place
    (they may do both).

    Attributes:
        create: Makes an empty accumulator.
        accumulate: ``(accumulator, item) -> accumulator``.
        combine: ``(accumulator, accumulator) -> accumulator``, or None when
            partial results cannot be combined: then the items of one key are
            folded one after the other, in source order.
        finish: ``(accumulator) -> result``; None leaves it as it is.
        accumulate_all: ``(accumulator, items) -> accumulator``, an optional
            quicker way for many items at once.
        accumulate_keys: ``(accumulators, keys, items) -> accumulators``, an
            optional quicker way for a dict of accumulators and as many keys as
            items. Every NaN may get an entry of its own: they are combined later.
    """

    create: Callable[[], Any]
    accumulate: Callable[[Any, Any], Any]
    combine: Callable[[Any, Any], Any] | None = None
    finish: Callable[[Any], Any] | None = None
    accumulate_all: Callable[[Any, Sequence[Any]], Any] | None = None
    accumulate_keys: Callable[[dict[Any, Any], Sequence[Any], Sequence[Any]], dict[Any, Any]] | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not callable(value) and not (value is None and field.name not in ("create", "accumulate")):
                raise PipelineError(
                    f"an aggregate operation's {field.name} must be a function; got {value!r} ({type(value).__name__})"
                )

    @property
    def functions(self) -> dict[str, Any]:
        """The functions that are given, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}


class Initial:
    """Makes a fresh copy of an initial value for each key.

    Example:
        >>> make = Initial([])
        >>> make() is make()
        False
    """

    def __init__(self, value: Any) -> None:
        self.value = value
        immutable = (int, float, str, bytes, bool, complex, type(None))
        self.shared = isinstance(value, immutable) or (
            isinstance(value, tuple) and all(isinstance(part, immutable) for part in value)
        )
        self.empty = type(value) if type(value) in (list, dict, set) and not value else None

    def __call__(self) -> Any:
        """A copy of the value, or the value itself when nobody can change it."""
        if self.shared:
            return self.value
        return copy.deepcopy(self.value) if self.empty is None else self.empty()


def folding(
    accumulator: Callable[[Any, Any], Any],
    initial: Any = None,
    combiner: Callable[[Any, Any], Any] | None = None,
    finisher: Callable[[Any], Any] | None = None,
) -> AggregateOperation:
    """The operation that ``aggregate(accumulator=…, initial=…)`` means.

    Example:
        >>> longest = folding(lambda best, word: max(best, len(word)), initial=0, combiner=max)
        >>> longest.accumulate(longest.create(), "abc")
        3

    Args:
        accumulator: ``(accumulator, item) -> accumulator``.
        initial: The accumulator of no items; copied for each key.
        combiner: ``(accumulator, accumulator) -> accumulator``; ``initial``
            must be neutral for it.
        finisher: ``(accumulator) -> result``.

    Raises:
        PipelineError: When something is no function, or ``initial`` is not neutral.
    """
    operation = AggregateOperation(Initial(initial), accumulator, combiner, finisher)
    if combiner is not None:
        try:
            combined = combiner(copy.deepcopy(initial), copy.deepcopy(initial))
            neutral = _equal(combined, initial)
        except Exception as error:
            raise PipelineError(
                f"aggregate's combiner cannot combine initial {initial!r} with itself: "
                f"{type(error).__name__}: {error}; give an initial of the accumulator's type"
            ) from error
        if not neutral:
            raise PipelineError(
                "with a combiner, aggregate's initial must be neutral, because it starts every partial result: "
                f"combiner(initial, initial) must equal initial {initial!r}; got {combined!r}. "
                "Give a neutral initial and add the rest in finisher, or leave the combiner out"
            )
    return operation


def _equal(left: Any, right: Any) -> bool:
    try:
        return bool(left == right)
    except ValueError:  # arrays compare element by element, and have no truth
        return pickle.dumps(left) == pickle.dumps(right)


def counting() -> AggregateOperation:
    """The number of items.

    Example:
        >>> counting().accumulate_all(0, ["a", "b"])
        2
    """
    return AggregateOperation(
        create=int,
        accumulate=lambda count, _: count + 1,
        combine=lambda left, right: left + right,
        accumulate_all=lambda count, items: count + len(items),
        accumulate_keys=_count_keys,
    )


def _count_keys(counts: dict[Any, Any], keys: Sequence[Any], items: Sequence[Any]) -> dict[Any, Any]:
    counter = counts if isinstance(counts, Counter) else Counter(counts)
    counter.update(keys)
    return counter


def _add(total: tuple[Any, float], value: Any) -> tuple[Any, float]:
    """Add as Neumaier does: what a float sum loses is kept aside; ints are exact anyway."""
    old, lost = total
    new = old + value
    if type(new) is float:
        lost += (old - new) + value if abs(old) >= abs(value) else (value - new) + old
    return new, lost


def _add_all(total: tuple[Any, float], values: list[Any]) -> tuple[Any, float]:
    kinds = set(map(type, values))
    if kinds <= {int, bool}:
        return _add(total, sum(values))
    if kinds <= {int, bool, float}:
        try:
            return _add(total, math.fsum(values))
        except (OverflowError, ValueError):  # infinities of both signs, or an int beyond float's range
            pass
    for value in values:
        total = _add(total, value)
    return total


def _sum(total: tuple[Any, float]) -> Any:
    value, lost = total
    return value + lost if lost and math.isfinite(lost) else value


def summing(value: Value = lambda item: item) -> AggregateOperation:
    """The sum of a value of each item: exact for ints, compensated for floats; 0 without items.

    Example:
        >>> operation = summing()
        >>> total = operation.accumulate_all(operation.create(), [0.1] * 10)
        >>> operation.finish(total)
        1.0
    """
    return AggregateOperation(
        create=lambda: (0, 0.0),
        accumulate=lambda total, item: _add(total, value(item)),
        combine=lambda left, right: (_add(left, right[0])[0], _add(left, right[0])[1] + right[1]),
        finish=_sum,
        accumulate_all=lambda total, items: _add_all(total, [value(item) for item in items]),
    )


def averaging(value: Value = lambda item: item) -> AggregateOperation:
    """The mean of a value of each item; None without items.

    Example:
        >>> operation = averaging()
        >>> operation.finish(operation.accumulate_all(operation.create(), [1, 2, 3, 4]))
        2.5
    """
    sums = summing(value)
    assert sums.accumulate_all is not None
    assert sums.combine is not None
    add_all, combine = sums.accumulate_all, sums.combine
    return AggregateOperation(
        create=lambda: (0, (0, 0.0)),
        accumulate=lambda acc, item: (acc[0] + 1, sums.accumulate(acc[1], item)),
        combine=lambda left, right: (left[0] + right[0], combine(left[1], right[1])),
        finish=lambda acc: _sum(acc[1]) / acc[0] if acc[0] else None,
        accumulate_all=lambda acc, items: (acc[0] + len(items), add_all(acc[1], items)),
    )


def _extreme(value: Value, better: Callable[[Any, Any], bool]) -> AggregateOperation:
    def accumulate(best: Any, item: Any) -> Any:
        score = value(item)
        return (score, item) if best is None or better(score, best[0]) else best

    def combine(left: Any, right: Any) -> Any:
        if left is None or right is None:
            return left or right
        return right if better(right[0], left[0]) else left

    return AggregateOperation(
        create=lambda: None, accumulate=accumulate, combine=combine, finish=lambda best: best and best[1]
    )


def min_by(value: Value = lambda item: item) -> AggregateOperation:
    """The item whose value is least, the first one of several; None without items.

    Example:
        >>> operation = min_by(len)
        >>> operation.finish(operation.accumulate(operation.accumulate(None, "aa"), "b"))
        'b'
    """
    return _extreme(value, lambda new, old: bool(new < old))


def max_by(value: Value = lambda item: item) -> AggregateOperation:
    """The item whose value is greatest, the first one of several; None without items.

    Example:
        >>> operation = max_by(len)
        >>> operation.finish(operation.accumulate(operation.accumulate(None, "aa"), "b"))
        'aa'
    """
    return _extreme(value, lambda new, old: bool(new > old))


def _append(items: list[Any], item: Any) -> list[Any]:
    items.append(item)
    return items


def to_list() -> AggregateOperation:
    """All items in a list.

    Example:
        >>> to_list().accumulate_all([], [3, 1])
        [3, 1]
    """
    return AggregateOperation(
        create=list,
        accumulate=_append,
        combine=lambda left, right: left + right,
        accumulate_all=lambda items, more: [*items, *more],
    )
