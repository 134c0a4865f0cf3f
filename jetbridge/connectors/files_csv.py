"""The CSV source: rows as dicts, parsed by pyarrow block by block.

The types of the columns are settled once, by the first block of the first file,
and hold for every block of every file: a row is the same however the files are
cut into ranges.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.connectors.files import library, reading, require
from jetbridge.connectors.files_arrow import rows
from jetbridge.connectors.files_bytes import BLOCK, BlockReader, ByteStream
from jetbridge.connectors.files_csv_errors import bad_row, bad_value
from jetbridge.connectors.files_csv_rows import OpenQuoteError, RowCutter
from jetbridge.connectors.files_lines import LineSource
from jetbridge.errors import PipelineError, SourceError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

NULLS = (
    *("", "NA", "N/A", "n/a", "#N/A", "#N/A N/A", "#NA", "NULL", "null", "NaN", "nan", "-NaN", "-nan"),
    *("1.#IND", "1.#QNAN", "-1.#IND", "-1.#QNAN"),
)
"""What stands for None unless told otherwise: pyarrow's list, which is that of pandas."""

_TYPES = (int, float, str, bool, dt.datetime, dt.date)
_HEADER_BLOCK = 1 << 16
_INFERENCE_BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Schema:
    """What holds for all files of a source.

    Attributes:
        first: The file that it was taken from.
        columns: The names of its columns.
        types: Their Arrow types.
        inferred: The columns whose types were inferred.
        quoted_nulls: Whether "NA" in quotes is None too.
    """

    first: str
    columns: tuple[str, ...]
    types: dict[str, Any]
    inferred: frozenset[str]
    quoted_nulls: bool


