"""The two base classes of every source and sink, for jetbridge's own connectors and for yours.

A **source** is replayable: it has partitions, and reading a partition from an
offset gives the same items each time. The offset is the source's own: an index,
a byte position, a key; None says that a bounded partition has ended. A **sink**
takes numbered chunks, so that it can tell a repetition from news.

`Source` and `Sink` each have a complete example. Run ``check_source`` and ``check_sink`` of
`jetbridge.connectors.conformance` on yours.
"""

from __future__ import annotations

import abc
import pickle
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.connectors.chunks import BadItem, SinkChunk
from jetbridge.connectors.context import ConnectorContext

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["BadItem", "ConnectorContext", "Offset", "Sink", "SinkChunk", "Source", "SplittableSource"]

Offset = Any  # a picklable value that only the source understands


class Source(abc.ABC):
    """Where items come from: partitions that can be read again from any offset.

    An instance is pickled with the pipeline and opened once in every process
    that reads, so open files and connections belong in ``open``, not ``__init__``.

    Example:
        >>> from jetbridge import Pipeline, testing
        >>> from jetbridge.connectors import Source
        >>> class Squares(Source):
        ...     def __init__(self, count):
        ...         super().__init__(name="squares")
        ...         self.count = count
        ...     def partitions(self):
        ...         return ["0"]
        ...     def start(self, partition):
        ...         return 0
        ...     def read(self, partition, offset, limit):
        ...         end = min(offset + limit, self.count)
        ...         return [n * n for n in range(offset, end)], end if end < self.count else None
        >>> testing.run_kernels(Pipeline.create().read_from(Squares(4)))
        [0, 1, 4, 9]

    Attributes:
        name: The default name of the stage; by habit that of the structure.
        kind: What sort of structure it is ("list", "csv"); name and kind
            together say whether a snapshot's offset belongs to this source.
        bounded: False for a stream.
        has_times: Whether it reads `jetbridge.times.TimedItems`, for ``with_native_timestamps``.
    """

    kind: ClassVar[str] = "source"
    bounded: ClassVar[bool] = True
    has_times: ClassVar[bool] = False

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} '{getattr(self, 'name', '')}'>"

    def check(self) -> None:
        """Fail early: called in the client before the job starts.

        Raises:
            SourceError: When it is clear already that nothing can be read.
        """

    def submitted(self, home: str) -> None:
        """Called in the client at each submit, for what is to be fixed then, such as "from now on".

        Args:
            home: The data folder's path.
        """

    def open(self, context: ConnectorContext) -> None:
        """Called once in each process before anything is read there.

        Args:
            context: What is known of the run.
        """
        self.context = context

    @abc.abstractmethod
    def partitions(self) -> Sequence[str]:
        """The partitions' names, in a fixed order; the order of items is kept within one."""

    def start(self, partition: str) -> Offset:
        """The offset of a fresh start.

        Args:
            partition: One of ``partitions()``; so it is in the other methods.
        """
        return None

    @abc.abstractmethod
    def read(self, partition: str, offset: Offset, limit: int) -> tuple[list[Any], Offset | None]:
        """Read on from an offset.

        Args:
            partition: One of ``partitions()``.
            offset: What ``start`` or the last ``read`` returned.
            limit: About how many items are wanted; a few more or fewer do no harm.

        Returns:
            The items and the offset after them; None as that offset says that
            a bounded partition has ended. A stream that has nothing new returns
            no items and the offset it was given.
        """

    def size(self, partition: str) -> int | None:
        """How much there is to read, in units of one's own, for progress bars; None if unknown.

        Args:
            partition: The partition.
        """
        return None

    def position(self, partition: str, offset: Offset) -> int | None:
        """How much of ``size`` lies before an offset.

        Args:
            partition: The partition.
            offset: The offset, which is never None.
        """
        return None

    def location(self) -> str | None:
        """Where it reads, if ``name`` does not say it all: a snapshot's offset belongs to a source of that location."""
        return None

    def fingerprint(self, partition: str, offset: Offset) -> Any | None:
        """What tells later whether that which lies before an offset is still what was read; None if nothing does.

        It is kept with the offset, and `changed` compares it before reading goes on; both also without ``open``.

        Args:
            partition: The partition.
            offset: The offset, which is never None.

        Returns:
            A small plain value, such as a hash of the first and the last of it.
        """
        return None

    def changed(self, partition: str, offset: Offset, fingerprint: Any) -> str | None:
        """In words, what has become of that which lies before an offset; None if it is as it was.

        Args:
            partition: The partition.
            offset: Where the fingerprint was taken, which may be before the offset where reading goes on.
            fingerprint: What `fingerprint` returned then.
        """
        return None if self.fingerprint(partition, offset) == fingerprint else "what was read is not as it was"

    def watermark(self, partition: str, offset: Offset) -> int | None:
        """For a source with times: the time before which nothing comes behind an offset any more, if it knows one.

        Args:
            partition: The partition.
            offset: The offset.

        Returns:
            That time in milliseconds since 1970, or None.
        """
        return None

    def at_end(self, partition: str) -> Offset | None:
        """The offset behind the last item, if a later start may find more there; None if an end is an end.

        Args:
            partition: The partition, which was read to its end.
        """
        return None

    def newest(self, partition: str) -> int | None:
        """For a stream: the position that the next item will have, in units of `position`, to tell the lag.

        Args:
            partition: The partition.
        """
        return None

    def close(self) -> None:
        """Called once in each process at the end, also after a failure."""


