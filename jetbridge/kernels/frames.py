"""Frames: what windows keep for each span of time, and the splitter that sorts items into them."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from itertools import count, repeat
from typing import TYPE_CHECKING, Any

from jetbridge.kernels.fold import WHOLE, reducing
from jetbridge.kernels.group import GroupSplitter
from jetbridge.kernels.keyed import PLAIN, Keys, Splitter, encode, is_odd
from jetbridge.kernels.keys import canonical, shard_of, shards_of
from jetbridge.kernels.panes import Frame
from jetbridge.times import Behind, TimedItems, in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from jetbridge.kernels.fold import Folder
    from jetbridge.kernels.numbered import Numbered
    from jetbridge.kernels.panes import Panes

Name = tuple[Frame, Any]
"""A frame and a key, which name an accumulator."""
Part = tuple[Frame, list[Any], list[Any]]
"""A frame with keys and their values."""

_MANY = 256
"""How many items of a chunk a frame has on average, at least, for each frame to be reduced by itself."""


class FrameSplitter(Splitter):
    """Reduces items by frame and key, and puts aside those that are late.

    Sends each shard ``(parts, names, values, odd, numbers)``: parts of frames, then
    what was reduced by frame and key together, which is quicker where a chunk has many
    frames. Numbers, where they are asked for, say in which order the items came.

    Args:
        keys: The keys.
        folder: What reduces the items of a frame.
        size: The size of windows, in milliseconds.
        step: That of frames.
        numbering: Whether items are sent one by one, with numbers.
        careful: Whether a chunk may be refused for an item on which a user's function fails.
    """

    def __init__(
        self, keys: Keys, folder: Folder, size: int, step: int, *, numbering: bool = False, careful: bool = False
    ) -> None:
        self.keys = keys
        self.windows = size
        self.step = step
        self.numbering = numbering
        self._reducing: Callable[[Keys], Any] = lambda keys: reducing(keys, folder, careful=careful)
        # Where nothing is combined the items of a key must stay in order, whatever frames come in between.
        self._apart = folder.operation.combine is not None
        self._names = FrameKeys(keys)
        self._reset()

    def _reset(self) -> None:
        self._frames: dict[Frame, Any] = {}
        self._mixed: Any = None
        self._count = count()
        self.size = 0

    def add(self, chunk: list[Any]) -> None:
        """Sort a chunk into its frames."""
        assert isinstance(chunk, TimedItems), f"the items of '{self.keys.name}' have no times"
        times, step = chunk.times, self.step
        if Behind in set(map(type, times)):
            self._mix(*self._without_late(chunk))
        elif not times:
            return
        elif self._mixed is not None or not self._apart or not in_order(times):
            self._mix(chunk, [time // step for time in times])
        elif len(times) >= (times[-1] // step - times[0] // step + 1) * _MANY or times[0] // step == times[-1] // step:
            self._slice(chunk)
        else:
            self._mix(chunk, [time // step for time in times])

    def _slice(self, chunk: TimedItems) -> None:
        """Reduce each frame's items by themselves: neighbours in time share one."""
        times, step = chunk.times, self.step
        at, end = 0, len(times)
        while at < end:
            frame = times[at] // step
            following = end if times[-1] // step == frame else bisect_left(times, (frame + 1) * step, at)
            inner = self._frames.get(frame)
            if inner is None:
                inner = self._frames[frame] = self._reducing(self.keys)
            before = inner.size
            inner.add(list(chunk) if following - at == end else chunk[at:following])
            self.size += inner.size - before
            at = following

    def _mix(self, chunk: list[Any], frames: list[Frame]) -> None:
        """Reduce items by frame and key together; from here on all do, so that what came first stays first."""
        if not chunk:
            return
        if self._mixed is None:
            numbered = GroupSplitter(self._names, keep_times=True) if self.numbering else None
            self._mixed = numbered or self._reducing(self._names)
        before = self._mixed.size
        self._names.frames = frames
        # The numbers travel as times would.
        self._mixed.add(TimedItems(chunk, [next(self._count) for _ in chunk]) if self.numbering else list(chunk))
        self.size += self._mixed.size - before

    def _without_late(self, chunk: TimedItems) -> tuple[list[Any], list[Frame]]:
        """The items for which a window has not ended yet, with their frames."""
        step, size = self.step, self.windows
        kept, frames = [], []
        for item, time in zip(chunk, chunk.times, strict=True):
            frame: Frame = time // step
            if type(time) is Behind:
                first = (time.watermark // step + 1) * step  # the end of the first window that is still open
                if first > frame * step + size:
                    self.late.append(item)
                    continue
                if first > (frame + 1) * step:
                    frame = (frame, first)
            kept.append(item)
            frames.append(frame)
        return kept, frames

    def check(self, chunk: list[Any]) -> None:
        """Whether the keys of a chunk can be keys."""
        if self.keys.key_fn is not None:
            self.keys.check(chunk)

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """The parts of each shard."""
        frames, mixed = self._frames, self._mixed
        self._reset()
        by_shard: dict[int, list[Part]] = defaultdict(list)
        odd: set[int] = set()
        for frame, inner in frames.items():
            keys_and_values = inner.take()
            if self.keys.key_fn is None:
                by_shard[0].append((frame, *keys_and_values))
                continue
            for shard, keys, values, strange in self.keys.dealt(*keys_and_values):
                by_shard[shard].append((frame, keys, values))
                if strange:
                    odd.add(shard)
        if mixed is not None:
            numbers = mixed.times if self.numbering else {}
            for shard, names, values, strange in self._names.dealt(*mixed.take()):
                parts = by_shard.pop(shard, [])
                theirs = [numbers[name] for name in names] if self.numbering else None
                yield shard, encode((parts, names, values, strange or shard in odd, theirs))
        for shard, parts in by_shard.items():
            yield shard, encode((parts, [], [], shard in odd, None))


class FrameKeys(Keys):
    """The keys of items with the frames that they are in, ``(frame, key)``; the shard is that of the key.

    Attributes:
        frames: Those of the items whose keys are asked for next.
    """

    def __init__(self, keys: Keys) -> None:
        super().__init__(keys.kind, keys.name, keys.key_fn or _whole, keys.shards)
        self.single = keys.key_fn is None
        self.frames: Iterable[Frame] = ()

    def of(self, chunk: list[Any]) -> list[Any]:
        """The frames and keys of a chunk's items."""
        keys: Iterable[Any] = repeat(WHOLE, len(chunk)) if self.single else super().of(chunk)
        return list(zip(self.frames, keys, strict=True))

    def home(self, key: Any) -> int:
        """The shard of a frame and key."""
        return 0 if self.single else shard_of(key[1], self.shards)

    def homes(self, keys: list[Any]) -> list[int]:
        """The shards of many."""
        return [0] * len(keys) if self.single else shards_of([key for _, key in keys], self.shards)

    def one(self, key: Any) -> Any:
        """The representative of a frame and key."""
        return key if type(key[1]) in PLAIN else canonical(key)

    def plain(self, keys: list[Any]) -> bool:
        """Whether all keys stand for themselves."""
        return {type(key) for _, key in keys} <= PLAIN

    def odd(self, key: Any) -> bool:
        """Whether a key may be or hold a NaN."""
        return is_odd(key[1])

    def unhashable(self, item: Any, key: Any, error: TypeError) -> Exception:
        """The error for a key that no dict takes."""
        return super().unhashable(item, key[1], error)


def _whole(item: Any) -> None:
    """The key of all items."""


class FrameState(dict[Frame, dict[Any, Any]]):
    """What a shard of a windowed stage holds: for each frame the accumulators of its keys.

    Stored entries are named ``(frame, key)``, and ``(frame,)`` stands for a frame that is gone.

    Args:
        tracking: Whether to know what has changed.

    Attributes:
        emitted: The end of the last windows that were emitted.
        number: How many items have come, where their order is kept.
        due: When there is something to emit, if `knows` says so.
        panes: The frames in the window that was emitted last.
        changed: The keys that have changed in each frame since the last early results.
    """

    __slots__ = ("changed", "due", "emitted", "knows", "number", "panes", "tracking")

    def __init__(self, *, tracking: bool = False) -> None:
        super().__init__()
        self.tracking = tracking
        self.emitted: int | None = None
        self.number = 0
        self.due: int | None = None
        self.knows = True
        self.panes: Panes | None = None
        self.changed: dict[Frame, set[Any]] = {}

    def count(self) -> int:
        """How many accumulators there are."""
        return sum(map(len, self.values()))

    def numbered(self, groups: list[Numbered]) -> list[Numbered]:
        """Items that a splitter has numbered, with numbers behind those of all that came before."""
        base = self.number
        self.number = base + 1 + max(group[-1][0] for group in groups)
        return [[(base + number, item) for number, item in group] for group in groups]

    def entries(self) -> tuple[list[Any], list[Any]]:
        """All of it, as names and values."""
        names = [(frame, key) for frame, keys in self.items() for key in keys]
        values = [value for keys in self.values() for value in keys.values()]
        return [*names, ABOUT], [*values, self._about()]

    def changes(self, touched: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """What to store of entries that were touched: names, values, and the names of those that are gone."""
        names, values, gone = [ABOUT], [self._about()], []
        for name in touched:
            keys = self.get(name[0])
            if len(name) == 1:
                # Where a frame has come again, its entries of now are among those that were touched.
                gone.append(name)
            elif keys is not None:
                if name[1] in keys:
                    names.append(name)
                    values.append(keys[name[1]])
                else:
                    gone.append(name)
        return names, values, gone

    def add(self, names: list[Any], values: list[Any], gone: Any) -> None:
        """Put stored entries back."""
        self.panes, self.knows = None, False
        for name in gone:
            if len(name) == 1:
                self.pop(name[0], None)
                self.changed.pop(name[0], None)
            elif (keys := self.get(name[0])) is not None:
                key = canonical(name[1])
                keys.pop(key, None)
                self.changed.get(name[0], set()).discard(key)
                if not keys:
                    del self[name[0]]
                    self.changed.pop(name[0], None)
        for name, value in zip(names, values, strict=True):
            if name == ABOUT:
                self.emitted, self.number = value
            else:
                key = canonical(name[1])
                self.setdefault(name[0], {})[key] = value
                if self.tracking:  # which windows have given an early result is not known any more
                    self.changed.setdefault(name[0], set()).add(key)

    def _about(self) -> tuple[int | None, int]:
        return self.emitted, self.number


ABOUT = (None, None)
"""The name of the entry that holds what is no accumulator."""

__all__ = ["ABOUT", "WHOLE", "Frame", "FrameSplitter", "FrameState", "Name"]
