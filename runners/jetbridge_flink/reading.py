"""Sources as splittable DoFns: a partition is an element, and where it stands is its restriction.

The partitions of a stream with times are one element, since its watermark is
theirs together, and one that is idle must not hold the others back.

The restriction holds what a replay must find again: the offset, and the numbers
of the chunks that went to sinks, so that the same chunk is known when it comes twice.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from apache_beam import coders
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.transforms.core import RestrictionProvider

from jetbridge.connectors import fingerprints
from jetbridge.connectors.base import Source, SplittableSource
from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.store import values
from jetbridge.times import cut

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST_ITEMS = 16
MOST_ITEMS = 1 << 18
SLICE_SECONDS = 0.05


@dataclass(frozen=True)
class Position:
    """How far a partition was read, and what came of it.

    Attributes:
        offset: Where reading goes on.
        ended: Whether all was read.
        run: The run in which the counts and sequences count.
        version: How often the position has moved.
        counts: What each stage of the segment received and emitted.
        sequences: The number of the next chunk for each sink, by name.
        newest: The newest time that each stage with timestamps has given.
        kept: What tells whether that which was read is still there; see `jetbridge.connectors.fingerprints`. It may
            be of an offset before this one, since it is not taken for each slice.
    """

    offset: Any
    ended: bool = False
    run: str = ""
    version: int = 0
    counts: dict[str, list[int]] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    kept: list[Any] | None = None

    def encoded(self) -> bytes:
        """As plain bytes."""
        place = (self.offset, self.ended, self.run, self.version)
        return values.encode((*place, self.counts, self.sequences, self.newest, self.kept))

    @staticmethod
    def decoded(data: bytes) -> Position:
        """The position out of `encoded`."""
        return Position(*values.decode(data))

    def in_run(self, run: str) -> Position:
        """The position for a run: a job that starts from another's snapshot counts for itself."""
        return self if self.run == run else replace(self, run=run, version=0, counts={}, sequences={})


class Parts(dict[str, Position]):
    """Where each partition of an element stands."""

    def encoded(self) -> bytes:
        """As plain bytes."""
        return values.encode({name: position.encoded() for name, position in self.items()})

    @staticmethod
    def decoded(data: bytes) -> Parts:
        """The parts out of `encoded`."""
        return Parts({name: Position.decoded(position) for name, position in values.decode(data).items()})

    def in_run(self, run: str) -> Parts:
        """The parts for a run; see `Position.in_run`."""
        return Parts({name: position.in_run(run) for name, position in self.items()})

    @property
    def ended(self) -> bool:
        """Whether all was read."""
        return all(position.ended for position in self.values())


BEGIN = b""
"""Claimed before a slice; a position is claimed behind it."""


class PositionTracker(RestrictionTracker):
    """The tracker of an element's partitions: they can be left between two slices, not inside one."""

    def __init__(self, restriction: bytes) -> None:
        self._current = restriction
        self._inside = False
        self._split = False

    def current_restriction(self) -> bytes:
        """Where the partition stands, encoded."""
        return self._current

    def current_progress(self) -> RestrictionProgress:
        """Unknown: sources tell their progress to the job's figures."""
        return RestrictionProgress(fraction=0.0)

    def try_claim(self, position: bytes) -> bool:
        """Begin a slice with `BEGIN`, and end it with the position behind it."""
        if self._split:
            return False
        self._inside = position == BEGIN
        if not self._inside:
            self._current = position
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[bytes, bytes] | None:
        """Leave the rest for later; not while a slice is on its way."""
        if self._inside or self._split:
            return None
        self._split = True
        return self._current, self._current

    def check_done(self) -> bool:
        """Whether the partition has ended or its rest was left for later."""
        if not self._split and not Parts.decoded(self._current).ended:
            raise ValueError("a partition was left in the middle")
        return True

    def is_bounded(self) -> bool:
        """Whether it ends: of no consequence here, since jobs run in streaming mode."""
        return True


class PositionProvider(RestrictionProvider):
    """Makes restrictions of elements ``(name, encoded parts)``."""

    def initial_restriction(self, element: tuple[str, bytes]) -> bytes:
        """Where a fresh start begins."""
        return element[1]

    def create_tracker(self, restriction: bytes) -> PositionTracker:
        """A tracker."""
        return PositionTracker(restriction)

    def restriction_coder(self) -> coders.Coder:
        """Plain bytes, so that a savepoint holds no pickled classes."""
        return coders.BytesCoder()

    def restriction_size(self, element: Any, restriction: bytes) -> int:
        """Unknown."""
        return 1

    def truncate(self, element: Any, restriction: bytes) -> None:
        """Nothing is left when a pipeline is drained."""
        return None


class Slices:
    """Reads one partition slice by slice, each as large as fits into a moment."""

    def __init__(self, source: Source, partition: str) -> None:
        self.source = source
        self.partition = partition
        self.limit = FIRST_ITEMS
        self.heard = time.monotonic()  # when an item came last

    def check(self, position: Position) -> None:
        """Refuse a source that has become shorter or another one than it was when it was read.

        Raises:
            SnapshotError: When it has.
        """
        if not position.ended:
            fingerprints.refuse_changed(self.source, self.partition, position.offset, position.kept)

    def kept(self, position: Position) -> Position:
        """A position with what tells later whether that which was read is still there."""
        if position.ended:
            return replace(position, kept=None)
        return replace(position, kept=fingerprints.kept(self.source, self.partition, position.offset, position.kept))

    def ready(self, offset: Any) -> bool:
        """Whether there is anything to read; always so where only reading tells."""
        source = self.source
        if source.bounded or not isinstance(source, SplittableSource):
            return True
        return bool(source.split(self.partition, offset, 1) != offset)

    def read(self, offset: Any) -> tuple[Iterator[list[Any]], Any]:
        """The next slice as chunks, and the offset behind it; None is the end."""
        source, name = self.source, self.partition
        if isinstance(source, SplittableSource) and source.splittable(name):
            end = source.split(name, offset, self.limit)
            return iter(source.read_range(name, offset, end)), end
        items, end = source.read(name, offset, self.limit)
        return cut(items, CHUNK_ITEMS), end

    def took(self, count: int, started: float) -> None:
        """Adapt to how long a slice of some items took."""
        if count:
            self.heard = time.monotonic()
            factor = min(max(SLICE_SECONDS / max(time.monotonic() - started, 1e-6), 0.25), 8.0)
            self.limit = max(FIRST_ITEMS, min(int(self.limit * factor), MOST_ITEMS))