class CsvSource(LineSource):
    """Rows as dicts; see `jetbridge.sources.csv`."""

    kind: ClassVar[str] = "csv"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        columns: Sequence[str] | None = None,
        types: Mapping[str, type] | None = None,
        select: Sequence[str] | None = None,
        delimiter: str = ",",
        quote: str | None = '"',
        nulls: Sequence[str] = NULLS,
        encoding: str = "utf-8",
        name: str | None = None,
    ) -> None:
        super().__init__(path, encoding=encoding, name=name)
        self.columns = None if columns is None else name_list(columns, "columns", self.user)
        self.select = None if select is None else name_list(select, "select", self.user)
        self.types = dict(types or {})
        self.nulls = [nulls] if isinstance(nulls, str) else list(nulls)
        for column, kind in self.types.items():
            if kind not in _TYPES:
                names = ", ".join(each.__name__ for each in _TYPES)
                raise PipelineError(f"{self.user}: the type of column {column!r} must be one of {names}; got {kind!r}")
        for what, sign in (("delimiter", delimiter), ("quote", quote or '"')):
            if not isinstance(sign, str) or len(sign) != 1 or not sign.isascii() or sign in "\r\n":
                raise PipelineError(f"{self.user}: the {what} must be one ASCII character; got {sign!r}")
        self.delimiter, self.quote = delimiter, quote or None
        self._cutter = RowCutter(delimiter, self.quote)
        self._schema: Schema | None = None
        self._headers: dict[str, tuple[tuple[str, ...], int]] = {}

    def check(self) -> None:
        """Find the files and compare the options with the first one's header."""
        super().check()
        require("pyarrow", self.user)
        for path in self._find():
            columns = self.columns or self._read_header(path)[0]  # not remembered: the job looks for itself
            if columns:
                self._known(path, columns, "types", self.types)
                self._known(path, columns, "select", self.select or ())
                break

    def cut(self, data: bytes, last: bool) -> int:
        """Whole rows: a quoted value may hold line ends."""
        return self._cutter.cut(data, last)

    def next_block(self, reader: BlockReader, size: int) -> bytes:
        """The next block of whole rows."""
        try:
            return super().next_block(reader, size)
        except OpenQuoteError as cause:
            path = reader.stream.path
            line = self.line_number(path, reader.position + cause.at)
            raise SourceError(
                f"{path}, line {line}: a quote is opened and never closed; "
                f"close or double it, or pass quote=None if quotes mean nothing in this file"
            ) from cause

    def boundary(self, stream: ByteStream, start: int, target: int) -> int:
        """The first row's start at or after a target, found by reading the rows from a start on."""
        if self.quote is None:
            return super().boundary(stream, start, target)
        stream.seek(start)
        reader = BlockReader(stream, self.cut, start)
        while reader.position < target and self.next_block(reader, min(BLOCK, target - reader.position)):
            pass
        return reader.position

    def aligned(self, stream: ByteStream, position: int) -> int:
        """Offsets come from ``split``, where rows begin: which line ends are quoted cannot be seen from a middle."""
        return position

    def parse(self, partition: str, offset: int, data: bytes) -> list[Any]:
        """The rows of a block, without the header."""
        columns, begin = self._header(partition)
        if offset < begin:
            data, offset = data[begin - offset :], begin
        data = self._utf8(partition, offset, data)
        if not data.strip(b"\r\n"):
            return []
        schema = self._schema_of_all()
        if self.select is None and set(columns) != set(schema.columns):
            raise SourceError(
                f"{partition}: the columns differ from those of {schema.first}: got {list(columns)}, "
                f"not {list(schema.columns)}; read the files apart or name the columns they share with select=[…]"
            )
        self._known(partition, columns, "select", self.select or ())
        table = self._table(partition, offset, data, columns, schema)
        with reading(partition):
            return [row for batch in table.combine_chunks().to_batches() for row in rows(batch)]

    def close(self) -> None:
        """Forget the types too: the next opening looks again."""
        self._schema = None
        self._headers = {}
        super().close()

    def _utf8(self, partition: str, offset: int, data: bytes) -> bytes:
        text = self.decode(partition, offset, data)  # always, because pyarrow does not say where a wrong byte is
        return data if self.encoding == "utf-8" and data[:3] != b"\xef\xbb\xbf" else text.encode()

    def _header(self, path: str) -> tuple[tuple[str, ...], int]:
        """The columns of a file, and where its first row begins."""
        if self.columns is not None:
            return self.columns, 0
        if path not in self._headers:
            self._headers[path] = self._read_header(path)
        return self._headers[path]

    def _read_header(self, path: str) -> tuple[tuple[str, ...], int]:
        stream = self.stream(path)
        try:
            reader = BlockReader(stream, lambda data, last: self._cutter.first_end(data) or (len(data) if last else 0))
            row, size = b"\n", _HEADER_BLOCK
            while row and not row.strip(b"\r\n"):  # empty lines may stand before it
                start = reader.position
                row = self.next_block(reader, size)
        finally:
            stream.close()
        text = self.decode(path, start, row).rstrip("\r\n")
        if not text:
            return (), reader.position
        if self.quote:
            names = next(csv.reader([text], delimiter=self.delimiter, quotechar=self.quote))
        else:
            names = text.split(self.delimiter)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SourceError(
                f"{path}: the header names {twice[0]!r} twice; "
                f"if the file has no header, name its columns with columns=[…]"
            )
        return tuple(names), reader.position

    def _known(self, path: str, columns: tuple[str, ...], option: str, names: Iterable[str]) -> None:
        for name in names:
            if name not in columns:
                raise SourceError(f"{path}: {option} names the column {name!r}, but the columns are {list(columns)}")

    def _schema_of_all(self) -> Schema:
        if self._schema is None:
            for path in self.partitions():
                columns, begin = self._header(path)
                stream = self.stream(path)
                try:
                    stream.skip(begin)
                    data = self.next_block(BlockReader(stream, self.cut, begin), _INFERENCE_BLOCK)
                finally:
                    stream.close()
                data = self._utf8(path, begin, data)
                if data.strip(b"\r\n"):
                    self._known(path, columns, "types", self.types)
                    self._schema = self._infer(path, begin, data, columns)
                    break
            else:  # pragma: no cover - only asked for when there are rows
                raise SourceError(f"{self._what()}: no file has rows")
        return self._schema

    def _infer(self, path: str, offset: int, data: bytes, columns: tuple[str, ...]) -> Schema:
        """The types of the first block; a column that is all empty there is text."""
        pa = library("pyarrow", self.user)
        # whether a column of times has a zone is for the data to say
        given = {column: _arrow_type(pa, kind) for column, kind in self.types.items() if kind is not dt.datetime}
        schema = Schema(path, columns, given, frozenset(), quoted_nulls=False)
        strict = self._table(path, offset, data, columns, schema, select=False).schema
        if self.quote and self.quote.encode() in data:
            # some programs quote all values: there "" in a column of numbers is no text but a missing number
            lenient = dataclasses.replace(schema, quoted_nulls=True)
            loose = self._table(path, offset, data, columns, lenient, select=False).schema
            kinds = zip(strict.types, loose.types, strict=True)
            if any(pa.types.is_string(one) and not pa.types.is_null(two) and one != two for one, two in kinds):
                strict, schema = loose, lenient
        types = {}
        for column, kind in zip(strict.names, strict.types, strict=True):
            if pa.types.is_timestamp(kind):
                kind = pa.timestamp("us", kind.tz)
            elif pa.types.is_null(kind) or pa.types.is_binary(kind):
                kind = pa.string()
            types[column] = kind
        for column, wanted in self.types.items():
            if wanted is dt.datetime and not pa.types.is_timestamp(types[column]):
                types[column] = pa.timestamp("us")
        return Schema(path, columns, types, frozenset(columns) - self.types.keys(), schema.quoted_nulls)

    def _table(
        self, path: str, offset: int, data: bytes, columns: tuple[str, ...], schema: Schema, *, select: bool = True
    ) -> Any:
        pa, pacsv = library("pyarrow", self.user), library("pyarrow.csv", self.user)
        bad: list[Any] = []

        def refuse(row: Any) -> str:
            bad.append(row)
            return "error"

        try:
            return pacsv.read_csv(
                pa.BufferReader(data),
                # all of the data is one of pyarrow's blocks; processes, not threads, make use of the cores
                read_options=pacsv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=columns),
                parse_options=pacsv.ParseOptions(
                    delimiter=self.delimiter,
                    quote_char=self.quote or False,
                    newlines_in_values=self.quote is not None,
                    invalid_row_handler=refuse,
                ),
                convert_options=pacsv.ConvertOptions(
                    column_types=schema.types,
                    null_values=self.nulls,
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=schema.quoted_nulls,
                    include_columns=self.select if select else None,
                ),
            )
        except pa.ArrowInvalid as cause:
            line = self.line_number(path, offset)
            if bad:
                raise SourceError(bad_row(path, line, data, bad[0], self.delimiter)) from cause
            raise SourceError(bad_value(path, line, columns, schema.inferred, str(cause))) from cause


def name_list(names: Sequence[str], option: str, user: str) -> tuple[str, ...]:
    """An option that lists columns, checked."""
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise PipelineError(f"{user}: {option} must be a list of names; got {names!r}")
    if not names or len(set(names)) != len(names):
        raise PipelineError(f"{user}: {option} must name each column once, at least one; got {list(names)!r}")
    return tuple(names)


def _arrow_type(pa: Any, kind: type) -> Any:
    return {
        int: pa.int64(),
        float: pa.float64(),
        str: pa.string(),
        bool: pa.bool_(),
        dt.date: pa.date32(),
    }[kind]
