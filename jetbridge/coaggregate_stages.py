"""The methods that aggregate several stages at once: ``aggregate2``, ``aggregate3`` and a builder for any number."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from jetbridge.aggregations import AggregateOperation
from jetbridge.arguments import described
from jetbridge.errors import PipelineError
from jetbridge.plan.coaggregate import CoAggregateNode, CoWindowNode, together
from jetbridge.sides import Side, check_times, joined, other_side
from jetbridge.times import duration

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

ResultT = TypeVar("ResultT")
_WINDOW = "call window(...) on the first side, after with_timestamps(...) on every one"


class Tag(int):
    """Stands for one input of a builder: an index into the tuple of results.

    Example:
        >>> results = ("views", "buys")
        >>> results[Tag(1)]
        'buys'
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Tag({int(self)})"


class AggregateBuilder(Generic[ResultT]):
    """Gathers the inputs of a co-aggregation: see `CoAggregating.aggregate_builder`.

    Attributes:
        tag0: The tag of the stage that the builder was made from.
    """

    def __init__(self, first: CoAggregating[ResultT], operation: AggregateOperation, **fields: Any) -> None:
        self._first = first
        self._inputs: list[tuple[Any, AggregateOperation]] = []
        self._operation = checked("aggregate_builder", "operation", operation)
        self._fields = fields
        self.tag0 = Tag(0)

    def add(self, stage: Any, operation: AggregateOperation) -> Tag:
        """Add an input.

        Example:
            >>> from jetbridge import Pipeline, aggregations, testing
            >>> pipeline = Pipeline.create()
            >>> builder = pipeline.read_from(testing.items(1, 2)).aggregate_builder(aggregations.summing())
            >>> words = builder.add(pipeline.read_from(testing.items("to", "be")), aggregations.to_list())
            >>> testing.run_kernels(builder.build().map(lambda results: results[words]))
            [['to', 'be']]

        Args:
            stage: As the ``other`` of ``aggregate2``.
            operation: What becomes of its items.

        Returns:
            The place of its result in the tuple of results.

        Raises:
            PipelineError: When the stage does not fit the others, or ``operation`` is none.
        """
        other_side("aggregate_builder", self._first._side(), stage)
        self._inputs.append((stage, checked("add", "operation", operation)))
        return Tag(len(self._inputs))

    def build(self) -> ResultT:
        """The stage with the results, each a tuple.

        Example:
            >>> from jetbridge import Pipeline, aggregations, testing
            >>> pipeline = Pipeline.create()
            >>> builder = pipeline.read_from(testing.items(1, 2)).aggregate_builder(aggregations.summing())
            >>> _ = builder.add(pipeline.read_from(testing.items("to", "be")), aggregations.counting())
            >>> testing.run_kernels(builder.build())
            [(3, 2)]

        Raises:
            PipelineError: On streams without a window, which have no end.
        """
        stages = [stage for stage, _ in self._inputs]
        operations = [self._operation, *(operation for _, operation in self._inputs)]
        return self._first._together("aggregate_builder", stages, operations, **self._fields)


