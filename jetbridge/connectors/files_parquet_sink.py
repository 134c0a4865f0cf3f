"""The Parquet sink: dicts become one Parquet file.

A Parquet file cannot be cut back to what a commit recorded, and its schema must
be known before its first row, though the first chunks may hold nothing but None
in a column. So the staged file is a log of Arrow record batches, and the
Parquet file is made of it at the end, the log's own or that of a stream's part.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.connectors.base import BadItem
from jetbridge.connectors.files import library, require
from jetbridge.connectors.files_rows import columns_of, difference, transposed
from jetbridge.connectors.files_sink import FileSink
from jetbridge.errors import SinkError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetbridge.connectors.files_staging import StagedFile

_LENGTH = 8  # bytes before each chunk of the log that hold its length
_GROUP_ROWS = 1 << 17
_GROUP_BYTES = 64 << 20


class ParquetSink(FileSink):
    """Rows in one file; a column has one type, and int becomes float where both occur."""

    kind: ClassVar[str] = "parquet"
    extension: ClassVar[str] = ".parquet"
    _schema: Any = None
    _told: tuple[Any, str | None] = (None, None)  # a schema, and its text

    def compressions(self) -> set[str | None]:
        """Parquet compresses inside."""
        return {None}

    def check(self) -> None:
        """Refuse an existing file, a place where nothing can be written, and a missing library."""
        require("pyarrow", self.user, SinkError)
        super().check()

    def check_stream(self) -> None:
        """Refuse a place where no directory of parts can be, and a missing library."""
        require("pyarrow", self.user, SinkError)
        super().check_stream()

    def format(self, items: list[Any]) -> bytes:
        """The rows as an Arrow stream."""
        pa = library("pyarrow", self.user, SinkError)
        columns = columns_of(items, self.user)
        arrays = []
        for column, values in zip(columns, transposed(items, columns), strict=True):
            try:
                arrays.append(pa.array(values))
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                index = _first_bad(pa, values)
                raise BadItem(
                    index,
                    f"{self.user}: column {column!r} cannot hold {values[index]!r:.120} "
                    f"({type(values[index]).__name__}) after the values before it: {error}",
                ) from None
        batch = pa.RecordBatch.from_arrays(arrays, names=columns)
        buffer = pa.BufferOutputStream()
        with pa.ipc.new_stream(buffer, batch.schema) as stream:
            stream.write_batch(batch)
        data: bytes = buffer.getvalue().to_pybytes()
        return data

    def state(self) -> dict[str, Any]:
        """The schema of all rows so far; its text is kept, since it is asked for often and seldom changes."""
        if self._schema is not self._told[0]:
            self._told = self._schema, base64.b64encode(self._schema.serialize().to_pybytes()).decode()
        return {"schema": self._told[1]}

    def restore(self, state: dict[str, Any]) -> None:
        """Know the schema again."""
        self._schema, self._told = None, (None, None)
        if state.get("schema") is not None:
            pa = library("pyarrow", self.user, SinkError)
            self._schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(state["schema"])))

    def add(self, payload: bytes) -> None:
        """Append a chunk to the log and see whether its columns fit the earlier ones."""
        pa = library("pyarrow", self.user, SinkError)
        with pa.ipc.open_stream(payload) as stream:
            self._schema = self._merged(pa, self._schema, stream.schema, stream)
        self.append(len(payload).to_bytes(_LENGTH, "big") + payload)

    def make(self, staged: StagedFile) -> str:
        """Make the Parquet file of the log."""
        pa = library("pyarrow", self.user, SinkError)
        staged.sync()
        staged.close()
        made = f"{staged.path}.parquet"
        try:
            self._convert(pa, staged.path, made)
        except pa.ArrowException as cause:
            raise SinkError(f"{self.what()} cannot be written: {cause}") from cause
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_schema": None, "_told": (None, None)}

    def _convert(self, pa: Any, log: str, made: str) -> None:
        parquet = library("pyarrow.parquet", self.user, SinkError)
        with open(made, "wb") as file:
            schema = self._schema_of(pa, log)
            with parquet.ParquetWriter(file, schema) as writer:
                tables: list[Any] = []
                for stream in _streams(pa, log):
                    tables.append(self._cast(pa, stream.read_all(), schema))
                    if sum(table.num_rows for table in tables) >= _GROUP_ROWS or (
                        sum(table.nbytes for table in tables) >= _GROUP_BYTES
                    ):
                        writer.write_table(pa.concat_tables(tables))
                        tables = []
                if tables:
                    writer.write_table(pa.concat_tables(tables))
            file.flush()
            os.fsync(file.fileno())

    def _schema_of(self, pa: Any, log: str) -> Any:
        """The schema of a log's rows; a column that holds only None there takes the type that it has elsewhere."""
        schema = None
        for stream in _streams(pa, log):
            schema = self._merged(pa, schema, stream.schema, stream)
        if schema is None:
            return pa.schema([])
        known = {field.name: field for field in self._schema}
        return pa.schema([known[field.name] if pa.types.is_null(field.type) else field for field in schema])

    def _merged(self, pa: Any, before: Any, schema: Any, stream: Any) -> Any:
        """The schema of everything so far; columns of None take the type of later values."""
        if before is None or schema == before:
            return schema if before is None else before
        if set(schema.names) != set(before.names):
            row = stream.read_all().slice(0, 1).to_pylist()[0]
            raise SinkError(f"{self.what()}: {difference(before.names, schema.names)}: the row {row}")
        for name in before.names:
            old, new = before.field(name), schema.field(name)
            if old != new:
                try:
                    pa.unify_schemas([pa.schema([old]), pa.schema([new])], promote_options="permissive")
                except pa.ArrowException as cause:
                    raise SinkError(
                        f"{self.what()}: column {name!r} held {old.type} so far and now holds {new.type}; "
                        f"map its values to one type before the sink"
                    ) from cause
        return pa.unify_schemas([before, schema], promote_options="permissive")

    def _cast(self, pa: Any, table: Any, schema: Any) -> Any:
        arrays = []
        for field in schema:
            try:
                arrays.append(table.column(field.name).cast(field.type))
            except pa.ArrowException as cause:
                raise SinkError(f"{self.what()}: column {field.name!r} became {field.type}: {cause}") from cause
        return pa.table(arrays, schema=schema)


def _streams(pa: Any, log: str) -> Iterator[Any]:
    """The chunks of a log, each as an open Arrow stream."""
    with open(log, "rb") as file:
        while head := file.read(_LENGTH):
            with pa.ipc.open_stream(file.read(int.from_bytes(head, "big"))) as stream:
                yield stream


def _first_bad(pa: Any, values: list[Any]) -> int:
    """The index of the value with which a list stops being a column, by halving."""
    good, bad = 0, len(values)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            pa.array(values[:middle])
            good = middle
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            bad = middle
    return bad - 1
