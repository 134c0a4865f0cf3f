"""The CSV sink: dicts become rows that the CSV source reads back as they were."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
import re
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.connectors.base import BadItem
from jetbridge.connectors.files_csv import NULLS
from jetbridge.connectors.files_rows import columns_of, difference, transposed
from jetbridge.connectors.files_sink import FileSink
from jetbridge.errors import PipelineError, SinkError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

_NULLS = frozenset(NULLS)
_LENGTH = 4  # bytes that hold the length of a payload's list of columns


class CsvSink(FileSink):
    """Rows under a header; None is an empty field and empty text is ``""``."""

    kind: ClassVar[str] = "csv"
    extension: ClassVar[str] = ".csv"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        delimiter: str = ",",
        overwrite: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(path, overwrite=overwrite, name=name)
        if not isinstance(delimiter, str) or len(delimiter) != 1 or not delimiter.isascii():
            raise PipelineError(f"{self.user}: the delimiter must be one ASCII character; got {delimiter!r}")
        if delimiter.isalnum() or delimiter in '\r\n"+-.:':
            raise PipelineError(f"{self.user}: the delimiter must not occur in numbers and times; got {delimiter!r}")
        self.delimiter = delimiter
        # a byte order mark would be taken off again at the start of the file
        self._special = re.compile(f'["\r\n\ufeff{re.escape(delimiter)}]')
        self._columns: list[str] | None = None

    def prepare(self, items: list[Any]) -> bytes:
        """The columns, so that ``write`` can compare them, and the rows."""
        if not items:
            return b""
        columns = columns_of(items, self.user)
        head = json.dumps(columns).encode()
        return len(head).to_bytes(_LENGTH, "big") + head + self.compress(self._rows(items, columns))

    def format(self, items: list[Any]) -> bytes:
        """The rows without a header."""
        return self._rows(items, columns_of(items, self.user))

    def state(self) -> dict[str, Any]:
        """The columns of the first row."""
        return {"columns": self._columns}

    def restore(self, state: dict[str, Any]) -> None:
        """Know the columns again."""
        self._columns = state.get("columns")

    def add(self, payload: bytes) -> None:
        """Append the rows; the first chunk's columns become the header of each file."""
        start = _LENGTH + int.from_bytes(payload[:_LENGTH], "big")
        columns: list[str] = json.loads(payload[_LENGTH:start])
        body = payload[start:]
        if self._columns is None:
            self._columns = columns
        if columns != self._columns:
            body = self._reordered(columns, body)
        if not self.length:
            self.append(self.compress(self._line(self._columns)))
        self.append(body)

    def _reordered(self, columns: list[str], body: bytes) -> bytes:
        """Rows whose columns come in another order than in the first chunk."""
        assert self._columns is not None
        rows = [dict(zip(columns, row, strict=True)) for row in self._fields(self.decompress(body).decode())]
        if set(columns) != set(self._columns):
            raise SinkError(f"{self.what()}: {difference(self._columns, columns)}: the row {rows[0]}")
        lines = (self.delimiter.join(row[column] for column in self._columns) for row in rows)
        return self.compress("".join(f"{line}\n" for line in lines).encode())

    def _fields(self, text: str) -> list[list[str]]:
        """The fields as they stand in the text, quotes included."""
        field = re.compile(f'((?:"(?:[^"]|"")*")|[^{re.escape(self.delimiter)}\n]*)([{re.escape(self.delimiter)}\n])')
        rows: list[list[str]] = [[]]
        for match in field.finditer(text):
            rows[-1].append(match[1])
            if match[2] == "\n":
                rows.append([])
        return rows[:-1]

    def _line(self, columns: list[str]) -> bytes:
        return f"{self.delimiter.join(self._texts(columns))}\n".encode()

    def _rows(self, items: list[Any], columns: list[str]) -> bytes:
        texts = []
        for column, values in zip(columns, transposed(items, columns), strict=True):
            texts.append(self._column(column, values))
        if len(columns) == 1:  # an empty line is no row to any reader, so a lone None needs a sign
            texts[0] = [text or "NA" for text in texts[0]]
        try:
            return "".join([f"{row}\n" for row in map(self.delimiter.join, zip(*texts, strict=True))]).encode()
        except UnicodeEncodeError as error:
            raise self._bad_unicode(items, error) from None

    def _column(self, column: str, values: list[Any]) -> list[str]:
        kinds = set(map(type, values))
        if kinds == {int}:
            return list(map(str, values))
        if kinds == {str}:
            return self._texts(values)
        if kinds == {str, type(None)}:
            distinct = list({value for value in values if value is not None})
            quoted = {None: "", **dict(zip(distinct, self._texts(distinct), strict=True))}
            return [quoted[value] for value in values]
        if len(kinds - {type(None)}) <= 1 and kinds <= _WRITERS.keys() - {str}:  # the usual column: one type, and None
            to_text = _WRITERS[next(iter(kinds - {type(None)}), type(None))]
            return ["" if value is None else to_text(value) for value in values]
        texts = []
        for index, value in enumerate(values):
            write = _WRITERS.get(type(value)) or _writer_of(value)
            if write is None:
                raise BadItem(
                    index,
                    f"{self.user}: column {column!r} holds {type(value).__name__}, which is no CSV value: "
                    f"map it to a str or a number, or use sinks.json_lines",
                )
            text = write(value)
            texts.append(self._texts([text])[0] if isinstance(value, str) else text)
        return texts

    def _texts(self, values: list[str]) -> list[str]:
        if _NULLS.isdisjoint(values) and not self._special.search("\0".join(values)):
            return values
        special = self._special.search
        return [
            '"' + value.replace('"', '""') + '"' if value in _NULLS or special(value) else value for value in values
        ]

    def _bad_unicode(self, items: list[Any], error: UnicodeEncodeError) -> BadItem:
        for index, item in enumerate(items):
            try:
                "".join(value for value in item.values() if isinstance(value, str)).encode()
            except UnicodeEncodeError as found:
                return BadItem(index, f"{self.user}: the text cannot be written as UTF-8: {found}")
        return BadItem(0, f"{self.user}: the column names cannot be written as UTF-8: {error}")


def _float(value: float) -> str:
    return '"nan"' if math.isnan(value) else float.__repr__(value)  # without quotes nan would be read as None


_WRITERS: dict[type, Callable[[Any], str]] = {
    type(None): lambda _: "",
    bool: lambda value: "true" if value else "false",
    int: int.__repr__,
    float: _float,
    str: str.__str__,
    dt.datetime: dt.datetime.isoformat,
    dt.date: dt.date.isoformat,
    dt.time: dt.time.isoformat,
    decimal.Decimal: str,
    uuid.UUID: str,
}


def _writer_of(value: Any) -> Callable[[Any], str] | None:
    for kind in (bool, int, float, str, dt.datetime, dt.date, dt.time, decimal.Decimal):
        if isinstance(value, kind):
            return _WRITERS[kind]
    if hasattr(value, "item") and type(value).__module__ == "numpy":
        return lambda scalar: _WRITERS[type(scalar.item())](scalar.item())
    return None