class CoAggregating(abc.ABC, Generic[ResultT]):
    """What can be aggregated together with other stages."""

    def aggregate2(self, operation1: AggregateOperation, other: Any, operation2: AggregateOperation) -> ResultT:
        """Aggregate this stage and another one at once: a pair of results, at the end of the input.

        As Jet's ``aggregate2``.

        Whole stages give one pair. After a ``group_by`` on both sides each key
        gives ``(key, (result1, result2))``; a key that is on one side only has
        the result of no items for the other.

        Example:
            >>> from jetbridge import Pipeline, aggregations, testing
            >>> pipeline = Pipeline.create()
            >>> views = pipeline.read_from(testing.items(("ann", "/a"), ("bob", "/b"))).group_by(lambda view: view[0])
            >>> buys = pipeline.read_from(testing.items(("ann", 20))).group_by(lambda buy: buy[0])
            >>> both = views.aggregate2(aggregations.counting(), buys, aggregations.summing(lambda buy: buy[1]))
            >>> sorted(testing.run_kernels(both))
            [('ann', (1, 20)), ('bob', (1, 0))]

        Args:
            operation1: What becomes of the items of this stage: one of `jetbridge.aggregations`.
            other: A stage, or a grouped stage if this one is grouped, of the same pipeline.
            operation2: What becomes of its items.

        Raises:
            PipelineError: When ``other`` is not such a stage, or an operation is none; on a stream, which has no end.
        """
        operations = [checked("aggregate2", "operation1", operation1), checked("aggregate2", "operation2", operation2)]
        return self._together("aggregate2", [other], operations)

    def aggregate3(
        self,
        operation1: AggregateOperation,
        other2: Any,
        operation2: AggregateOperation,
        other3: Any,
        operation3: AggregateOperation,
    ) -> ResultT:
        """Aggregate this stage and two others at once, into three results: see `aggregate2`.

        Example:
            >>> from jetbridge import Pipeline, aggregations, testing
            >>> pipeline = Pipeline.create()
            >>> views, clicks, buys = (pipeline.read_from(testing.items(*range(count))) for count in (4, 2, 1))
            >>> count = aggregations.counting()
            >>> testing.run_kernels(views.aggregate3(count, clicks, count, buys, count))
            [(4, 2, 1)]

        Args:
            operation1: As for `aggregate2`.
            other2: As the ``other`` of `aggregate2`.
            operation2: What becomes of its items.
            other3: Likewise.
            operation3: Likewise.

        Raises:
            PipelineError: As for `aggregate2`.
        """
        operations = [operation1, operation2, operation3]
        for number, operation in enumerate(operations, 1):
            checked("aggregate3", f"operation{number}", operation)
        return self._together("aggregate3", [other2, other3], operations)

    def aggregate_builder(self, operation: AggregateOperation) -> AggregateBuilder[ResultT]:
        """Aggregate any number of stages at once.

        Example:
            >>> from jetbridge import Pipeline, aggregations, testing
            >>> pipeline = Pipeline.create()
            >>> views, buys = pipeline.read_from(testing.items("/a", "/b")), pipeline.read_from(testing.items(20, 5))
            >>> builder = views.aggregate_builder(aggregations.counting())
            >>> bought, viewed = builder.add(buys, aggregations.summing()), builder.tag0
            >>> testing.run_kernels(builder.build().map(lambda results: results[bought] / results[viewed]))
            [12.5]

        Args:
            operation: What becomes of the items of this stage.

        Returns:
            A builder, with ``add`` and ``build``; its ``add`` gives the place of an input's result.

        Raises:
            PipelineError: When ``operation`` is none.
        """
        return AggregateBuilder(self, operation)

    @abc.abstractmethod
    def _side(self) -> Side:
        """This stage as an input."""

    @abc.abstractmethod
    def _check_that_it_ends(self, operator: str, way_out: str = ...) -> None:
        """Refuse an operator that emits at the end of the input, where there is none."""

    def _together(
        self, operator: str, others: Sequence[Any], operations: Sequence[AggregateOperation], **fields: Any
    ) -> ResultT:
        mine = self._side()
        sides = [mine, *(other_side(operator, mine, other) for other in others)]
        fields |= {
            "key_fn": mine.key_fn,
            "operation": together(operations),
            "key_fns": tuple(side.key_fn for side in sides),
            "operations": tuple(operations),
        }
        if mine.window is not None:
            check_times(operator, sides)
            result: ResultT = joined(CoWindowNode, operator, sides, window=mine.window, **fields)
            return result
        for side in sides:
            if isinstance(side.stage, CoAggregating):
                side.stage._check_that_it_ends(operator, _WINDOW)
        result = joined(CoAggregateNode, operator, sides, **fields)
        return result


