"""The methods that aggregate, which whole stages and grouped stages share."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from jetbridge.arguments import operation_of
from jetbridge.plan.keyed import AggregateNode, RollingNode

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetbridge.aggregations import AggregateOperation

ResultT = TypeVar("ResultT")


class Aggregating(abc.ABC, Generic[ResultT]):
    """What can be aggregated: all items of a stage or, after a ``group_by``, those of each key."""

    def aggregate(
        self,
        accumulator: Callable[[Any, Any], Any] | AggregateOperation,
        initial: Any = None,
        combiner: Callable[[Any, Any], Any] | None = None,
        finisher: Callable[[Any], Any] | None = None,
    ) -> ResultT:
        """Fold items into one result, which is emitted at the end of the input.

        As Jet's ``aggregate``.

        All items of a stage give one result, also when there are none. After a
        ``group_by``, those of each key give one, ``(key, result)``.

        Example:
            >>> from jetbridge import Pipeline, aggregations, testing
            >>> words = Pipeline.create().read_from(testing.items("tea", "cup", "teas"))
            >>> testing.run_kernels(words.aggregate(accumulator=lambda total, word: total + len(word), initial=0))
            [10]
            >>> sorted(testing.run_kernels(words.group_by(len).aggregate(aggregations.counting())))
            [(3, 2), (4, 1)]

        Args:
            accumulator: ``(accumulated, item) -> accumulated``, or an operation
                of `jetbridge.aggregations`.
            initial: The accumulated value of no items; copied.
            combiner: ``(accumulated, accumulated) -> accumulated``. With it,
                partial results are made on every core; ``initial`` must be
                neutral for it. Without it items are folded one after the
                other, in source order where the source is one partition.
            finisher: ``(accumulated) -> result``.

        Raises:
            PipelineError: When something is no function, or ``initial`` is not
                neutral; on a stream, which has no end.
        """
        self._check_that_it_ends("aggregate")
        operation = operation_of("aggregate", accumulator, initial, combiner, finisher)
        return self._aggregated(AggregateNode, "aggregate", operation)

    def rolling_aggregate(
        self,
        accumulator: Callable[[Any, Any], Any] | AggregateOperation,
        initial: Any = None,
        combiner: Callable[[Any, Any], Any] | None = None,
        finisher: Callable[[Any], Any] | None = None,
    ) -> ResultT:
        """Emit, for each item, the result of the items up to it: of all, or ``(key, result)`` of those of its key.

        As Jet's ``rollingAggregate``.

        Example:
            >>> from jetbridge import Pipeline, aggregations, testing
            >>> numbers = Pipeline.create().read_from(testing.items(1, 2, 3))
            >>> testing.run_kernels(numbers.rolling_aggregate(aggregations.summing()))
            [1, 3, 6]

        Args:
            accumulator: As for `aggregate`.
            initial: Likewise.
            combiner: Likewise.
            finisher: Likewise.

        Raises:
            PipelineError: When something is no function, or ``initial`` is not neutral.
        """
        operation = operation_of("rolling_aggregate", accumulator, initial, combiner, finisher)
        return self._aggregated(RollingNode, "rolling_aggregate", operation)

    @abc.abstractmethod
    def _check_that_it_ends(self, operator: str) -> None:
        """Refuse an operator that emits at the end of the input, where there is none."""

    @abc.abstractmethod
    def _aggregated(self, kind: Any, name: str, operation: AggregateOperation) -> ResultT:
        """Add the stage."""
