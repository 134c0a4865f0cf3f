"""The base of the sources whose files are lines: text, CSV and JSON lines.

Uncompressed files are cut into byte ranges that are read side by side;
compressed ones are read from front to back, and the reader stays open so that
reading on from where it stands costs nothing.
"""

from __future__ import annotations

import abc
import codecs
import os
from typing import TYPE_CHECKING, Any

from jetbridge.connectors.files import FileSource, slices
from jetbridge.connectors.files_bytes import BLOCK, BlockReader, ByteStream, compression, cut_lines
from jetbridge.errors import PipelineError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SAMPLE = 1 << 15
_USUAL_LENGTH = 64  # bytes of a record, until the first block has been seen
_MOST_OPEN = 128  # compressed files that are kept open; beyond that the oldest is closed and would be skipped through


class LineSource(FileSource):
    """Files of records that end with a line end; offsets are byte positions in the decompressed file."""

    def __init__(self, path: str | os.PathLike[str], *, encoding: str = "utf-8", name: str | None = None) -> None:
        super().__init__(path, name=name)
        try:
            self.encoding = codecs.lookup(encoding).name
            one_byte_lines = "\n".encode(self.encoding) == b"\n"
        except (LookupError, TypeError) as cause:
            raise PipelineError(f"{self.user}: unknown encoding {encoding!r}; try 'utf-8' or 'latin-1'") from cause
        # such files are read as UTF-8 by ByteStream, so nothing behind it sees the encoding
        self._recode = None if one_byte_lines else self.encoding
        if self._recode or self.encoding == "utf-8-sig":
            self.encoding = "utf-8"
        self._readers: dict[str, BlockReader] = {}
        self._lengths: dict[str, int] = {}  # bytes per record of the block before

    @abc.abstractmethod
    def parse(self, partition: str, offset: int, data: bytes) -> list[Any]:
        """The items of a block of whole records that begins at an offset."""

    def cut(self, data: bytes, last: bool) -> int:
        """How many leading bytes are whole records; see `files_bytes.Cut`."""
        return cut_lines(data, last)

    def next_block(self, reader: BlockReader, size: int) -> bytes:
        """The next block of whole records, empty at the end."""
        return reader.next(size)

    def splittable(self, partition: str) -> bool:
        """Compressed files, and remote ones of unknown size, can only be read from front to back."""
        if compression(partition) is not None or self._recode is not None:
            return False
        return self.is_local or self.size(partition) is not None

    def split(self, partition: str, offset: int, limit: int) -> int | None:
        """The end of a range of about ``limit`` records, judged by a sample of their length."""
        stream = self.stream(partition)
        try:
            size = stream.size()
            stream.seek(offset)
            sample = stream.read(_SAMPLE)
            target = offset + max(1, limit * len(sample) // max(1, sample.count(b"\n")))
            end = self.boundary(stream, offset, target) if target < size else size
        finally:
            stream.close()
        return end if end < size else None

    def boundary(self, stream: ByteStream, start: int, target: int) -> int:
        """The first record's start at or after a target; ``start`` is a record's start."""
        return _line_start(stream, target)

    def read_range(self, partition: str, start: int, end: int | None) -> Iterator[list[Any]]:
        """The records that begin between two byte positions."""
        stream = self.stream(partition)
        try:
            first, stop = self.aligned(stream, start), None if end is None else self.aligned(stream, end)
            stream.seek(first)
            reader = BlockReader(stream, self.cut, first, stop)
            while True:
                offset = reader.position
                block = self.next_block(reader, BLOCK)
                if not block:
                    return
                yield from slices(self.parse(partition, offset, block))
        finally:
            stream.close()

    def aligned(self, stream: ByteStream, position: int) -> int:
        """Where the first record at or after a position begins."""
        return _line_start(stream, position)

    def read(self, partition: str, offset: int, limit: int) -> tuple[list[Any], int | None]:
        """Read on from an offset; see `Source.read`."""
        if self.splittable(partition):
            return super().read(partition, offset, limit)
        reader = self._reader_at(partition, offset)
        block = self.next_block(reader, max(1, limit * self._lengths.get(partition, _USUAL_LENGTH)))
        if not block:
            self._drop(partition)
            return [], None
        items = self.parse(partition, offset, block)
        self._lengths[partition] = max(1, len(block) // max(1, len(items)))
        return items, reader.position

    def position(self, partition: str, offset: Any) -> int | None:
        """How many bytes of the file lie before an offset; for a compressed file only where the reader stands."""
        if offset is None or self.splittable(partition):
            return super().position(partition, offset)
        reader = self._readers.get(partition)
        if reader is not None and reader.position == offset:
            return reader.stream.raw_position()
        return 0 if offset == 0 else None

    def bytes_read(self, partition: str, offset: Any) -> int | None:
        """Of a file whose bytes are not those of its content all that it has now, since more may be read than given."""
        if compression(partition) is None and self._recode is None:
            return super().bytes_read(partition, offset)
        if not offset:
            return 0
        return os.path.getsize(partition) if self.is_local else None  # which not every remote one lets read in parts

    def stream(self, partition: str) -> ByteStream:
        """Open a file's content."""
        return ByteStream(self.open_file(partition), partition, recode=self._recode)

    def decode(self, partition: str, offset: int, data: bytes) -> str:
        """A block as text, without a byte order mark."""
        try:
            text = data.decode(self.encoding)
        except UnicodeDecodeError as cause:
            at = offset + cause.start
            byte = data[cause.start : cause.start + 1]
            raise SourceError(
                f"{partition}: byte {byte!r} at offset {at} is not {self.encoding} ({cause.reason}); "
                f"name the file's encoding, such as encoding='latin-1'"
            ) from cause
        return text[1:] if offset == 0 and text.startswith("\ufeff") else text

    def line_number(self, partition: str, offset: int) -> int:
        """The number of the line that begins at an offset, as an editor counts; only for error messages."""
        stream = self.stream(partition)
        try:
            number, left = 1, offset
            while left > 0 and (data := stream.read(min(left, BLOCK))):
                number, left = number + data.count(b"\n"), left - len(data)
            return number
        finally:
            stream.close()

    def close(self) -> None:
        """Close the files that are still open."""
        for partition in list(self._readers):
            self._drop(partition)
        super().close()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_readers": {}}

    def _reader_at(self, partition: str, offset: int) -> BlockReader:
        reader = self._readers.get(partition)
        if reader is not None and reader.position == offset:
            return reader
        self._drop(partition)
        if len(self._readers) >= _MOST_OPEN:
            self._drop(next(iter(self._readers)))
        stream = self.stream(partition)
        try:
            stream.skip(offset)
        except BaseException:
            stream.close()
            raise
        reader = self._readers[partition] = BlockReader(stream, self.cut, offset)
        return reader

    def _drop(self, partition: str) -> None:
        reader = self._readers.pop(partition, None)
        if reader is not None:
            reader.stream.close()


def _line_start(stream: ByteStream, position: int) -> int:
    """Where the first line that begins at or after a position begins, or the file's end."""
    if position == 0:
        return 0
    position -= 1  # the byte before says whether a line begins at the position itself
    stream.seek(position)
    while data := stream.read(_SAMPLE):
        found = data.find(b"\n")
        if found >= 0:
            return position + found + 1
        position += len(data)
    return position
