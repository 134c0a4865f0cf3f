"""Reading sources by slices: in this process, or ahead of need in the pool.

A slice is about a tenth of a second of work. Its size follows the measured
speed, so that an epoch can end soon after its time is over, whatever an item costs.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jetbridge.connectors import fingerprints
from jetbridge.connectors.base import Source, SplittableSource
from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.times import BEGINNING, Clock, cut, of_partitions
from jetbridge_direct.blame import blaming_source

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from jetbridge.kernels.segment import Counts, Emission, SegmentKernel
    from jetbridge.plan.ends import SourceNode
    from jetbridge_direct.pool import Pool, Task

SLICE_SECONDS = 0.1
FIRST_ITEMS = 16
MOST_ITEMS = 1 << 20


@dataclass
class Progress:
    """How far a partition is.

    Attributes:
        partition: Its name.
        offset: Where the next slice starts; what an epoch commits.
        ended: Whether all of it was read.
        issued: Like ``offset``, of the slices that were sent to the pool.
        all_issued: Like ``ended``, likewise.
        ahead: What `Source.read` gave when it was asked whether there is anything.
        clock: How far its event time is.
        heard: When an item came last, by the monotonic clock.
        kept: What tells whether that which was read is still there; see `jetbridge.connectors.fingerprints`.
    """

    partition: str
    offset: Any
    ended: bool = False
    issued: Any = None
    all_issued: bool = False
    ahead: tuple[list[Any], Any] | None = None
    clock: Clock = field(default_factory=Clock)
    heard: float = field(default_factory=time.monotonic)
    kept: list[Any] | None = None


@dataclass(frozen=True)
class SliceSpec:
    """The description of a slice, as it travels to the pool.

    Attributes:
        node_id: The source stage.
        partition: The partition.
        start: Where it starts.
        end: Where it ends.
        limit: For a partition that cannot be cut: about how many items to read,
            going on where the process stands when ``follows``.
    """

    node_id: int
    partition: str
    start: Any
    end: Any
    limit: int | None = None
    follows: bool = False


class SourceReader:
    """Reads one source for the epochs of a job."""

    def __init__(self, node: SourceNode, kernel: SegmentKernel) -> None:
        self.node = node
        self.kernel = kernel
        self._idle = min((stamp.node.idle for stamp in kernel.stamps), default=0) / 1000
        self._watermark = BEGINNING
        self.source: Source = node.source
        self.limit = FIRST_ITEMS
        self.progress: list[Progress] = []
        self._flying: deque[tuple[Task, Progress]] = deque()
        self._positions: dict[str, Any] = {}
        self._parallelism = kernel.segment.parallelism

    def begin(self, known: dict[str, list[Any]]) -> None:
        """Fix where each partition starts.

        Args:
            known: The partitions of an earlier start, as `offsets` gave them; then there are no others.
        """
        with blaming_source(self.node):
            for name in known or self.source.partitions():
                offset, ended, *more = known[name] if known else (self.source.start(name), False)
                if ended and (end := self.source.at_end(name)) is not None:
                    ended = offset == end  # it may hold more by now
                newest, kept = (*more, None, None)[:2]
                clock = Clock(newest or {})
                if not ended:
                    fingerprints.refuse_changed(self.source, name, offset, kept)
                progress = Progress(name, offset, ended, issued=offset, all_issued=ended, clock=clock, kept=kept)
                self.progress.append(progress)

    def offsets(self) -> dict[str, list[Any]]:
        """Where each partition stands, for the checkpoint."""
        known = {}
        for progress in self.progress:
            name = progress.partition
            progress.clock.advance(self._watermark, self.kernel.lags)
            with blaming_source(self.node):
                offset = self.source.at_end(name) if progress.ended else progress.offset
                if not progress.ended:
                    progress.kept = fingerprints.kept(self.source, name, offset, progress.kept)
            known[name] = [offset, progress.ended, dict(progress.clock.newest)]
            if progress.kept is not None and not progress.ended:
                known[name].append(progress.kept)
        return known

    def watermark(self) -> int:
        """How far event time is in all of it: the least of its partitions' watermarks.

        One that was idle for long is left out, and comes back at the watermark of the others.
        """
        if not self.has_watermark:
            return BEGINNING
        lags = self.kernel.lags
        marks = [(progress.clock.watermark(lags), progress.heard) for progress in self.progress if not progress.ended]
        self._watermark = of_partitions(marks, time.monotonic() - self._idle, self._watermark)
        return self._watermark

    @property
    def has_watermark(self) -> bool:
        """Whether it is a stream with timestamps."""
        return self.endless and bool(self.kernel.lags)

    @property
    def endless(self) -> bool:
        """Whether the source is a stream."""
        return not self.source.bounded

    @property
    def local(self) -> bool:
        """Whether only this process can read it.

        A stream that cannot be cut into ranges, or one with times: what is late depends on all that came before.
        """
        return self.endless and (not isinstance(self.source, SplittableSource) or bool(self.kernel.stamps))

    def ready(self) -> bool:
        """Whether there is something to read now."""
        return bool(self._flying) or any(self._has_more(progress) for progress in self.progress)

    def _has_more(self, progress: Progress) -> bool:
        if progress.ended or not self.endless:
            return not progress.ended
        with blaming_source(self.node):
            if isinstance(self.source, SplittableSource):
                return bool(self.source.split(progress.partition, progress.offset, 1) != progress.offset)
            if progress.ahead is None:
                items, following = self.source.read(progress.partition, progress.offset, self.limit)
                progress.ahead = (items, following) if items or following != progress.offset else None
        return progress.ahead is not None

    @property
    def ended(self) -> bool:
        """Whether all partitions have ended."""
        return all(progress.ended for progress in self.progress)

    def position(self) -> tuple[int, int] | None:
        """How much was read and how much there is, or None where the source cannot say."""
        read = total = 0
        for progress in self.progress:
            size = self.source.size(progress.partition)
            at = size if progress.ended else self.source.position(progress.partition, progress.offset)
            if size is None or at is None:
                return None
            read += min(at, size)
            total += size
        return read, total

    def lag(self) -> int | None:
        """For a stream: how many items were published and not read, or None where the source cannot say."""
        lag = 0
        for progress in self.progress:
            if progress.ended:
                continue
            newest = self.source.newest(progress.partition)
            at = self.source.position(progress.partition, progress.offset)
            if newest is None or at is None:
                return None
            lag += max(0, newest - at)
        return lag

    def read(self, kernel: SegmentKernel) -> Iterator[Emission | None]:
        """Read slices here; None marks the end of each, where an epoch may end."""
        found = True
        while found:
            found = False
            for progress in self.progress:
                while self._has_more(progress):
                    started = time.monotonic()
                    progress.clock.advance(self._watermark, kernel.lags)
                    kernel.at(progress.clock)
                    end, count = yield from self._slice(progress, kernel)
                    progress.offset, progress.ended = end, end is None
                    self._adapt(count, time.monotonic() - started)
                    progress.heard = time.monotonic() if count else progress.heard
                    own = None if end is None else self.source.watermark(progress.partition, end)
                    if own is not None:
                        progress.clock.advance(own, kernel.lags)
                    found = True
                    yield None
                    if self.endless:
                        break  # the partitions of a stream take turns

    def _slice(self, progress: Progress, kernel: SegmentKernel) -> Generator[Emission, None, tuple[Any, int]]:
        source, name = self.source, progress.partition
        count = 0
        with blaming_source(self.node):
            if isinstance(source, SplittableSource) and source.splittable(name):
                end = source.split(name, progress.offset, self.limit)
                for chunk in source.read_range(name, progress.offset, end):
                    count += len(chunk)
                    yield from kernel.feed(chunk)
            else:
                items, end = progress.ahead or source.read(name, progress.offset, self.limit)
                progress.ahead = None
                count = len(items)
                for chunk in cut(items, CHUNK_ITEMS):
                    yield from kernel.feed(chunk)
        return end, count

    def read_ahead(self, pool: Pool) -> Iterator[Emission | Counts | None]:
        """Take slices from the pool in order, and keep it supplied; counts come before each None."""
        most = min(self._parallelism or pool.size, pool.size)
        while True:
            while len(self._flying) < 2 * most + 1 and self._issue(pool, most):
                pass
            if not self._flying:
                return
            task, progress = self._flying[0]
            while (emission := pool.next(task)) is not None:
                yield emission
            self._flying.popleft()
            end, count, seconds, counts = task.result
            if not progress.ended:
                progress.offset, progress.ended = end, end is None
            self._adapt(count, seconds)
            yield counts
            yield None

    def _issue(self, pool: Pool, most: int) -> bool:
        """Send one more slice to one of the pool's first processes; False when there is none."""
        source, node_id = self.source, self.node.id
        for index, progress in enumerate(self.progress):
            name = progress.partition
            if progress.ended or progress.all_issued:
                continue
            if isinstance(source, SplittableSource) and source.splittable(name):
                with blaming_source(self.node):
                    end = source.split(name, progress.issued, self.limit)
                if end is not None and end == progress.issued:
                    continue  # nothing new
                task = pool.submit(SliceSpec(node_id, name, progress.issued, end), most=most)
                progress.issued, progress.all_issued = end, end is None
            else:
                # Only the process that reads it knows where the next slice starts.
                flying = [task for task, other in self._flying if other is progress]
                if len(flying) >= 2:
                    continue
                spec = SliceSpec(node_id, name, progress.offset, None, self.limit, follows=bool(flying))
                task = pool.submit(spec, index % most)
            self._flying.append((task, progress))
            return True
        return False

    def work(self, spec: SliceSpec, kernel: SegmentKernel) -> Generator[Emission, None, Any]:
        """Read a slice in a process of the pool."""
        started = time.monotonic()
        count = 0
        end = spec.end
        with blaming_source(self.node):
            if spec.limit is None:
                assert isinstance(self.source, SplittableSource)
                for chunk in self.source.read_range(spec.partition, spec.start, spec.end):
                    count += len(chunk)
                    yield from kernel.feed(chunk)
            else:
                start = self._positions[spec.partition] if spec.follows else spec.start
                if not (spec.follows and start is None):
                    items, end = self.source.read(spec.partition, start, spec.limit)
                    self._positions[spec.partition] = end
                    count = len(items)
                    for chunk in cut(items, CHUNK_ITEMS):
                        yield from kernel.feed(chunk)
        yield from kernel.flush()
        return end, count, time.monotonic() - started, kernel.take_counts()

    def _adapt(self, count: int, seconds: float) -> None:
        if count:
            factor = min(max(SLICE_SECONDS / max(seconds, 1e-6), 0.25), 8.0)
            self.limit = max(FIRST_ITEMS, min(int(self.limit * factor), MOST_ITEMS))
