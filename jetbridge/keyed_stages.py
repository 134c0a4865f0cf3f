"""Grouped stages: what follows a ``group_by``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from jetbridge.aggregate_stages import Aggregating
from jetbridge.aside_stages import NotSiding
from jetbridge.checks import no_attribute
from jetbridge.coaggregate_stages import CoAggregating
from jetbridge.join_stages import Joining
from jetbridge.plan.keyed import DistinctNode, GroupNode
from jetbridge.service_stages import KeyedServing
from jetbridge.sides import Side
from jetbridge.stages import GeneralStage, SinkStage, StreamStage, endless
from jetbridge.stateful_stages import Stateful
from jetbridge.windowed_stages import WindowedStage

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetbridge.aggregations import AggregateOperation
    from jetbridge.connectors.base import Sink
    from jetbridge.windows import Window

StageT = TypeVar("StageT", bound=GeneralStage)
_TIMED = "give it times and a window (with_timestamps(...).group_by(...).window(...)"
_KEYED = f"{_TIMED}), or use rolling_aggregate(...) for a result after each item"
_TOGETHER = f"{_TIMED}.aggregate(aggregations.to_list())), or use rolling_aggregate(...), or leave group_by out"
"""The way out for who wants all items of a key."""


class GroupedStage(
    Aggregating[StageT], CoAggregating[StageT], Joining[StageT], KeyedServing[StageT], Stateful[StageT], NotSiding
):
    """Items with a key, on their way to a stage that works by key; nothing is one until that follows.

    Example:
        >>> from jetbridge import Pipeline, testing
        >>> Pipeline.create().read_from(testing.items("tea", "cup")).group_by(len)
        <GroupedStage after 'items'>
    """

    _on_error_belongs = "call it on the stage that follows, as in group_by(key_fn).aggregate(...).on_error('skip')"

    def __init__(self, stage: StageT, key_fn: Callable[[Any], Any]) -> None:
        self._stage = stage
        self._key_fn = key_fn
        self._used = False

    def distinct(self) -> StageT:
        """The first item of each key, as soon as it is seen.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> words = Pipeline.create().read_from(testing.items("tea", "cup", "teas"))
            >>> sorted(testing.run_kernels(words.group_by(len).distinct()))
            ['tea', 'teas']
        """
        return self._then(DistinctNode, "distinct")

    def window(self, window: Window) -> WindowedStage[StageT]:
        """Divide the items of each key by their times, too.

        Example:
            >>> from jetbridge import Pipeline, aggregations, testing, windows
            >>> sold = Pipeline.create().read_from(testing.items(("tea", 1), ("tea", 7), ("tea", 12)))
            >>> by_name = sold.with_timestamps(lambda sale: sale[1]).group_by(lambda sale: sale[0])
            >>> counts = by_name.window(windows.tumbling(10)).aggregate(aggregations.counting())
            >>> testing.run_kernels(counts.map(lambda window: (window.key, window.end, window.value)))
            [('tea', 10, 2), ('tea', 20, 1)]

        Args:
            window: One of `jetbridge.windows`.

        Raises:
            PipelineError: When the items have no times, or ``window`` is no window.
        """
        self._used = True
        return WindowedStage.of(self._stage, window, self._key_fn)

    def write_to(self, sink: Sink) -> SinkStage:
        """Send all items of each key to a sink, as ``(key, [items])``, at the end of the input.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> words = Pipeline.create().read_from(testing.items("tea", "cup", "teas"))
            >>> words.group_by(len).write_to(Pipeline.to_map("words by length"))
            <SinkStage 'words by length'>

        Args:
            sink: As for `GeneralStage.write_to`.

        Raises:
            PipelineError: On a stream, which has no end.
        """
        self._check_that_it_ends("group_by(...).write_to", _TOGETHER)
        return self.collect().write_to(sink)

    def collect(self) -> StageT:
        """All items of each key, as ``(key, [items])``, in source order where the source is one partition.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> words = Pipeline.create().read_from(testing.items("tea", "cup", "teas"))
            >>> sorted(testing.run_kernels(words.group_by(len).collect()))
            [(3, ['tea', 'cup']), (4, ['teas'])]

        Raises:
            PipelineError: On a stream, which has no end.
        """
        self._check_that_it_ends("collect", _TOGETHER)
        return self._then(GroupNode, "group_by")

    def _check_that_it_ends(self, operator: str, way_out: str = _KEYED) -> None:
        if isinstance(self._stage, StreamStage):
            raise endless(operator, way_out)

    def _side(self) -> Side:
        return Side(self._stage, self._key_fn, group=self)

    def _aggregated(self, kind: Any, name: str, operation: AggregateOperation) -> StageT:
        return self._then(kind, name, operation=operation)

    def _above(self) -> GeneralStage:
        return self._stage

    def _with_state(self, kind: Any, **fields: Any) -> StageT:
        return self._then(kind, kind.kind, **fields)

    def _then(self, kind: Any, name: str, **fields: Any) -> StageT:
        self._used = True
        return self._stage._then(kind, name, key_fn=self._key_fn, **fields)

    def _unread(self) -> tuple[str, str]:
        ways_on = "aggregate(...), rolling_aggregate(...), map_stateful(...), window(...), distinct() or write_to(...)"
        return "group_by", ways_on

    if not TYPE_CHECKING:  # type checkers would take any name for an attribute

        def __getattr__(self, name: str) -> Any:
            ways_on = self._unread()[1]
            raise no_attribute(self, name, f"after group_by first comes {ways_on}")

    def __repr__(self) -> str:
        return f"<GroupedStage after '{self._stage.name}'>"