class CoWindowing(CoAggregating[ResultT]):
    """The same for windows: each gives a tuple of results."""

    def aggregate2(
        self,
        operation1: AggregateOperation,
        other: Any,
        operation2: AggregateOperation,
        *,
        early_results_period: int | dt.timedelta = 0,
    ) -> ResultT:
        """Aggregate this stage and another one at once: a pair of results for each window, or each key and window.

        The value of the `WindowResult` or `KeyedWindowResult` is the pair; a
        window or key that is on one side only has the result of no items for
        the other. The windows are those of this stage, and end by the
        watermark of both. A session is one of both sides' items together.

        Example:
            >>> from jetbridge import Pipeline, aggregations, testing, windows
            >>> pipeline = Pipeline.create()
            >>> views, buys = (pipeline.read_from(testing.items(*at)).with_timestamps(int) for at in ([1, 7, 12], [3]))
            >>> by_ten, count = views.window(windows.tumbling(10)), aggregations.counting()
            >>> both = by_ten.aggregate2(count, buys, count)
            >>> testing.run_kernels(both.map(lambda window: (window.end, window.value)))
            [(10, (2, 1)), (20, (1, 0))]

        Args:
            operation1: What becomes of the items of this stage: one of `jetbridge.aggregations`.
            other: A stage, grouped if this one is grouped, of the same
                pipeline, whose items have times. A window of its own must equal this one's.
            operation2: What becomes of its items.
            early_results_period: As for `WindowedStage.aggregate`.

        Raises:
            PipelineError: When ``other`` is not such a stage, or an operation is none.
        """
        operations = [checked("aggregate2", "operation1", operation1), checked("aggregate2", "operation2", operation2)]
        return self._together("aggregate2", [other], operations, early=_early("aggregate2", early_results_period))

    def aggregate3(
        self,
        operation1: AggregateOperation,
        other2: Any,
        operation2: AggregateOperation,
        other3: Any,
        operation3: AggregateOperation,
        *,
        early_results_period: int | dt.timedelta = 0,
    ) -> ResultT:
        """Aggregate this stage and two others at once, into three results for each window: see `aggregate2`.

        Example:
            >>> from jetbridge import Pipeline, aggregations, testing, windows
            >>> pipeline = Pipeline.create()
            >>> views, clicks, buys = (pipeline.read_from(testing.items(at)).with_timestamps(int) for at in (1, 2, 3))
            >>> by_ten, count = views.window(windows.tumbling(10)), aggregations.counting()
            >>> all_three = by_ten.aggregate3(count, clicks, count, buys, count)
            >>> testing.run_kernels(all_three.map(lambda window: window.value))
            [(1, 1, 1)]

        Args:
            operation1: As for `aggregate2`.
            other2: As the ``other`` of `aggregate2`.
            operation2: What becomes of its items.
            other3: Likewise.
            operation3: Likewise.
            early_results_period: As for `WindowedStage.aggregate`.

        Raises:
            PipelineError: As for `aggregate2`.
        """
        operations = [operation1, operation2, operation3]
        for number, operation in enumerate(operations, 1):
            checked("aggregate3", f"operation{number}", operation)
        early = _early("aggregate3", early_results_period)
        return self._together("aggregate3", [other2, other3], operations, early=early)

    def aggregate_builder(
        self, operation: AggregateOperation, *, early_results_period: int | dt.timedelta = 0
    ) -> AggregateBuilder[ResultT]:
        """Aggregate any number of stages at once, for each window: see `CoAggregating.aggregate_builder`.

        Example:
            >>> from jetbridge import Pipeline, aggregations, testing, windows
            >>> pipeline = Pipeline.create()
            >>> views, buys = (pipeline.read_from(testing.items(at)).with_timestamps(int) for at in (1, 3))
            >>> builder = views.window(windows.tumbling(10)).aggregate_builder(aggregations.counting())
            >>> bought = builder.add(buys, aggregations.summing())
            >>> testing.run_kernels(builder.build().map(lambda window: window.value[bought]))
            [3]

        Args:
            operation: What becomes of the items of this stage.
            early_results_period: As for `WindowedStage.aggregate`.

        Returns:
            A builder, with ``add`` and ``build``.

        Raises:
            PipelineError: When ``operation`` is none.
        """
        return AggregateBuilder(self, operation, early=_early("aggregate_builder", early_results_period))


def checked(operator: str, parameter: str, operation: Any) -> AggregateOperation:
    """An operation.

    Raises:
        PipelineError: When it is none.
    """
    if not isinstance(operation, AggregateOperation):
        hint = ": aggregations.folding(fn, initial) makes one of a function" if callable(operation) else ""
        raise PipelineError(
            f"{operator} must be given an operation of jetbridge.aggregations as {parameter}; "
            f"got {described(operation)}{hint}"
        )
    return operation


def _early(operator: str, period: Any) -> int:
    return duration(operator, "early_results_period", period, least=0)
