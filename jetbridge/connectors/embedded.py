"""Sources and sinks that are structures of the embedded store: lists, maps and streams of the data folder."""

from __future__ import annotations

import abc
import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.checks import flag
from jetbridge.connectors.base import BadItem, ConnectorContext, Sink, SinkChunk, Source, SplittableSource
from jetbridge.connectors.memory import checked_name
from jetbridge.errors import KeyTypeError, PipelineError, StoreError
from jetbridge.store import lists, maps, streams, structures, values
from jetbridge.store.database import Database
from jetbridge.store.faults import mapped

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

STREAM_ITEMS = 4096
_LOGGER = logging.getLogger("jetbridge")


class ListSource(SplittableSource):
    """A batch source of a stored list's items, in their order.

    It reads what the list holds when the job starts; what is added later is
    left to a later run. A list that nobody has written is empty; `JetService.submit` warns of it.

    Example:
        >>> from jetbridge import ListSource
        >>> ListSource("my-list").name
        'my-list'

    Args:
        name: The list's name.
    """

    kind: ClassVar[str] = "list"

    def __init__(self, name: str) -> None:
        super().__init__(checked_name("list", name))

    def submitted(self, home: str) -> None:
        """Warn of a name that means nothing yet."""
        _warn_if_missing("list", self.name, home)

    def open(self, context: ConnectorContext) -> None:
        """Open the data folder."""
        super().open(context)
        self._db = Database.open(Path(context.home))

    def partitions(self) -> Sequence[str]:
        """One."""
        return ["0"]

    def start(self, partition: str) -> tuple[int, int]:
        """The first index and the end, which is fixed now."""
        return 0, lists.size(self._db.reader(), self.name)

    def split(self, partition: str, offset: tuple[int, int], limit: int) -> tuple[int, int] | None:
        """The index ``limit`` items on."""
        at, end = offset
        return (at + limit, end) if at + limit < end else None

    def read_range(self, partition: str, start: tuple[int, int], end: tuple[int, int] | None) -> Iterator[list[Any]]:
        """The items between two indexes."""
        return lists.read(self._db.reader(), self.name, start[0], start[1] if end is None else end[0])

    def size(self, partition: str) -> int | None:
        """The number of items."""
        return lists.size(self._db.reader(), self.name)

    def position(self, partition: str, offset: tuple[int, int]) -> int:
        """The index."""
        return offset[0]

    def close(self) -> None:
        """Close the data folder."""
        self._db.close()


class MapSource(Source):
    """A batch source of a stored map's entries, as ``(key, value)``, in pages by key."""

    kind: ClassVar[str] = "map"

    def __init__(self, name: str) -> None:
        super().__init__(checked_name("map", name))

    def submitted(self, home: str) -> None:
        """Warn of a name that means nothing yet."""
        _warn_if_missing("map", self.name, home)

    def open(self, context: ConnectorContext) -> None:
        """Open the data folder."""
        super().open(context)
        self._db = Database.open(Path(context.home))

    def partitions(self) -> Sequence[str]:
        """One."""
        return ["0"]

    def start(self, partition: str) -> tuple[bytes | None, int]:
        """Before the first key; the second part counts entries, for progress."""
        return None, 0

    def read(
        self, partition: str, offset: tuple[bytes | None, int], limit: int
    ) -> tuple[list[Any], tuple[bytes | None, int] | None]:
        """A page of entries."""
        after, count = offset
        entries, last = maps.read_page(self._db.reader(), self.name, after, limit)
        return list(entries), None if last is None or len(entries) < limit else (last, count + len(entries))

    def size(self, partition: str) -> int | None:
        """The number of entries."""
        return maps.size(self._db.reader(), self.name)

    def position(self, partition: str, offset: tuple[bytes | None, int]) -> int:
        """The number of entries read."""
        return offset[1]

    def close(self) -> None:
        """Close the data folder."""
        self._db.close()


