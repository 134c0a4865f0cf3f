"""A sink's chunks between their making and the commit: in memory, and beyond a size in a file."""

from __future__ import annotations

import struct
import tempfile
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY_BYTES = 64 << 20
_HEADER = struct.Struct("<QQ")


class Spool:
    """Chunks in order. One item of a flat_map may give more than memory holds before an epoch can end.

    Example:
        >>> spool = Spool()
        >>> spool.append(2, b"ab")
        >>> list(spool)
        [(2, b'ab')]
        >>> spool.clear()
        >>> list(spool)
        []
    """

    def __init__(self) -> None:
        self._held: list[tuple[int, bytes]] = []
        self._size = 0
        self._file: IO[bytes] | None = None

    def append(self, count: int, payload: bytes) -> None:
        """Add a chunk."""
        self._held.append((count, payload))
        self._size += len(payload)
        if self._size > MEMORY_BYTES:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed in clear()
            for each, data in self._held:
                self._file.write(_HEADER.pack(each, len(data)))
                self._file.write(data)
            self._held, self._size = [], 0

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        if self._file is not None:
            self._file.flush()
            self._file.seek(0)
            while header := self._file.read(_HEADER.size):
                count, length = _HEADER.unpack(header)
                yield count, self._file.read(length)
            self._file.seek(0, 2)
        yield from self._held

    def clear(self) -> None:
        """Forget all chunks."""
        self._held, self._size = [], 0
        if self._file is not None:
            self._file.close()
            self._file = None
