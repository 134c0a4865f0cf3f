"""What an aggregate operation is: a few plain functions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from jetbridge.checks import described, function
from jetbridge.errors import PipelineError

Value = Callable[[Any], Any]


@dataclass(frozen=True)
class AggregateOperation:
    """How items are folded into an accumulator, and an accumulator into a result.

    The meaning of each function is that of Jet's AggregateOperation1, except
    that functions return the new accumulator instead of changing it in place
    (they may do both). Accumulators are stored as state, so they are made of
    values that can be.

    Example:
        >>> from jetbridge.aggregations import AggregateOperation
        >>> longest = AggregateOperation(create=str, accumulate=lambda best, word: max(best, word, key=len))
        >>> longest.result(longest.fold(longest.create(), ["tea", "saucer", "cup"]))
        'saucer'

    Attributes:
        create: Makes an empty accumulator, a fresh one each time.
        accumulate: ``(accumulator, item) -> accumulator``; may change the one that it is given.
        combine: ``(left, right) -> accumulator``, where ``left`` may be changed
            and ``right`` never is, now or by what is done with the result; or
            None when partial results cannot be combined: then the items of one
            key are folded one after the other, in source order.
        finish: ``(accumulator) -> result``; None leaves it as it is. The
            accumulator stays as it was, and goes on after its result was taken.
        deduct: ``(accumulator, other) -> accumulator``, the exact inverse of
            combine, whatever else was combined in between; None where there is none.
        accumulate_all: ``(accumulator, items) -> accumulator``, an optional
            quicker way for many items at once.
        accumulate_keys: ``(accumulators, keys, items) -> accumulators``, an
            optional quicker way for a dict of accumulators and as many keys as
            items. Every NaN may get an entry of its own: they are combined later.
        value: ``(item) -> value``, for an operation that looks at nothing else of an item.
        accumulate_values: ``(accumulator, values) -> accumulator``, given together with ``value``:
            an optional quicker way, as values are taken while the items are at hand.
        kind: ``() -> text``, what the accumulator is, where its type does not
            say it. A snapshot names it, and fits no stage with another one.
    """

    create: Callable[[], Any]
    accumulate: Callable[[Any, Any], Any]
    combine: Callable[[Any, Any], Any] | None = None
    finish: Callable[[Any], Any] | None = None
    deduct: Callable[[Any, Any], Any] | None = None
    accumulate_all: Callable[[Any, Sequence[Any]], Any] | None = None
    accumulate_keys: Callable[[dict[Any, Any], Sequence[Any], Sequence[Any]], dict[Any, Any]] | None = None
    value: Callable[[Any], Any] | None = None
    accumulate_values: Callable[[Any, list[Any]], Any] | None = None
    kind: Callable[[], str] | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not callable(value) and not (value is None and field.name not in ("create", "accumulate")):
                raise PipelineError(
                    f"an aggregate operation's {field.name} must be a function; got {value!r} ({type(value).__name__})"
                )
        if (self.value is None) != (self.accumulate_values is None):
            raise PipelineError("an aggregate operation's value and accumulate_values belong together: give both")
        if self.deduct is not None and self.combine is None:
            raise PipelineError("an aggregate operation's deduct undoes its combine, and it has no combine: give both")

    @property
    def functions(self) -> dict[str, Any]:
        """The functions that are given, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}

    def fold(self, accumulator: Any, items: Sequence[Any]) -> Any:
        """Accumulate many items, in the quickest way that there is.

        Args:
            accumulator: What ``create`` made, or what this returned before.
            items: The items, in their order.

        Returns:
            The accumulator, the same object or another one.
        """
        if self.accumulate_all is not None:
            return self.accumulate_all(accumulator, items)
        accumulate = self.accumulate
        for item in items:
            accumulator = accumulate(accumulator, item)
        return accumulator

    def result(self, accumulator: Any) -> Any:
        """The result of an accumulator, which does not change when the accumulator does.

        Without a `finish` that is so for numbers, texts and the like, and for lists, dicts and sets of them.

        Args:
            accumulator: The accumulator; it stays as it is.
        """
        if self.finish is not None:
            return self.finish(accumulator)
        return copy.copy(accumulator) if type(accumulator) in (list, dict, set) else accumulator

    def and_then(self, finish: Callable[[Any], Any]) -> AggregateOperation:
        """The same operation with its results changed, as Jet's ``andThen``.

        Example:
            >>> from jetbridge.aggregations import to_set
            >>> different = to_set().and_then(len)
            >>> different.result(different.fold(different.create(), "abba"))
            2

        Args:
            finish: ``(result) -> other result``.

        Raises:
            PipelineError: When it is no function.
        """
        function("and_then", "finish", finish)
        result = self.result
        return replace(self, finish=lambda accumulator: finish(result(accumulator)))

    def state(self) -> str:
        """What the accumulator is, as text.

        Example:
            >>> from jetbridge.aggregations import averaging
            >>> averaging().state()
            '(int, (int, float))'
        """
        return _shape(self.create()) if self.kind is None else self.kind()


def _shape(accumulator: Any) -> str:
    if type(accumulator) is tuple:
        return f"({', '.join(map(_shape, accumulator))})"
    return type(accumulator).__name__


def checked(operator: str, parameter: str, operation: Any) -> AggregateOperation:
    """What was given as an operation.

    Raises:
        PipelineError: When it is none, such as the function that makes one.
    """
    if not isinstance(operation, AggregateOperation):
        raise PipelineError(
            f"{operator} must be given an aggregate operation as {parameter}, such as counting(); "
            f"got {described(operation)}"
        )
    return operation


def identity(item: Any) -> Any:
    """The item itself."""
    return item


def over_values(
    value: Value, accumulate_values: Callable[[Any, Any], Any], **functions: Callable[..., Any]
) -> AggregateOperation:
    """An operation that looks at one value of each item.

    Args:
        value: ``(item) -> value``.
        accumulate_values: ``(accumulator, values) -> accumulator``.
        functions: The functions of the operation that are not made of these two.
    """
    if value is identity:
        return AggregateOperation(accumulate_all=accumulate_values, **functions)
    return AggregateOperation(
        accumulate_all=lambda acc, items: accumulate_values(acc, [value(item) for item in items]),
        value=value,
        accumulate_values=accumulate_values,
        **functions,
    )