class StreamSource(SplittableSource):
    """A source of a stored stream's items, which never ends. Offsets are sequence numbers.

    Its native times are those at which the items were published.

    Example:
        >>> from jetbridge import StreamSource
        >>> StreamSource("events", initial_position="latest").name
        'events'

    Args:
        name: The stream's name.
        initial_position: ``"earliest"`` for all that is stored, ``"latest"``
            for what is published from the submit on.

    Raises:
        PipelineError: For another position.
    """

    kind: ClassVar[str] = "stream"
    bounded: ClassVar[bool] = False
    has_times: ClassVar[bool] = True

    def __init__(self, name: str, initial_position: str = "earliest") -> None:
        super().__init__(checked_name("stream", name))
        if initial_position not in ("earliest", "latest"):
            raise PipelineError(
                f"stream '{name}': initial_position must be 'earliest' or 'latest'; got {initial_position!r}"
            )
        self.initial_position = initial_position
        self._latest: int | None = None

    def submitted(self, home: str) -> None:
        """Fix what ``"latest"`` means."""
        if self.initial_position == "latest":
            with contextlib.closing(Database.open(Path(home))) as db:
                self._latest = streams.tail(db.reader(), self.name)

    def open(self, context: ConnectorContext) -> None:
        """Open the data folder."""
        super().open(context)
        self._db = Database.open(Path(context.home))

    def partitions(self) -> Sequence[str]:
        """One."""
        return ["0"]

    def start(self, partition: str) -> int:
        """The first sequence number to read."""
        if self.initial_position == "earliest":
            return 0
        return streams.tail(self._db.reader(), self.name) if self._latest is None else self._latest

    def split(self, partition: str, offset: int, limit: int) -> int:
        """A number ``limit`` items on, as far as there are any; ``offset`` itself when there is nothing new."""
        return max(offset, min(offset + limit, streams.tail(self._db.reader(), self.name)))

    def read_range(self, partition: str, start: int, end: int | None) -> Iterator[list[Any]]:
        """The items between two numbers."""
        at = start
        while end is None or at < end:
            items, following = streams.read(self._db.reader(), self.name, at, STREAM_ITEMS if end is None else end - at)
            if not items:
                return
            at = following
            yield items

    def position(self, partition: str, offset: int) -> int:
        """The number itself."""
        return offset

    def newest(self, partition: str) -> int:
        """The number that the next item will have."""
        return streams.tail(self._db.reader(), self.name)

    def close(self) -> None:
        """Close the data folder."""
        self._db.close()


class EmbeddedSink(Sink):
    """A sink whose chunks commit in the same transaction as the job's offsets."""

    def begin(self, tx: sqlite3.Connection) -> None:
        """Part of the first commit of a fresh start."""

    @abc.abstractmethod
    def apply(self, tx: sqlite3.Connection, chunks: Sequence[SinkChunk]) -> None:
        """Write chunks within a transaction."""

    def write(self, chunk: SinkChunk) -> None:
        """Not used: the commit calls `apply`."""
        raise AssertionError("an embedded sink is written by the commit")


class ListSink(EmbeddedSink):
    """Appends items to a stored list."""

    kind: ClassVar[str] = "list"

    def __init__(self, name: str, clear: bool = False) -> None:
        super().__init__(checked_name("list", name))
        self.clear = flag("to_list", "clear", clear)

    def prepare(self, items: list[Any]) -> bytes:
        """The items as one stored chunk."""
        return values.encode(items)

    def begin(self, tx: sqlite3.Connection) -> None:
        """Empty the list when asked; say so when it is not empty."""
        if self.clear:
            lists.clear(tx, self.name)
        elif size := lists.size(tx, self.name):
            _LOGGER.info("list '%s' holds %d items already; this job appends (clear=True empties it)", self.name, size)

    def apply(self, tx: sqlite3.Connection, chunks: Sequence[SinkChunk]) -> None:
        """Append chunks."""
        if chunks:
            first = chunks[0]
            lists.append(
                tx,
                self.name,
                [(chunk.count, chunk.payload) for chunk in chunks],
                run=first.run,
                stage=first.stage,
                shard=first.shard,
                first_sequence=first.sequence,
            )


class MapSink(EmbeddedSink):
    """Puts ``(key, value)`` items into a stored map."""

    kind: ClassVar[str] = "map"

    def __init__(self, name: str) -> None:
        super().__init__(checked_name("map", name))

    def prepare(self, items: list[Any]) -> bytes:
        """The entries, encoded."""
        for index, item in enumerate(items):
            if (type(item) is not tuple and not isinstance(item, tuple)) or len(item) != 2:
                raise BadItem(index, f"a map takes (key, value) tuples; got {type(item).__name__}: map to a pair first")
        try:
            return maps.prepare_entries(items)
        except KeyTypeError as error:
            for index, (key, _) in enumerate(items):
                try:
                    maps.prepare_entries([(key, None)])
                except KeyTypeError:
                    raise BadItem(index, str(error)) from error
            raise

    def apply(self, tx: sqlite3.Connection, chunks: Sequence[SinkChunk]) -> None:
        """Put entries."""
        maps.apply_entries(tx, self.name, *(chunk.payload for chunk in chunks))


def _warn_if_missing(kind: structures.Kind, name: str, home: str) -> None:
    """Say that a list or map that is to be read was never written to: its name may be a typing error."""
    with contextlib.suppress(StoreError):  # a data folder that cannot be read is for the job to report
        with contextlib.closing(Database.open(Path(home))) as db, mapped(f"{kind} '{name}'"):
            missing = structures.find(db.reader(), kind, name) is None
        if missing:
            _LOGGER.warning("%s '%s' does not exist yet (nothing was written to it): it is read as empty", kind, name)