class SplittableSource(Source):
    """A source whose partitions can be cut into ranges without reading them, so that all cores read at once.

    Example:
        >>> from jetbridge import Pipeline, testing
        >>> from jetbridge.connectors import SplittableSource
        >>> class Numbers(SplittableSource):
        ...     def partitions(self):
        ...         return ["0"]
        ...     def start(self, partition):
        ...         return 0
        ...     def split(self, partition, offset, limit):
        ...         return offset + limit if offset + limit < 10 else None
        ...     def read_range(self, partition, start, end):
        ...         yield list(range(start, 10 if end is None else end))
        >>> testing.run_kernels(Pipeline.create().read_from(Numbers("numbers")), chunk=4)
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    @abc.abstractmethod
    def split(self, partition: str, offset: Offset, limit: int) -> Offset | None:
        """The end of a range that starts at ``offset`` and holds about ``limit`` items.

        Args:
            partition: The partition.
            offset: Where the range starts.
            limit: About how many items it should hold.

        Returns:
            An offset for ``read_range`` and the next ``split``, or None when
            the range that starts at ``offset`` is the last one of the partition.
        """

    @abc.abstractmethod
    def read_range(self, partition: str, start: Offset, end: Offset | None) -> Iterator[list[Any]]:
        """The items between two offsets as chunks of a few thousand.

        Args:
            partition: The partition.
            start: Where the range starts.
            end: Where it ends; None for the partition's end.
        """

    def splittable(self, partition: str) -> bool:
        """Whether this partition can be cut: where it is False only ``read`` is called (a compressed file).

        Args:
            partition: The partition.
        """
        return True

    def read(self, partition: str, offset: Offset, limit: int) -> tuple[list[Any], Offset | None]:
        """Read one range; see `Source.read`."""
        end = self.split(partition, offset, limit)
        return [item for chunk in self.read_range(partition, offset, end) for item in chunk], end


class Sink(abc.ABC):
    """Where items go.

    ``prepare`` runs beside the user's functions, on any core, and is pure; the
    other methods are called by one process, in order, except for a `volatile`
    sink on Flink, which every worker opens and writes.

    With EXACTLY_ONCE, chunks arrive only after the commit that holds them, so
    what a failed epoch produced is never written; those of a `staged` sink come
    before it, and are cut back after a failure. With less they may come earlier,
    and may come again as other ones.

    Example:
        >>> from jetbridge.connectors import Sink, SinkChunk
        >>> class Printer(Sink):
        ...     def write(self, chunk):
        ...         print(chunk.shard, chunk.sequence, chunk.items())
        >>> sink = Printer("printer")
        >>> sink.write(SinkChunk("run", "printer", shard="0", sequence=7, count=2, payload=sink.prepare(["a", "b"])))
        0 7 ['a', 'b']
    """

    kind: ClassVar[str] = "sink"
    staged: ClassVar[bool] = False
    """True for a sink that can cut back what it has written: see `position`. Its chunks are written before the
    commit, so that they need not be kept a second time; those of other sinks are written after it."""

    volatile: ClassVar[bool] = False
    """True for a sink whose chunks are not worth keeping until they are known to be written, such as a log."""

    remembers: ClassVar[bool] = False
    """True for a sink that, with EXACTLY_ONCE, keeps outside what it has written, and forgets it in `close`: that
    is then also called for a run whose process is gone."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} '{getattr(self, 'name', '')}'>"

    @property
    def identity(self) -> str | None:
        """What must not be written twice by one pipeline; None when that does no harm."""
        return f"{self.kind}:{self.name}"

    def check(self) -> None:
        """Fail early: called in the client before the job starts.

        Raises:
            SinkError: When it is clear already that nothing can be written.
        """

    def check_stream(self) -> None:
        """Called instead of ``check`` when the job is a stream.

        Raises:
            SinkError: As ``check`` does.
        """
        self.check()

    def prepare(self, items: list[Any]) -> bytes:
        """Turn items into the bytes of a chunk.

        Args:
            items: The items, at least one.

        Raises:
            BadItem: For an item that this sink cannot take.
        """
        return pickle.dumps(items, protocol=5)

    def open(self, context: ConnectorContext) -> None:
        """Called once in the writing process before the first chunk, at each start of the job.

        Args:
            context: What is known of the run.
        """
        self.context = context

    @abc.abstractmethod
    def write(self, chunk: SinkChunk) -> None:
        """Write a chunk.

        Args:
            chunk: The chunk; after a crash the last ones may come again, with the same numbers.
        """

    def flush(self) -> None:
        """Make what was written durable: called after the chunks of each commit."""

    def position(self) -> Any:
        """For a staged sink: make what was written durable, and say how much that is, as a plain value.

        The commit keeps it. What is written later is cut off by `reopen` when
        that commit turns out to be the last one.
        """
        return None

    def due(self) -> bool:
        """For a staged sink of a stream: whether something waits to become visible.

        True asks for a commit soon, even when no items come, and for one that is
        durable: what `committed` lets others see must not be lost again.
        """
        return False

    def committed(self, position: Any) -> None:
        """For a staged sink: a commit holds what was written, and a stream's sink makes it visible now.

        Args:
            position: What `position` returned before the commit; None in a job that keeps no positions.
        """

    def reopen(self, context: ConnectorContext, position: Any) -> None:
        """For a staged sink, instead of `open`: go on where a run stood.

        Args:
            context: As for `open`; the run is that of the commit.
            position: What `position` returned then.
        """
        self.open(context)

    def pause(self) -> None:
        """Called instead of `close` when `reopen` may follow, here or elsewhere: keep what is staged."""
        self.close()

    def complete(self) -> None:
        """The job has completed: publish what is staged. Called again after a crash right behind it."""

    def close(self) -> None:
        """Called once at the end, also after a failure, when ``complete`` was not called.

        A staged sink then drops what it staged; that of a stream first makes visible what was committed. To
        do so for a run whose process is gone, `reopen` at its position and close.
        """
