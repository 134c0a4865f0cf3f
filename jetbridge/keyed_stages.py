"""Grouped stages: what follows a ``group_by``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from jetbridge.plan.keyed import AggregateNode, DistinctNode, GroupNode, RollingNode
from jetbridge.stages import GeneralStage, SinkStage, StreamStage, endless, operation_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetbridge.aggregations import AggregateOperation
    from jetbridge.connectors.base import Sink

StageT = TypeVar("StageT", bound=GeneralStage)


class GroupedStage(Generic[StageT]):
    """Items with a key, on their way to a stage that works by key."""

    def __init__(self, stage: StageT, key_fn: Callable[[Any], Any]) -> None:
        self._stage = stage
        self._key_fn = key_fn
        self._used = False

    def aggregate(
        self,
        accumulator: Callable[[Any, Any], Any] | AggregateOperation,
        initial: Any = None,
        combiner: Callable[[Any, Any], Any] | None = None,
        finisher: Callable[[Any], Any] | None = None,
    ) -> StageT:
        """Fold the items of each key into one result, ``(key, result)``, at the end of the input.

        Example:
            >>> from jetbridge import Pipeline, aggregations
            >>> words = Pipeline.create().read_from(Pipeline.from_list("words", ["a", "b", "a"]))
            >>> words.group_by(lambda word: word).aggregate(aggregations.counting())
            <BatchStage 'aggregate'>

        The arguments are those of `BatchStage.aggregate`.

        Raises:
            PipelineError: On a stream, which has no end.
        """
        self._bounded("aggregate", "use rolling_aggregate(...) for a result after each item")
        operation = operation_of(accumulator, initial, combiner, finisher)
        return self._then(AggregateNode, "aggregate", operation=operation)

    def rolling_aggregate(
        self,
        accumulator: Callable[[Any, Any], Any] | AggregateOperation,
        initial: Any = None,
        combiner: Callable[[Any, Any], Any] | None = None,
        finisher: Callable[[Any], Any] | None = None,
    ) -> StageT:
        """Emit, for each item, ``(key, result)`` of its key's items up to it.

        The arguments are those of `BatchStage.aggregate`.
        """
        operation = operation_of(accumulator, initial, combiner, finisher)
        return self._then(RollingNode, "rolling_aggregate", operation=operation)

    def distinct(self) -> StageT:
        """The first item of each key, as soon as it is seen."""
        return self._then(DistinctNode, "distinct")

    def write_to(self, sink: Sink) -> SinkStage:
        """Send all items of each key to a sink, as ``(key, [items])``, at the end of the input.

        Raises:
            PipelineError: On a stream, which has no end.
        """
        self._bounded("group_by(...).write_to", "use rolling_aggregate(...), or write the items ungrouped")
        return self.collect().write_to(sink)

    def collect(self) -> StageT:
        """All items of each key, as ``(key, [items])``, in source order where the source is one partition.

        Raises:
            PipelineError: On a stream, which has no end.
        """
        self._bounded("collect", "use rolling_aggregate(...) for a result after each item")
        return self._then(GroupNode, "group_by")

    def _bounded(self, operator: str, way_out: str) -> None:
        if isinstance(self._stage, StreamStage):
            raise endless(operator, way_out)

    def _then(self, kind: Any, name: str, **fields: Any) -> StageT:
        self._used = True
        return self._stage._then(kind, name, key_fn=self._key_fn, **fields)

    def __repr__(self) -> str:
        return f"<GroupedStage after '{self._stage.name}'>"
