"""Windowed stages: what follows a ``window``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from jetbridge.aggregations import AggregateOperation
from jetbridge.arguments import described, function, operation_of
from jetbridge.checks import no_attribute
from jetbridge.coaggregate_stages import CoWindowing
from jetbridge.errors import PipelineError
from jetbridge.plan.keyed import WindowNode
from jetbridge.plan.times import has_times
from jetbridge.sides import Side
from jetbridge.times import duration
from jetbridge.windows import Window

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from jetbridge.stages import GeneralStage

StageT = TypeVar("StageT", bound="GeneralStage")


class WindowedStage(CoWindowing[StageT]):
    """Items divided by their times, on their way to a stage that gives a result for each window."""

    def __init__(self, stage: StageT, window: Window, key_fn: Callable[[Any], Any] | None) -> None:
        self._stage = stage
        self._window = window
        self._key_fn = key_fn
        self._used = False

    @classmethod
    def of(cls, stage: StageT, window: Any, key_fn: Callable[[Any], Any] | None) -> WindowedStage[StageT]:
        """The windows of a stage's items.

        Raises:
            PipelineError: When the items have no times, or ``window`` is none.
        """
        if not isinstance(window, Window):
            raise PipelineError(
                f"window must be given one of jetbridge.windows, such as windows.tumbling(60_000); "
                f"got {described(window)}"
            )
        nodes = stage._pipeline._nodes
        if not has_times(nodes, nodes[stage._id]):
            raise PipelineError(
                f"window needs the times of the items, and those of '{stage.name}' have none: "
                "call with_timestamps(fn) behind the source"
            )
        windowed = cls(stage, window, key_fn)
        stage._pipeline._groups.append(windowed)
        return windowed

    def group_by(self, key_fn: Callable[[Any], Any]) -> WindowedStage[StageT]:
        """Divide the items of each window by a key, too; for keys see `GeneralStage.group_by`.

        Example:
            >>> from jetbridge import Pipeline, aggregations, testing, windows
            >>> sold = Pipeline.create().read_from(testing.items(("tea", 1), ("cup", 2), ("tea", 7)))
            >>> by_ten = sold.with_timestamps(lambda sale: sale[1]).window(windows.tumbling(10))
            >>> counts = by_ten.group_by(lambda sale: sale[0]).aggregate(aggregations.counting())
            >>> sorted(testing.run_kernels(counts.map(lambda window: (window.key, window.value))))
            [('cup', 1), ('tea', 2)]

        Args:
            key_fn: ``(item) -> key``.

        Raises:
            PipelineError: When ``key_fn`` is not callable, or there is a key already.
        """
        if self._key_fn is not None:
            raise PipelineError("group_by: the items are grouped already; give one key_fn that returns a tuple")
        self._used = True
        return self.of(self._stage, self._window, function("group_by", "key_fn", key_fn, "item"))

    def aggregate(
        self,
        accumulator: Callable[[Any, Any], Any] | AggregateOperation,
        initial: Any = None,
        combiner: Callable[[Any, Any], Any] | None = None,
        finisher: Callable[[Any], Any] | None = None,
        *,
        early_results_period: int | dt.timedelta = 0,
    ) -> StageT:
        """A `WindowResult` for each window or, after a ``group_by``, a `KeyedWindowResult` for each key and window.

        A result comes when the watermark reaches the window's end, and has the
        time of the window's last millisecond. A window without items gives none.

        Example:
            >>> from jetbridge import Pipeline, aggregations, testing, windows
            >>> clicks = Pipeline.create().read_from(testing.items(1, 7, 12)).with_timestamps(lambda at: at)
            >>> counts = clicks.window(windows.tumbling(10)).aggregate(aggregations.counting())
            >>> testing.run_kernels(counts.map(lambda window: (window.start, window.end, window.value)))
            [(0, 10, 2), (10, 20, 1)]

        Args:
            accumulator: ``(accumulated, item) -> accumulated``, or an operation
                of `jetbridge.aggregations`.
            initial: As for `GeneralStage.aggregate`.
            combiner: Likewise. Without one, sliding and session windows keep
                their items until they end, to fold them in their order.
            finisher: Likewise.
            early_results_period: How often a window that is still open gives
                what it has, if that has changed, in milliseconds of the
                clock or as a timedelta, with ``is_early``; 0 for never.
                After a restart an early result may come again.

        Raises:
            PipelineError: When something is no function, or ``initial`` is not neutral.
        """
        operation = operation_of("aggregate", accumulator, initial, combiner, finisher)
        return self._then(operation, early=duration("aggregate", "early_results_period", early_results_period, least=0))

    def distinct(self, key_fn: Callable[[Any], Any] | None = None) -> StageT:
        """The first item of each key in each window.

        Without a ``group_by`` as a `WindowResult` with the item, else as a
        `KeyedWindowResult` with the key and its first item.

        Example:
            >>> from jetbridge import Pipeline, testing, windows
            >>> sold = Pipeline.create().read_from(testing.items(("tea", 1), ("tea", 7), ("tea", 12)))
            >>> first = sold.with_timestamps(lambda s: s[1]).window(windows.tumbling(10)).distinct(lambda s: s[0])
            >>> testing.run_kernels(first.map(lambda window: window.value))
            [('tea', 1), ('tea', 12)]

        Args:
            key_fn: The key of an item; without it, and without a ``group_by``, the item itself.

        Raises:
            PipelineError: When ``key_fn`` is not callable, or there is a ``group_by`` besides.
        """
        if key_fn is not None and self._key_fn is not None:
            raise PipelineError("distinct takes no key_fn behind a group_by: the groups are its keys")
        if key_fn is not None:
            function("distinct", "key_fn", key_fn, "item")
        bare = self._key_fn is None
        return self._then(_FIRST, key_fn=self._key_fn or key_fn or _itself, bare=bare)

    def _side(self) -> Side:
        return Side(self._stage, self._key_fn, self._window, self)

    def _check_that_it_ends(self, operator: str, way_out: str = "") -> None:
        pass  # windows do

    def _then(self, operation: AggregateOperation, **fields: Any) -> StageT:
        self._used = True
        fields = {"key_fn": self._key_fn, **fields}
        return self._stage._then(WindowNode, "window", operation=operation, window=self._window, **fields)

    def _unread(self) -> tuple[str, str]:
        return "window", "aggregate(...) or distinct()"

    if not TYPE_CHECKING:  # type checkers would take any name for an attribute

        def __getattr__(self, name: str) -> Any:
            raise no_attribute(self, name, f"after window first comes {self._unread()[1]}")

    def __repr__(self) -> str:
        return f"<WindowedStage after '{self._stage.name}'>"


def _itself(item: Any) -> Any:
    return item


_FIRST = AggregateOperation(
    create=lambda: (),
    accumulate=lambda first, item: first or (item,),
    combine=lambda left, right: left or right,
    finish=lambda first: first[0],
)
"""Keeps the first item, in a tuple, as the item may be None."""
