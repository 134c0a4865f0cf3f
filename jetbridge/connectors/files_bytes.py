"""Bytes of a file as blocks of whole records, decompressed by the file's extension.

A `ByteStream` is a file at a position; a `BlockReader` cuts what it gives into
blocks that end where a record ends, so that each block can be parsed at once.
"""

from __future__ import annotations

import codecs
import io
import os
import zipfile
from collections.abc import Callable
from typing import Any

from jetbridge.connectors.files import library, reading
from jetbridge.errors import SourceError

BLOCK = 1 << 19  # measured: larger ones fall out of the cache, smaller ones cost calls
_SKIP = 4 << 20
_KINDS = {
    ".gz": "gzip",
    ".bz2": "bz2",
    ".xz": "xz",
    ".lzma": "lzma",
    ".zst": "zstd",
    ".lz4": "lz4",
    ".zip": "zip",
}

Cut = Callable[[bytes, bool], int]
"""How many leading bytes are whole records; the flag says that the data ends the file or range."""


def compression(path: str) -> str | None:
    """The compression that a file's extension tells, in fsspec's words."""
    return _KINDS.get(os.path.splitext(path)[1].lower())


class ByteStream:
    """The content of a file: decompressed, and in UTF-8 where the encoding's line ends are not single bytes."""

    def __init__(self, raw: Any, path: str, *, recode: str | None = None) -> None:
        self.path = path
        self._raw = raw
        try:
            with reading(path):
                self._content: Any = _decompressed(raw, path)
        except BaseException:
            raw.close()
            raise
        if recode:
            self._content = _Recoded(self._content, recode, path)

    def read(self, size: int) -> bytes:
        """Up to so many bytes; none at the end."""
        with reading(self.path):
            data: bytes = self._content.read(size)
        return data

    def size(self) -> int:
        """The size of an uncompressed file as it is now."""
        with reading(self.path):
            self._content.seek(0, os.SEEK_END)
            size: int = self._content.tell()
        return size

    def seek(self, position: int) -> None:
        """Go to a position of an uncompressed file."""
        with reading(self.path):
            self._content.seek(position)

    def skip(self, count: int) -> None:
        """Read so many bytes and drop them, for content that cannot seek."""
        while count > 0:
            data = self.read(min(count, _SKIP))
            if not data:
                raise SourceError(f"{self.path}: the file is shorter than it was: {count} bytes are missing")
            count -= len(data)

    def raw_position(self) -> int:
        """How far the file itself has been read, compressed bytes included."""
        position: int = self._raw.tell()
        return position

    def close(self) -> None:
        """Close the file."""
        self._content.close()
        self._raw.close()


class BlockReader:
    """Cuts a stream into blocks of whole records.

    Attributes:
        position: The offset of the next block.
    """

    def __init__(self, stream: ByteStream, cut: Cut, position: int = 0, end: int | None = None) -> None:
        self.stream = stream
        self.position = position
        self._cut = cut
        self._end = end
        self._read_to = position
        self._rest = b""

    def next(self, size: int = BLOCK) -> bytes:
        """The next block of about so many bytes; empty at the end. The last one may lack a record's end."""
        data = self._rest
        while True:
            # without a record's end in sight the next read is as long as all before: a long record costs linear time
            more = self._read(max(size, len(data)))
            data += more
            length = self._cut(data, not more)
            if length or not more:
                break
        block = data[:length]
        self._rest = data[length:]
        self.position += length
        return block

    def _read(self, size: int) -> bytes:
        if self._end is not None:
            size = min(size, self._end - self._read_to)
        data = self.stream.read(size) if size > 0 else b""
        self._read_to += len(data)
        return data


def cut_lines(data: bytes, last: bool) -> int:
    """The `Cut` of records that are lines."""
    return len(data) if last else data.rfind(b"\n") + 1


def _decompressed(raw: Any, path: str) -> Any:
    kind = compression(path)
    if kind is None:
        return raw
    if kind == "zip":
        return _unzipped(raw, path)
    if kind in ("zstd", "lz4"):
        # the libraries that fsspec takes for these end a truncated file in silence, or stop after the first frame
        pyarrow = library("pyarrow", f"reading {path}")
        return pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, "r"), kind)
    return library("fsspec.compression", f"reading {path}").compr[kind](raw, mode="rb")


def _unzipped(raw: Any, path: str) -> Any:
    archive = zipfile.ZipFile(raw)
    members = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
    if len(members) != 1:
        raise SourceError(f"{path} holds {len(members)} files; only a zip of one file can be read: unpack it")
    return archive.open(members[0])


class _Recoded:
    """Reads an encoding in which a line's end is not the byte 10 (UTF-16, UTF-32) as UTF-8."""

    def __init__(self, content: Any, encoding: str, path: str) -> None:
        self._content = content
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._encoding = encoding
        self._path = path
        self._buffer = io.BytesIO()

    def read(self, size: int) -> bytes:
        data = self._buffer.read(size)
        while not data:
            block = self._content.read(BLOCK)
            try:
                text = self._decoder.decode(block, not block)
            except UnicodeDecodeError as cause:
                raise SourceError(f"{self._path}: the file is not {self._encoding}: {cause.reason}") from cause
            self._buffer = io.BytesIO(text.encode("utf-8", "surrogatepass"))
            data = self._buffer.read(size)
            if not block:
                break
        return data

    def close(self) -> None:
        self._content.close()
