"""Operations that are made of the user's own functions."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

from jetbridge.aggregations.operation import AggregateOperation
from jetbridge.checks import function
from jetbridge.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Callable


def aggregate_operation(
    create: Callable[[], Any],
    accumulate: Callable[[Any, Any], Any],
    combine: Callable[[Any, Any], Any] | None = None,
    deduct: Callable[[Any, Any], Any] | None = None,
    finish: Callable[[Any], Any] | None = None,
) -> AggregateOperation:
    """An operation of one's own, from the functions of Jet's builder, in its order.

    Example:
        >>> product = aggregate_operation(lambda: 1, lambda total, n: total * n, lambda left, right: left * right)
        >>> product.fold(product.create(), [2, 3, 7])
        42

    Args:
        create: Makes an empty accumulator.
        accumulate: ``(accumulator, item) -> accumulator``.
        combine: ``(left, right) -> accumulator``; may change ``left``, never ``right``.
        deduct: ``(accumulator, other) -> accumulator``, the exact inverse of ``combine``.
        finish: ``(accumulator) -> result``; leaves the accumulator as it was.

    Raises:
        PipelineError: When something is no function, or ``deduct`` comes without ``combine``.
    """
    return AggregateOperation(create, accumulate, combine, finish, deduct)


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
        _check_neutral("aggregate", "combiner", combiner, "initial", initial)
    return operation


def reducing(
    empty: Any,
    to_accumulator: Callable[[Any], Any],
    combine: Callable[[Any, Any], Any],
    deduct: Callable[[Any, Any], Any] | None = None,
) -> AggregateOperation:
    """Combine what each item is turned into, as Jet's ``reducing``.

    Example:
        >>> longest = reducing(0, len, max)
        >>> longest.result(longest.fold(longest.create(), ["a", "ccc", "bb"]))
        3

    Args:
        empty: The accumulator of no items, neutral for ``combine``; copied.
        to_accumulator: ``(item) -> accumulator``.
        combine: ``(left, right) -> accumulator``, associative; may change
            ``left``, never ``right``.
        deduct: ``(accumulator, other) -> accumulator``, the exact inverse of ``combine``.

    Raises:
        PipelineError: When something is no function, or ``empty`` is not neutral.
    """
    function("reducing", "to_accumulator", to_accumulator, "item")
    function("reducing", "combine", combine)
    if deduct is not None:
        function("reducing", "deduct", deduct)
    _check_neutral("reducing", "combine", combine, "empty", empty)
    return AggregateOperation(
        create=Initial(empty),
        accumulate=lambda acc, item: combine(acc, to_accumulator(item)),
        combine=combine,
        deduct=deduct,
    )


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


def _check_neutral(operator: str, parameter: str, combine: Callable[[Any, Any], Any], name: str, value: Any) -> None:
    """Check that a value may start every partial result, as it must where those are combined."""
    try:
        combined = combine(copy.deepcopy(value), copy.deepcopy(value))
        neutral = _equal(combined, value)
    except Exception as error:
        raise PipelineError(
            f"{operator}'s {parameter} cannot combine {name} {value!r} with itself: "
            f"{type(error).__name__}: {error}; give an {name} of the accumulator's type"
        ) from error
    if not neutral:
        way_out = "Give a neutral initial and add the rest in finisher, or leave the combiner out"
        raise PipelineError(
            f"with a {parameter}, {operator}'s {name} must be neutral, because it starts every partial result: "
            f"{parameter}({name}, {name}) must equal {name} {value!r}; got {combined!r}. "
            + (way_out if name == "initial" else f"Give a neutral {name}")
        )


def _equal(left: Any, right: Any) -> bool:
    try:
        return bool(left == right)
    except ValueError:  # arrays compare element by element, and have no truth
        return pickle.dumps(left) == pickle.dumps(right)
