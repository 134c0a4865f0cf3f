"""Grouped stages: what follows a ``group_by``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetbridge.plan.keyed import AggregateNode, DistinctNode, GroupNode
from jetbridge.stages import BatchStage, SinkStage, operation_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetbridge.aggregations import AggregateOperation
    from jetbridge.connectors.base import Sink


class GroupedStage:
    """Items with a key, on their way to a stage that works by key."""

    def __init__(self, stage: BatchStage, key_fn: Callable[[Any], Any]) -> None:
        self._stage = stage
        self._key_fn = key_fn

    def aggregate(
        self,
        accumulator: Callable[[Any, Any], Any] | AggregateOperation,
        initial: Any = None,
        combiner: Callable[[Any, Any], Any] | None = None,
        finisher: Callable[[Any], Any] | None = None,
    ) -> BatchStage:
        """Fold the items of each key into one result, ``(key, result)``.

        Example:
            >>> from jetbridge import Pipeline, aggregations
            >>> words = Pipeline.create().read_from(Pipeline.from_list("words", ["a", "b", "a"]))
            >>> words.group_by(lambda word: word).aggregate(aggregations.counting())
            <BatchStage 'aggregate'>

        The arguments are those of `BatchStage.aggregate`.
        """
        operation = operation_of(accumulator, initial, combiner, finisher)
        return self._stage._then(AggregateNode, "aggregate", key_fn=self._key_fn, operation=operation)

    def distinct(self) -> BatchStage:
        """The first item of each key."""
        return self._stage._then(DistinctNode, "distinct", key_fn=self._key_fn)

    def write_to(self, sink: Sink) -> SinkStage:
        """Send all items of each key to a sink, as ``(key, [items])``."""
        return self.collect().write_to(sink)

    def collect(self) -> BatchStage:
        """All items of each key, as ``(key, [items])``, in source order where the source is one partition."""
        return self._stage._then(GroupNode, "group_by", key_fn=self._key_fn)

    def __repr__(self) -> str:
        return f"<GroupedStage after '{self._stage.name}'>"
