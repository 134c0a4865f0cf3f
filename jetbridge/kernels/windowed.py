"""Tumbling and sliding windows: an accumulator for each frame and key, put together when a window ends."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from jetbridge.errors import ItemError
from jetbridge.kernels.ended import Ended, results
from jetbridge.kernels.failure import FAILURES, stage_error
from jetbridge.kernels.fold import Folder
from jetbridge.kernels.frames import FrameSplitter, FrameState
from jetbridge.kernels.keyed import KeyedKernel, Keys, State, decode, restored
from jetbridge.kernels.numbered import folded, in_sequence, kept
from jetbridge.kernels.panes import Combining, Panes, panes, place
from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.windows import SlidingWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from jetbridge.kernels.panes import Frame
    from jetbridge.plan.keyed import WindowNode
    from jetbridge.times import TimedItems


class WindowKernel(KeyedKernel):
    """Emits a result for each window, or for each key and window, when the watermark reaches the window's end."""

    kind = "window"
    timed = True

    def __init__(self, node: WindowNode) -> None:
        super().__init__(node.name)
        assert isinstance(node.window, SlidingWindow)
        self.node = node
        self.size, self.step = node.window.size, node.window.step
        self.single = node.key_fn is None
        self.period = node.early
        self._folding = Folder(node.name, node.operation)
        # Frames of a sliding window are put together later, so what cannot be combined is kept item by item.
        self.numbering = node.operation.combine is None and self.size != self.step
        self.folder = Folder(node.name, in_sequence()) if self.numbering else self._folding
        self._combining = Combining(self.folder.operation)

    def be_careful(self) -> None:
        """Leave out the items that cannot be folded."""
        self._folding.failed = self.failed

    def splitter(self, shards: int, port: int = 0) -> FrameSplitter:
        """A splitter that reduces by frame and key."""
        keys, folder = Keys(self.kind, self.name, self.node.key_fn, shards), Folder(self.name, self.node.operation)
        careful = self._folding.failed is not None
        return FrameSplitter(keys, folder, self.size, self.step, numbering=self.numbering, careful=careful)

    def new_state(self) -> State:
        """No frames."""
        return FrameState(tracking=self.period > 0)

    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """Take parts of frames in."""
        assert isinstance(state, FrameState)
        parts, names, values, odd, numbers = decode(payload)
        touched: list[Any] = []
        self.last = touched
        for frame, keys, theirs in parts:
            keys = restored(keys, odd)
            self._take_in(state, frame, keys, self._as_kept(theirs))
            touched += [(frame, key) for key in keys]
        if names:
            names = restored(names, odd)
            if numbers is not None:
                values = [list(zip(ns, items, strict=True)) for ns, items in zip(numbers, values, strict=True)]
                values = state.numbered(values)
            self._take_in_mixed(state, names, self._as_kept(values))
            touched += names
        return iter(())

    def _as_kept(self, values: list[Any]) -> list[Any]:
        """What a splitter sent, as accumulators of the frames."""
        return values

    def _take_in_mixed(self, state: FrameState, names: list[Any], values: list[Any]) -> None:
        """Take in accumulators by frame and key; most frames may have few keys."""
        combine = self.folder.operation.combine
        if combine is None or state.tracking or state.panes is not None:
            mixed: dict[Frame, tuple[list[Any], list[Any]]] = defaultdict(lambda: ([], []))
            for (frame, key), value in zip(names, values, strict=True):
                keys, theirs = mixed[frame]
                keys.append(key)
                theirs.append(value)
            for frame, (keys, theirs) in mixed.items():
                self._take_in(state, frame, keys, theirs)
            return
        try:
            for (frame, key), value in zip(names, values, strict=True):
                accs = state.get(frame)
                if accs is None:
                    accs = self._begun(state, frame)
                accs[key] = combine(accs[key], value) if key in accs else value
        except FAILURES as error:
            raise stage_error("aggregate", self.name, "combining partial results", error) from error

    def _begun(self, state: FrameState, frame: Frame) -> dict[Any, Any]:
        """A new frame."""
        if state.knows:
            first = self._first_end(state, frame)
            state.due = first if state.due is None else min(state.due, first)
        accs: dict[Any, Any] = {}
        state[frame] = accs
        return accs

    def _take_in(self, state: FrameState, frame: Frame, keys: list[Any], values: list[Any]) -> None:
        accs = state.get(frame)
        if accs is None:
            accs = self._begun(state, frame)
        self.folder.take_in(accs, keys, values)
        if state.panes is not None and frame in state.panes:
            state.panes.touch(keys)
        if state.tracking:
            state.changed.setdefault(frame, set()).update(keys)

    def due(self, state: State) -> int | None:
        """The end of the next window that has something."""
        assert isinstance(state, FrameState)
        if not state.knows:
            state.due = min((self._first_end(state, frame) for frame in state), default=None)
            state.knows = True
        return state.due

    def dues(self, state: State, most: int) -> list[int]:
        """The ends of the next windows that have something."""
        assert isinstance(state, FrameState)
        ends: set[int] = set()
        for first, _, frame in sorted((self._first_end(state, f), place(f), f) for f in state)[:most]:
            ends.update(range(first, min(self._last_end(frame), first + most * self.step) + 1, self.step))
        return sorted(ends)[:most]

    def _first_end(self, state: FrameState, frame: Frame) -> int:
        """The end of the first window still to come that a frame counts for."""
        end: int = frame[1] if isinstance(frame, tuple) else (frame + 1) * self.step
        return end if state.emitted is None else max(end, state.emitted + self.step)

    def _last_end(self, frame: Frame) -> int:
        start = (frame[0] if isinstance(frame, tuple) else frame) * self.step
        return int(start + self.size)

    def on_watermark(self, state: State, watermark: int) -> Iterator[list[Any]]:
        """Emit the windows that end by the watermark, one after the other."""
        assert isinstance(state, FrameState)
        touched: list[Any] = []
        self.last = touched
        due = self.due(state)
        if due is None or due > watermark:
            return
        state.knows = False
        if self.size == self.step:
            yield from self._ended(state, watermark, touched)
        else:
            yield from self._slid(state, watermark, touched)

    def _ended(self, state: FrameState, watermark: int, touched: list[Any]) -> Iterator[TimedItems]:
        """The results of tumbling windows, of many small ones together; what the host has not asked for stays."""
        together: list[Frame] = []
        held = 0
        for frame in sorted(frame for frame in state if self._last_end(frame) <= watermark):
            count = len(state[frame])
            if together and held + count > CHUNK_ITEMS:
                yield self._taken(state, together, touched)
                together, held = [], 0
            if count > CHUNK_ITEMS:
                yield from self._emptied(state, frame, touched)
            else:
                together.append(frame)
                held += count
        if together and (chunk := self._taken(state, together, touched)):
            yield chunk

    def _taken(self, state: FrameState, frames: list[Frame], touched: list[Any]) -> TimedItems:
        """The results of some windows, which leave the state."""
        ended = Ended()
        for frame in frames:
            end = self._last_end(frame)
            ended.add(end - self.size, end, self._final(state.pop(frame)))
            state.changed.pop(frame, None)
            touched.append((frame,))
        return results(self.node, self._folding, ended)

    def _emptied(self, state: FrameState, frame: Frame, touched: list[Any]) -> Iterator[TimedItems]:
        """The results of a tumbling window; what the host has not asked for stays."""
        keys, end = state[frame], self._last_end(frame)
        state.changed.pop(frame, None)
        gone: list[Any] = []
        try:
            while keys:
                part = {key: keys.pop(key) for key in list(islice(keys, CHUNK_ITEMS))}
                gone += [(frame, key) for key in part]
                yield self._results(end, self._final(part))
        finally:
            if keys:
                touched += gone
            else:
                del state[frame]
                touched.append((frame,))

    def _final(self, accs: dict[Any, Any]) -> dict[Any, Any]:
        """The accumulators of tumbling windows that have results."""
        return accs

    def _slid(self, state: FrameState, watermark: int, touched: list[Any]) -> Iterator[TimedItems]:
        """The results of sliding windows, each in one chunk: half of them could not be told from the next window's."""
        inside = state.panes
        if inside is None:
            inside = state.panes = panes(state, self.folder.operation)
        ended = Ended()
        for end in self._moved(state, inside, state.emitted, watermark):
            ended.add(end - self.size, end, self._folded(state, inside, None, touched))
            state.emitted = end
            for frame in self._over(inside, end):
                inside.leave(frame)
                del state[frame]
                state.changed.pop(frame, None)
                touched.append((frame,))
            if len(ended) >= CHUNK_ITEMS:
                yield results(self.node, self._folding, ended)
                ended = Ended()
        if ended:
            yield results(self.node, self._folding, ended)

    def _over(self, inside: Panes, end: int) -> list[Frame]:
        """The frames that are in no window behind one, in order."""
        over = []
        for frame in inside.entered:
            if self._last_end(frame) > end:
                break
            over.append(frame)
        return over

    def _moved(self, state: FrameState, inside: Panes, emitted: int | None, watermark: int) -> Iterator[int]:
        """Let the frames of one window after the other enter, up to a watermark: the ends of those that have any."""
        coming = sorted(
            ((self._first_end(state, frame), place(frame), frame) for frame in state if frame not in inside),
            reverse=True,
        )
        end = emitted
        while inside.entered or coming:
            end = coming[-1][0] if end is None or not inside.entered else end + self.step
            if end > watermark:
                return
            try:
                while coming and coming[-1][0] <= end:
                    inside.enter(coming.pop()[2])
            except FAILURES as error:
                raise self._failure(error) from error
            yield end

    def _folded(
        self, state: FrameState, inside: Panes, keys: Collection[Any] | None, touched: list[Any]
    ) -> dict[Any, Any]:
        """The accumulators of a window; where nothing can be combined its items are folded now."""
        try:
            accs = inside.values(keys)
        except FAILURES as error:
            raise self._failure(error) from error
        if not self.numbering:
            return accs
        out = {}
        for key, numbered in accs.items():
            acc, bad = folded(self._folding, numbered)
            if bad:
                self._leave_out(state, inside, key, partial(kept, bad=bad), touched)
            if len(bad) < len(numbered):
                out[key] = acc
        return out

    def _leave_out(
        self, state: FrameState, inside: Panes, key: Any, without: Callable[[Any], Any], touched: list[Any]
    ) -> None:
        """Let a key's frames forget what was put aside: it must not be met again by the next window."""
        for frame in inside.entered:
            if key in state[frame]:
                state[frame][key] = without(state[frame][key])
                touched.append((frame, key))
        inside.touch([key])

    def _failure(self, error: BaseException) -> BaseException:
        if isinstance(error, ItemError):
            return error
        return stage_error(self.kind, self.name, "combining the frames of a window", error)

    def early(self, state: State) -> Iterator[list[Any]]:
        """The results so far of the windows that are open, of those keys that have changed since the last time."""
        assert isinstance(state, FrameState)
        touched: list[Any] = []
        self.last = touched
        changed = state.changed
        if self.size == self.step:
            for frame in sorted(changed):
                own, accs = self._combining.own, state[frame]
                now = {key: own(accs[key]) for key in changed[frame] if key in accs}
                yield from self._early(self._last_end(frame), self._final(now))
        elif changed:
            inside = panes(state, self.folder.operation)
            for end in self._moved(state, inside, state.emitted, max(map(self._last_end, state))):
                news = set().union(*(changed.get(frame, ()) for frame in inside.entered))
                yield from self._early(end, self._folded(state, inside, news, touched))
                for frame in self._over(inside, end):
                    inside.leave(frame)
            if touched and state.panes is not None:
                state.panes.touch({name[1] for name in touched if name[0] in state.panes})
        state.changed = {}

    def _early(self, end: int, accs: Mapping[Any, Any]) -> Iterator[TimedItems]:
        rest = iter(accs.items())
        while part := dict(islice(rest, CHUNK_ITEMS)):
            yield self._results(end, part, early=True)

    def _results(self, end: int, accs: Mapping[Any, Any], *, early: bool = False) -> TimedItems:
        ended = Ended()
        ended.add(end - self.size, end, accs)
        return results(self.node, self._folding, ended, early=early)

    def entries(self, state: State) -> tuple[Any, Any]:
        """All frames, and what is known of the windows."""
        assert isinstance(state, FrameState)
        return state.entries()

    def changes(self, state: State, touched: list[Any]) -> tuple[Any, ...]:
        """What to store of frames that were changed."""
        assert isinstance(state, FrameState)
        return state.changes(touched)

    def add(self, state: State, keys: Any, values: Any, gone: Any = ()) -> None:
        """Put stored frames back."""
        assert isinstance(state, FrameState)
        state.add(keys, values, gone)

    def records(self, state: State) -> int:
        """How many accumulators there are."""
        assert isinstance(state, FrameState)
        return state.count()
