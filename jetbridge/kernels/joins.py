"""Joins of two inputs by key: in windows, by the distance of times, and with the newest item."""

from __future__ import annotations

import abc
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from jetbridge.kernels.coaggregate import CoSessionKernel, CoWindowKernel
from jetbridge.kernels.group import GroupSplitter
from jetbridge.kernels.join_state import LEFT, RIGHT, JoinState
from jetbridge.kernels.keyed import KeyedKernel, Keys, Splitter, State, decode, restored
from jetbridge.kernels.pending import PendingKernel
from jetbridge.kernels.ports import PortSplitter, ported
from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.times import END, TimedItems
from jetbridge.windows import KeyedWindowResult, SessionWindow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetbridge.kernels.join_state import Row
    from jetbridge.plan.joins import AsOfJoinNode, IntervalJoinNode, JoinWindowNode, TimeJoinNode

PRUNE = 32
"""After how many rows of a key those of no use any more are looked for."""


class JoinWindowKernel(PendingKernel):
    """Emits a `KeyedWindowResult` with a pair, for each pair of items of one key and window."""

    kind = "join_window"

    def __init__(self, node: JoinWindowNode) -> None:
        super().__init__(CoSessionKernel(node) if isinstance(node.window, SessionWindow) else CoWindowKernel(node))
        self._alone = {LEFT: node.how in ("left", "outer"), RIGHT: node.how in ("right", "outer")}

    def taken(self, result: Any) -> tuple[list[Any], Any]:
        """The pairs of some of the first input's items."""
        assert isinstance(result, KeyedWindowResult)
        lefts, rights = result.value
        if lefts and rights:
            count = max(1, CHUNK_ITEMS // len(rights))
            pairs = [result._replace(value=(left, right)) for left in lefts[:count] for right in rights]
            return pairs, result._replace(value=(lefts[count:], rights)) if len(lefts) > count else None
        items = [(left, None) for left in lefts] if self._alone[LEFT] else []
        items += [(None, right) for right in rights] if self._alone[RIGHT] else []
        return [result._replace(value=pair) for pair in items], None


class OnTimeSplitter(GroupSplitter):
    """Groups items with their times, and puts aside those behind the watermark: what they match may be gone."""

    def __init__(self, keys: Keys) -> None:
        super().__init__(keys, keep_times=True)

    def add(self, chunk: list[Any]) -> None:
        """Group a chunk's items by key."""
        assert isinstance(chunk, TimedItems), f"the items of '{self.keys.name}' have no times"
        chunk = chunk.on_time(self.late)
        if chunk:
            super().add(chunk)


class TimeJoinKernel(KeyedKernel):
    """What joins by the distance of times have in common: rows of both inputs wait by key."""

    timed = True

    def __init__(self, node: TimeJoinNode) -> None:
        super().__init__(node.name)
        self.key_fns = node.key_fns
        self.outer = node.how == "left"

    def splitter(self, shards: int, port: int = 0) -> Splitter:
        """A splitter that groups, and leaves out what is late."""
        return PortSplitter(OnTimeSplitter(Keys(self.kind, self.name, self.key_fns[port], shards)), port)

    def new_state(self) -> State:
        """No rows."""
        return JoinState(self)

    @abc.abstractmethod
    def when(self, port: int, time: int, alone: bool) -> int | None:
        """The watermark at which a row's key is to be looked at, if there is one."""

    def prunes(self, rights: list[Row], before: int) -> int | None:
        """When rows of the second input, of which there were so many, are of no use any more for the number of them."""
        return None

    @abc.abstractmethod
    def arrived(
        self, state: JoinState, port: int, key: Any, items: list[Any], times: list[int]
    ) -> Iterator[TimedItems]:
        """Take items of a key in, add the blocks to `last`, and yield what is known now."""

    @abc.abstractmethod
    def looked_at(self, state: JoinState, key: Any, watermark: int) -> tuple[list[Any], list[int], bool]:
        """Take out what is over for a key: results, their times, and whether there is more of them."""

    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """Take items of one input in."""
        assert isinstance(state, JoinState)
        port, inner = ported(payload)
        keys, groups, odd, times_of = decode(inner)
        self.last = set()
        for key, items, times in zip(restored(keys, odd), groups, times_of, strict=True):
            yield from self.arrived(state, port, key, items, times)

    def due(self, state: State) -> int | None:
        """When a key is to be looked at next."""
        assert isinstance(state, JoinState)
        return state.next_wake()

    def on_watermark(self, state: State, watermark: int) -> Iterator[list[Any]]:
        """Emit what is due, and drop the rows that can have no match any more."""
        assert isinstance(state, JoinState)
        self.last = set()
        out = TimedItems()
        for key in state.waking(watermark):
            more = key in state.rows()
            while more:
                items, times, more = self.looked_at(state, key, watermark)
                out += items
                out.times += times
                if len(out) >= CHUNK_ITEMS:
                    if more:
                        state.wake(watermark, key)  # the host may ask for no more now
                    yield out
                    out = TimedItems()
        if out:
            yield out

    def on_end(self, state: State) -> Iterator[list[Any]]:
        """Emit what is left; rows that only wait for others are dropped."""
        assert isinstance(state, JoinState)
        yield from self.on_watermark(state, END)
        self.last |= state.keys()
        state.clear()
        state.forget()

    def add(self, state: State, keys: Any, values: Any, gone: Any = ()) -> None:
        """Put stored blocks back."""
        assert isinstance(state, JoinState)
        super().add(state, keys, values, gone)
        state.forget()

    def records(self, state: State) -> int:
        """How many rows there are."""
        return sum(map(len, state.values()))


class IntervalJoinKernel(TimeJoinKernel):
    """Emits ``(key, (item, other))`` when the second of a pair comes, and unmatched items when none can come."""

    kind = "interval_join"

    def __init__(self, node: IntervalJoinNode) -> None:
        super().__init__(node)
        # How much later than an item of an input one of the other may be.
        self.reach = (node.after, node.before)
        self._grid = max(1, (node.before + node.after) // 4)

    def when(self, port: int, time: int, alone: bool) -> int:
        """Behind the last time that a match may have: just there for what is emitted then, else now and then."""
        over = time + self.reach[port] + 1
        return over if alone else -(-over // self._grid) * self._grid

    def arrived(
        self, state: JoinState, port: int, key: Any, items: list[Any], times: list[int]
    ) -> Iterator[TimedItems]:
        """Pair items with those of the other input that are there."""
        later, earlier = self.reach[port], self.reach[1 - port]
        out = TimedItems()
        for item, time in zip(items, times, strict=True):
            mine = state.rows().get(key)
            others = mine.sides[1 - port] if mine is not None else ()
            first = bisect_left(others, (time - earlier,))
            matches = others[first : bisect_left(others, (time + later + 1,), first)]
            self.last.add(state.put(key, port, time, item, alone=self.outer and port == LEFT and not matches))
            if port == LEFT:
                out += [(key, (item, row.item)) for row in matches]
            else:
                out += [(key, (row.item, item)) for row in matches]
                if mine is not None and mine.alone:
                    self.last |= {state.matched(key, LEFT, row) for row in matches if row.number in mine.alone}
            out.times += [max(time, row.time) for row in matches]
            if len(out) >= CHUNK_ITEMS:
                yield out
                out = TimedItems()
        if out:
            yield out

    def looked_at(self, state: JoinState, key: Any, watermark: int) -> tuple[list[Any], list[int], bool]:
        """Drop what can have no match any more, and emit what has had none."""
        mine = state.rows()[key]
        items: list[Any] = []
        times: list[int] = []
        over = bisect_left(mine.sides[LEFT], (watermark - self.reach[LEFT],))
        taken = min(over, CHUNK_ITEMS)
        for row in mine.sides[LEFT][:taken] if mine.alone else ():
            if row.number in mine.alone:
                items.append((key, (row.item, None)))
                times.append(row.time + self.reach[LEFT])
        gone = bisect_left(mine.sides[RIGHT], (watermark - self.reach[RIGHT],))
        self.last |= state.drop(key, LEFT, taken)
        if gone:
            self.last |= state.drop(key, RIGHT, gone)
        return items, times, over > taken


class AsOfJoinKernel(TimeJoinKernel):
    """Emits ``(key, (item, newest))`` when the watermark has passed the item."""

    kind = "as_of_join"

    def __init__(self, node: AsOfJoinNode) -> None:
        super().__init__(node)
        self.tolerance = node.tolerance
        self._grid = max(1, (node.tolerance or 0) // 4)

    def when(self, port: int, time: int, alone: bool) -> int | None:
        """Behind an item; and when one of the other input is too old, if there is such an age."""
        if port == LEFT:
            return time + 1
        if self.tolerance is None:
            return None
        return -(-(time + self.tolerance + 1) // self._grid) * self._grid

    def arrived(
        self, state: JoinState, port: int, key: Any, items: list[Any], times: list[int]
    ) -> Iterator[TimedItems]:
        """Keep items."""
        for item, time in zip(items, times, strict=True):
            self.last.add(state.put(key, port, time, item, alone=False))
        if port == RIGHT:
            rights = state.rows()[key].sides[RIGHT]
            state.wake(self.prunes(rights, len(rights) - len(items)), key)
        return iter(())

    def prunes(self, rights: list[Row], before: int) -> int | None:
        """When the newest one replaces the others, if they are many."""
        return rights[-1].time + 1 if len(rights) // PRUNE > before // PRUNE else None

    def looked_at(self, state: JoinState, key: Any, watermark: int) -> tuple[list[Any], list[int], bool]:
        """Emit the items that the watermark has passed, and drop what newer ones replace."""
        lefts, rights = state.rows()[key].sides
        over = bisect_left(lefts, (watermark,))
        taken = min(over, CHUNK_ITEMS)
        items: list[Any] = []
        times: list[int] = []
        for time, _, item in lefts[:taken]:
            at = bisect_left(rights, (time + 1,)) - 1
            fits = at >= 0 and (self.tolerance is None or rights[at].time >= time - self.tolerance)
            if fits or self.outer:
                items.append((key, (item, rights[at].item if fits else None)))
                times.append(time)
        gone = 0
        if taken == over:
            gone = max(0, bisect_left(rights, (watermark,)) - 1)
            if self.tolerance is not None:
                gone = max(gone, bisect_left(rights, (watermark - self.tolerance,)))
        self.last |= state.drop(key, LEFT, taken)
        if gone:
            self.last |= state.drop(key, RIGHT, gone)
        return items, times, over > taken
