"""The methods of stages that are about event time: timestamps and windows."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from jetbridge.arguments import function
from jetbridge.errors import PipelineError
from jetbridge.plan.ends import SourceNode
from jetbridge.plan.times import INGESTION, NATIVE, TimestampNode, UntimeNode, behind_state, ways
from jetbridge.times import duration

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from jetbridge.pipeline import Pipeline
    from jetbridge.windowed_stages import WindowedStage
    from jetbridge.windows import Window

IDLE_MILLIS = 60_000
"""After how long without an item a partition is left out of the watermark, unless one says otherwise."""


class Timing(abc.ABC):
    """What is said of the times of a stage's items."""

    _pipeline: Pipeline
    _id: int

    def with_timestamps(
        self,
        fn: Callable[[Any], Any],
        allowed_lag: int | dt.timedelta = 0,
        idle_timeout: int | dt.timedelta = IDLE_MILLIS,
    ) -> Self:
        """Give each item its time, which windows and joins go by; stages without state keep it.

        As Jet's ``addTimestamps``, with the watermarks of Flink: by source partition.

        The watermark of a source partition follows the newest time in it at a
        distance. An item is late for a window that ends at or before its own
        partition's watermark; on a batch stage nothing is late.

        Example:
            >>> from jetbridge import Pipeline, aggregations, testing, windows
            >>> clicks = Pipeline.create().read_from(testing.items({"at": 3_000}, {"at": 61_000}))
            >>> timed = clicks.with_timestamps(lambda click: click["at"], allowed_lag=2_000)
            >>> counts = timed.window(windows.tumbling(60_000)).aggregate(aggregations.counting())
            >>> testing.run_kernels(counts.map(lambda window: window.value))
            [1, 1]

        Args:
            fn: The time of an item: an int, milliseconds since 1970, or a
                datetime with a time zone.
            allowed_lag: How much older than the newest item an item may be
                without being late, in milliseconds or as a timedelta.
            idle_timeout: After how long without an item a partition is left
                out, so that the others' watermark goes on. A source that is
                idle in all its partitions waits.

        Raises:
            PipelineError: When ``fn`` is not callable, or not only stages
                without state stand between this stage and its sources.
        """
        return self._stamped(
            "with_timestamps", function("with_timestamps", "fn", fn, "item"), allowed_lag, idle_timeout
        )

    add_timestamps = with_timestamps

    def with_native_timestamps(
        self, allowed_lag: int | dt.timedelta = 0, idle_timeout: int | dt.timedelta = IDLE_MILLIS
    ) -> Self:
        """Give each item the time that its source has for it, such as when it was published.

        As Jet's ``withNativeTimestamps``.

        Example:
            >>> from jetbridge import Pipeline, aggregations, testing, windows
            >>> ticks = Pipeline.create().read_from(testing.scripted([3, 14], times=lambda at: at, ends=True))
            >>> counts = ticks.with_native_timestamps().window(windows.tumbling(10)).aggregate(aggregations.counting())
            >>> testing.run_kernels(counts.map(lambda window: window.end))
            [10, 20]

        Args:
            allowed_lag: As for `with_timestamps`.
            idle_timeout: Likewise.

        Raises:
            PipelineError: When the source has no times, or this is not its own stage.
        """
        above = self._pipeline._nodes[self._id]
        if not isinstance(above, SourceNode):
            raise PipelineError(
                f"with_native_timestamps must follow the source itself, not '{self._pipeline._name(self._id)}': "
                "call it right behind read_from"
            )
        if not above.source.has_times:
            raise PipelineError(
                f"with_native_timestamps: {above.source.kind} '{above.source.name}' has no times of its own: "
                "use with_timestamps(fn)"
            )
        return self._stamped("with_native_timestamps", NATIVE, allowed_lag, idle_timeout)

    def with_ingestion_timestamps(self) -> Self:
        """Give each item the time at which it is read, by the clock of the machine that reads.

        As Jet's ``withIngestionTimestamps``.

        It is never late, and after a restart it may have another time.

        Example:
            >>> from jetbridge import Pipeline, aggregations, testing, windows
            >>> words = Pipeline.create().read_from(testing.items("to", "be")).with_ingestion_timestamps()
            >>> years = words.window(windows.tumbling(31_536_000_000)).aggregate(aggregations.counting())
            >>> sum(testing.run_kernels(years.map(lambda window: window.value)))
            2

        Raises:
            PipelineError: When not only stages without state stand between this stage and its sources.
        """
        return self._stamped("with_ingestion_timestamps", INGESTION, 0, IDLE_MILLIS)

    def without_timestamps(self) -> Self:
        """Take the times away.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> clicks = Pipeline.create().read_from(testing.items(1, 2)).with_timestamps(lambda at: at)
            >>> testing.run_kernels(clicks.without_timestamps())
            [1, 2]
        """
        return self._then(UntimeNode, "without_timestamps")

    def _stamped(self, operator: str, fn: Any, lag: Any, idle: Any) -> Self:
        nodes = self._pipeline._nodes
        stateful = behind_state(nodes, nodes[self._id])
        if stateful is not None:
            raise PipelineError(
                f"{operator} needs the source's order, and '{self._pipeline._name(stateful.id)}' does not keep it: "
                "give the times before that stage"
            )
        sources = ways(nodes, nodes[self._id])
        if len(sources) > len(set(sources)):
            raise PipelineError(
                f"{operator} comes after a merge of two branches of one source: give the times before the branches part"
            )
        return self._then(
            TimestampNode,
            operator,
            fn=fn,
            lag=duration(operator, "allowed_lag", lag, least=0),
            idle=duration(operator, "idle_timeout", idle),
        )

    def window(self, window: Window) -> WindowedStage[Any]:
        """Divide the items by their times, for an aggregate or distinct of each window.

        As Jet's ``window``.

        ``stage.window(w).group_by(fn)`` and ``stage.group_by(fn).window(w)`` are the same.

        Example:
            >>> from jetbridge import Pipeline, aggregations, testing, windows
            >>> clicks = Pipeline.create().read_from(testing.items(1, 7, 30)).with_timestamps(lambda at: at)
            >>> visits = clicks.window(windows.session(10)).aggregate(aggregations.to_list())
            >>> testing.run_kernels(visits.map(lambda window: window.value))
            [[1, 7], [30]]

        Args:
            window: One of `jetbridge.windows`.

        Raises:
            PipelineError: When the items have no times, or ``window`` is none.
        """
        from jetbridge.windowed_stages import WindowedStage

        return WindowedStage.of(self, window, None)

    @abc.abstractmethod
    def _then(self, kind: Any, name: str, **fields: Any) -> Self:
        """Add a stage behind this one."""
