"""The methods that join two grouped stages by their keys and times."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from jetbridge.aggregations import to_list
from jetbridge.arguments import described
from jetbridge.errors import PipelineError
from jetbridge.plan.coaggregate import together
from jetbridge.plan.joins import AsOfJoinNode, IntervalJoinNode, JoinWindowNode
from jetbridge.sides import Side, check_times, joined, other_side
from jetbridge.times import duration
from jetbridge.windows import Window

if TYPE_CHECKING:
    import datetime as dt

StageT = TypeVar("StageT")


class Joining(abc.ABC, Generic[StageT]):
    """What can be joined with another grouped stage. The keys are those of the two ``group_by``."""

    def join_window(self, other: Any, window: Window, how: str = "inner") -> StageT:
        """Pairs of items of the same key in the same window, when the watermark of both stages reaches its end.

        Each is a `KeyedWindowResult` with the pair as its value: what Jet has
        as a co-aggregation to lists, item by item. A session is one of both
        sides' items together.

        Example:
            >>> from jetbridge import Pipeline, testing, windows
            >>> pipeline = Pipeline.create()
            >>> ordered = pipeline.read_from(testing.items(("ann", 1), ("bob", 2))).with_timestamps(lambda o: o[1])
            >>> paid = pipeline.read_from(testing.items(("ann", 5))).with_timestamps(lambda p: p[1])
            >>> by_name = ordered.group_by(lambda o: o[0]), paid.group_by(lambda p: p[0])
            >>> pairs = by_name[0].join_window(by_name[1], windows.tumbling(10), how="left")
            >>> sorted(testing.run_kernels(pairs.map(lambda window: (window.key, window.value))))
            [('ann', (('ann', 1), ('ann', 5))), ('bob', (('bob', 2), None))]

        Args:
            other: A grouped stage of the same pipeline; the items of both have times.
            window: One of `jetbridge.windows`.
            how: ``"inner"`` for pairs alone; ``"left"`` also gives items of
                this stage without a match, as ``(item, None)``, ``"right"``
                those of the other one, as ``(None, item)``, and ``"outer"`` both.

        Raises:
            PipelineError: When ``other`` is not such a stage, the items have no times, or an argument is none.
        """
        if not isinstance(window, Window):
            raise PipelineError(
                "join_window must be given one of jetbridge.windows as window, such as windows.tumbling(60_000); "
                f"got {described(window)}"
            )
        sides = self._sides("join_window", other, window)
        operations = (to_list(), to_list())
        return self._join(
            JoinWindowNode,
            "join_window",
            sides,
            how=_how("join_window", how, "inner", "left", "right", "outer"),
            window=window,
            operation=together(operations),
            operations=operations,
        )

    def interval_join(
        self, other: Any, before: int | dt.timedelta, after: int | dt.timedelta, how: str = "inner"
    ) -> StageT:
        """Pairs of items of the same key that are close in time, as ``(key, (item, other item))``.

        As Flink's interval join; Jet has none.

        A pair comes when the second of the two does, with the later one's time.
        Items are kept until the watermark says that none can match them any
        more. An item behind its own partition's watermark is late: it is left
        out, and goes to `late_items`.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> pipeline = Pipeline.create()
            >>> shown = pipeline.read_from(testing.items(("ad", 1), ("ad", 50))).with_timestamps(lambda s: s[1])
            >>> clicked = pipeline.read_from(testing.items(("ad", 9))).with_timestamps(lambda c: c[1])
            >>> ads, clicks = shown.group_by(lambda s: s[0]), clicked.group_by(lambda c: c[0])
            >>> sorted(testing.run_kernels(ads.interval_join(clicks, before=0, after=30, how="left")))
            [('ad', (('ad', 1), ('ad', 9))), ('ad', (('ad', 50), None))]

        Args:
            other: A grouped stage of the same pipeline; the items of both have times.
            before: How much earlier than this stage's item the other's may be, in milliseconds or as a timedelta.
            after: How much later.
            how: ``"inner"`` for pairs alone; ``"left"`` also gives items of this
                stage that no other one matches, as ``(key, (item, None))``,
                with the last time at which one could have.

        Raises:
            PipelineError: When ``other`` is not such a stage, the items have no times, or an argument is none.
        """
        sides = self._sides("interval_join", other)
        return self._join(
            IntervalJoinNode,
            "interval_join",
            sides,
            how=_how("interval_join", how, "inner", "left"),
            before=duration("interval_join", "before", before, least=0),
            after=duration("interval_join", "after", after, least=0),
        )

    def as_of_join(self, other: Any, tolerance: int | dt.timedelta | None = None, how: str = "left") -> StageT:
        """Each item with the other stage's newest item of the same key at its time, as ``(key, (item, newest))``.

        As Flink's temporal join; Jet has none.

        The newest one is at or before the item's time; of several at one time
        it is the one that came last. The pair comes when the watermark of both
        stages has passed the item, so it does not depend on which was read
        first, and has the item's time. An item behind its own partition's
        watermark is late: it is left out, and goes to `late_items`.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> pipeline = Pipeline.create()
            >>> trades = pipeline.read_from(testing.items(("ACME", 7))).with_timestamps(lambda t: t[1])
            >>> quotes = pipeline.read_from(testing.items(("ACME", 5, 1.25), ("ACME", 9, 1.5)))
            >>> quotes = quotes.with_timestamps(lambda q: q[1])
            >>> by_name = trades.group_by(lambda t: t[0]), quotes.group_by(lambda q: q[0])
            >>> testing.run_kernels(by_name[0].as_of_join(by_name[1], tolerance=1_000))
            [('ACME', (('ACME', 7), ('ACME', 5, 1.25)))]

        Args:
            other: A grouped stage of the same pipeline; the items of both have times.
            tolerance: How old the newest may be, in milliseconds or as a
                timedelta. Without one it may be of any age, and each key's is
                kept as long as the job runs.
            how: ``"left"`` gives an item that none matches as ``(key, (item, None))``, ``"inner"`` leaves it out.

        Raises:
            PipelineError: When ``other`` is not such a stage, the items have no times, or an argument is none.
        """
        sides = self._sides("as_of_join", other)
        return self._join(
            AsOfJoinNode,
            "as_of_join",
            sides,
            how=_how("as_of_join", how, "left", "inner"),
            tolerance=None if tolerance is None else duration("as_of_join", "tolerance", tolerance, least=0),
        )

    @abc.abstractmethod
    def _side(self) -> Side:
        """This stage as an input."""

    def _sides(self, operator: str, other: Any, window: Window | None = None) -> list[Side]:
        mine = self._side()._replace(window=window)
        sides = [mine, other_side(operator, mine, other)]
        check_times(operator, sides)
        return sides

    def _join(self, kind: Any, name: str, sides: list[Side], **fields: Any) -> StageT:
        key_fns = tuple(side.key_fn for side in sides)
        stage: StageT = joined(kind, name, sides, key_fn=key_fns[0], key_fns=key_fns, **fields)
        return stage


def _how(operator: str, how: Any, *known: str) -> str:
    if how not in known:
        *most, last = map(repr, known)
        raise PipelineError(f"{operator}'s how must be {', '.join(most)} or {last}; got {described(how)}")
    return str(how)
