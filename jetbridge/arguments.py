"""What the fluent methods are given: checking it, and naming it in messages."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any

from jetbridge import aggregations
from jetbridge.aggregations import AggregateOperation, folding
from jetbridge.checks import described, flag, function
from jetbridge.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["described", "flag", "function", "operation_of"]


def operation_of(
    operator: str,
    accumulator: Callable[[Any, Any], Any] | AggregateOperation,
    initial: Any,
    combiner: Callable[[Any, Any], Any] | None,
    finisher: Callable[[Any], Any] | None,
) -> AggregateOperation:
    """The operation that the arguments of ``aggregate``, or of an operator like it, mean.

    Raises:
        PipelineError: When they mean none.
    """
    if isinstance(accumulator, AggregateOperation):
        if initial is not None or combiner is not None or finisher is not None:
            raise PipelineError(
                f"{operator}(operation) takes no initial, combiner or finisher: the operation has its own"
            )
        return accumulator
    if isinstance(accumulator, FunctionType) and getattr(aggregations, accumulator.__name__, None) is accumulator:
        raise PipelineError(
            f"{operator} was given the function {accumulator.__name__}, which makes an operation: "
            f"call it first: aggregations.{accumulator.__name__}(...)"
        )
    function(operator, "accumulator", accumulator, "accumulated, item")
    if combiner is not None:
        function(operator, "combiner", combiner, "accumulated, accumulated")
    if finisher is not None:
        function(operator, "finisher", finisher, "accumulated")
    return folding(accumulator, initial, combiner, finisher)
