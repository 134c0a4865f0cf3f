"""What travels to the stage that writes: numbered chunks for sinks, and how far each part of the job is."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, NamedTuple

from jetbridge.connectors.base import SinkChunk
from jetbridge.kernels.segment import add_counts
from jetbridge.times import END

if TYPE_CHECKING:
    from jetbridge.connectors.base import Source
    from jetbridge.kernels.segment import Counts
    from jetbridge_flink.reading import Position

CHUNK, FIGURES = 0, 1


class Figures(NamedTuple):
    """How far a part of a job is.

    Attributes:
        run: The run's id.
        place: Which part: a root stage, and its partition or shard.
        version: Grows with each change.
        body: The counts of the stages, and for a partition its offset and whether it has ended.
    """

    run: str
    place: str
    version: int
    body: dict[str, Any]


def chunk(run: str, stage: str, shard: str, sequence: int, count: int, payload: bytes) -> tuple[int, bytes]:
    """A pair for the stage that writes: a sink's chunk."""
    return CHUNK, pickle.dumps((run, stage, shard, sequence, count, payload), protocol=5)


def figures(run: str, place: str, version: int, body: dict[str, Any]) -> tuple[int, bytes]:
    """A pair for the stage that writes: figures."""
    return FIGURES, pickle.dumps((run, place, version, body), protocol=5)


def whole(source: str) -> str:
    """The place of what is told of a source as a whole; its partitions' names are not empty."""
    return f"{source}/"


def watermark(run: str, source: str, time: int, *, ended: bool) -> tuple[int, bytes]:
    """A pair for the stage that writes: how far event time is in a stream, which never goes back."""
    return figures(run, whole(source), END if ended else time, {"counts": {}, "ended": ended, "watermark": time})


def partition_figures(source: Source, partition: str, place: str, position: Position) -> tuple[int, bytes]:
    """How far a partition is, for the stage that writes."""
    size = source.size(partition)
    at = size if position.ended else source.position(partition, position.offset)
    offset = source.at_end(partition) if position.ended else position.offset
    body = {
        "counts": position.counts,
        "offset": offset,
        "ended": position.ended,
        "kept": position.kept,
        "position": at,
        "size": size,
        "newest": None if source.bounded else source.newest(partition),
    }
    return figures(position.run, place, position.version, body)


def no_figures(run: str, place: str) -> tuple[int, bytes]:
    """The figures of a source without partitions: it has ended."""
    return figures(run, place, 1, {"counts": {}, "ended": True})


def opened(pair: tuple[int, bytes]) -> SinkChunk | Figures:
    """What is in a pair."""
    kind, data = pair
    return SinkChunk(*pickle.loads(data)) if kind == CHUNK else Figures(*pickle.loads(data))


def added(counts: Counts, new: Counts) -> Counts:
    """The sum of two counts."""
    total: Counts = {}
    for each in (counts, new):
        add_counts(total, each)
    return total
