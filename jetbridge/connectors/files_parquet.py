"""The Parquet source: rows as dicts, read by row ranges."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.connectors.files import CHUNK, FileSource, library, reading, require
from jetbridge.connectors.files_arrow import rows
from jetbridge.connectors.files_csv import name_list
from jetbridge.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# A row group is decoded from its start, which is far quicker than making dicts; so it may be cut, but not too often.
_CUTS_OF_A_GROUP = 8
_MOST_OPEN = 128


@dataclass
class _Open:
    """An open file.

    Attributes:
        groups: The row groups that hold rows: number, first row, row after the last.
        count: How many rows there are.
    """

    raw: Any
    file: Any
    groups: list[tuple[int, int, int]]
    count: int

    def close(self) -> None:
        self.file.close()
        self.raw.close()


class ParquetSource(FileSource):
    """Rows as dicts; see `jetbridge.sources.parquet`. Offsets are row numbers."""

    kind: ClassVar[str] = "parquet"

    def __init__(
        self, path: str | os.PathLike[str], *, select: Sequence[str] | None = None, name: str | None = None
    ) -> None:
        super().__init__(path, name=name)
        self.select = None if select is None else name_list(select, "select", self.user)
        self._open: dict[str, _Open] = {}
        self._process = os.getpid()

    def check(self) -> None:
        """Find the files; they are opened in the job."""
        super().check()
        require("pyarrow", self.user)

    def size(self, partition: str) -> int | None:
        """The number of rows."""
        return self._opened(partition).count

    def split(self, partition: str, offset: int, limit: int) -> int | None:
        """The end of a range of about ``limit`` rows, which ends with a row group or an eighth of one."""
        opened = self._opened(partition)
        for _, start, after in opened.groups:
            if after <= offset:
                continue
            step = max(1, limit, -(-(after - start) // _CUTS_OF_A_GROUP))
            if after - offset > step + step // 2:
                return offset + step
            if after - offset >= limit:  # else the range goes on with the next group
                return after if after < opened.count else None
        return None

    def read_range(self, partition: str, start: int, end: int | None) -> Iterator[list[Any]]:
        """The rows between two row numbers."""
        opened = self._opened(partition)
        stop = opened.count if end is None else end
        for number, position, after in opened.groups:
            if after <= start or position >= stop:
                continue
            for batch in self._batches(partition, opened, number):
                low, high = max(start - position, 0), min(stop - position, batch.num_rows)
                position += batch.num_rows
                if low < high:
                    with reading(partition):
                        items = rows(batch.slice(low, high - low))
                    yield items
                if position >= stop:
                    break

    def _batches(self, partition: str, opened: _Open, group: int) -> Iterator[Any]:
        columns = self.select and list(self.select)
        with reading(partition):
            for batch in opened.file.iter_batches(
                batch_size=CHUNK, row_groups=[group], columns=columns, use_threads=False
            ):
                yield batch.select(columns) if columns else batch

    def bytes_read(self, partition: str, offset: Any) -> int | None:
        """Those up to the end of the row group that was read last: a footer moves when a file grows."""
        opened = self._opened(partition)
        number = next((number for number, start, after in opened.groups if start < offset <= after), None)
        if number is None:
            return 0
        group = opened.file.metadata.row_group(number)
        last = group.column(group.num_columns - 1)
        start: int = last.dictionary_page_offset or last.data_page_offset
        return start + int(last.total_compressed_size)

    def close(self) -> None:
        """Close the files."""
        for opened in self._open.values():
            opened.close()
        self._open = {}
        super().close()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_open": {}}

    def _opened(self, partition: str) -> _Open:
        if self._process != os.getpid():
            # A process that was forked shares the place in an open file with the one before it: it opens its own.
            self._open, self._process = {}, os.getpid()
        if partition not in self._open:
            if len(self._open) >= _MOST_OPEN:
                self._open.pop(next(iter(self._open))).close()
            self._open[partition] = self._read_footer(partition)
        return self._open[partition]

    def _read_footer(self, partition: str) -> _Open:
        parquet = library("pyarrow.parquet", self.user)
        raw = self.open_file(partition)
        try:
            with reading(partition):
                file = parquet.ParquetFile(raw)
                metadata, names = file.metadata, file.schema_arrow.names
            for column in self.select or ():
                if column not in names:
                    raise SourceError(f"{partition}: select names the column {column!r}, but the columns are {names}")
        except BaseException:
            raw.close()
            raise
        groups, first = [], 0
        for number in range(metadata.num_row_groups):
            count = metadata.row_group(number).num_rows
            if count:
                groups.append((number, first, first + count))
            first += count
        return _Open(raw, file, groups, first)
