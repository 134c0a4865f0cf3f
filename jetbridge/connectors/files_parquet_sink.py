"""The Parquet sink: dicts become one Parquet file.

A Parquet file cannot be cut back to what a commit recorded, and its schema must
be known before its first row, though the first chunks may hold nothing but None
in a column. So the staged file is a log of Arrow record batches, and the
Parquet file is made of it at the end.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

from jetbridge.connectors.base import BadItem, ConnectorContext, SinkChunk
from jetbridge.connectors.files import library, require
from jetbridge.connectors.files_rows import columns_of, difference, transposed
from jetbridge.connectors.files_sink import FileSink
from jetbridge.errors import SinkError

_LENGTH = 8  # bytes before each chunk of the log that hold its length
_GROUP_ROWS = 1 << 17
_GROUP_BYTES = 64 << 20


class ParquetSink(FileSink):
    """Rows in one file; a column has one type, and int becomes float where both occur."""

    kind: ClassVar[str] = "parquet"

    def compressions(self) -> set[str | None]:
        """Parquet compresses inside."""
        return {None}

    def check(self) -> None:
        """Refuse an existing file, a place where nothing can be written, and a missing library."""
        require("pyarrow", self.user, SinkError)
        super().check()

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

    def open(self, context: ConnectorContext) -> None:
        """Make the staged log."""
        super().open(context)
        self._schema: Any = None

    def write(self, chunk: SinkChunk) -> None:
        """Append a chunk to the log and see whether its columns fit the earlier ones."""
        if not chunk.payload:
            return
        pa = library("pyarrow", self.user, SinkError)
        with pa.ipc.open_stream(chunk.payload) as stream:
            self._schema = self._merged(pa, stream.schema, stream)
        self.append(len(chunk.payload).to_bytes(_LENGTH, "big") + chunk.payload)

    def finish(self) -> None:
        """Make the Parquet file of the log."""
        pa = library("pyarrow", self.user, SinkError)
        self.flush()
        assert self._staged is not None
        made = f"{self._staged}.parquet"
        try:
            self._convert(pa, self._staged, made)
            self._opened().close()
            os.replace(made, self._staged)
        except pa.ArrowException as cause:
            raise SinkError(f"{self._what()} cannot be written: {cause}") from cause
        finally:
            if os.path.lexists(made):
                os.remove(made)
        self._file = open(self._staged, "ab")  # noqa: SIM115 - closed in close()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_schema": None}

    def _convert(self, pa: Any, log: str, made: str) -> None:
        parquet = library("pyarrow.parquet", self.user, SinkError)
        schema = pa.schema([]) if self._schema is None else self._schema
        with parquet.ParquetWriter(made, schema) as writer, open(log, "rb") as file:
            tables: list[Any] = []
            while head := file.read(_LENGTH):
                with pa.ipc.open_stream(file.read(int.from_bytes(head, "big"))) as stream:
                    tables.append(self._cast(pa, stream.read_all(), schema))
                if sum(table.num_rows for table in tables) >= _GROUP_ROWS or (
                    sum(table.nbytes for table in tables) >= _GROUP_BYTES
                ):
                    writer.write_table(pa.concat_tables(tables))
                    tables = []
            if tables:
                writer.write_table(pa.concat_tables(tables))

    def _merged(self, pa: Any, schema: Any, stream: Any) -> Any:
        """The schema of everything so far; columns of None take the type of later values."""
        if self._schema is None or schema == self._schema:
            return schema
        if set(schema.names) != set(self._schema.names):
            row = stream.read_all().slice(0, 1).to_pylist()[0]
            raise SinkError(f"{self._what()}: {difference(self._schema.names, schema.names)}: the row {row}")
        for name in self._schema.names:
            old, new = self._schema.field(name), schema.field(name)
            if old != new:
                try:
                    pa.unify_schemas([pa.schema([old]), pa.schema([new])], promote_options="permissive")
                except pa.ArrowException as cause:
                    raise SinkError(
                        f"{self._what()}: column {name!r} held {old.type} so far and now holds {new.type}; "
                        f"map its values to one type before the sink"
                    ) from cause
        return pa.unify_schemas([self._schema, schema], promote_options="permissive")

    def _cast(self, pa: Any, table: Any, schema: Any) -> Any:
        arrays = []
        for field in schema:
            try:
                arrays.append(table.column(field.name).cast(field.type))
            except pa.ArrowException as cause:
                raise SinkError(f"{self._what()}: column {field.name!r} became {field.type}: {cause}") from cause
        return pa.table(arrays, schema=schema)


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
