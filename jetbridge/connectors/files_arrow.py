"""From Arrow's columns to rows: the hot path of the CSV and Parquet sources."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Sequence
from typing import Any

from jetbridge.connectors.files import library

Build = Callable[[Sequence[list[Any]]], list[dict[str, Any]]]


def rows(batch: Any) -> list[dict[str, Any]]:
    """The rows of a record batch as dicts of Python values."""
    if not batch.num_columns:
        return [{} for _ in range(batch.num_rows)]
    return _builder(tuple(batch.schema.names))([values(column) for column in batch.columns])


@functools.lru_cache(maxsize=64)
def _builder(names: tuple[str, ...]) -> Build:
    """A function that makes dicts of columns.

    A dict display with constant keys takes two thirds of the time of
    ``dict(zip(names, row))``, and this line is a third of reading a CSV file; so
    it is compiled for the columns at hand, as ``collections.namedtuple`` is.
    The names enter as the literals of their ``repr``.
    """
    variables = [f"v{index}" for index in range(len(names))]
    pairs = ", ".join(f"{name!r}: {variable}" for name, variable in zip(names, variables, strict=True))
    build: Build = eval(f"lambda columns: [{{{pairs}}} for {', '.join(variables)}, in zip(*columns)]")
    return build


def values(column: Any) -> list[Any]:
    """A column as a list of Python values, None for null; times beyond microseconds are cut."""
    pa = library("pyarrow", "reading columns")
    is_type, kind = pa.types, column.type
    if is_type.is_string(kind) or is_type.is_large_string(kind):
        column, kind = column.dictionary_encode(), None
    if kind is None or is_type.is_dictionary(kind):
        return _looked_up(column.indices, values(column.dictionary) if kind else column.dictionary.to_pylist())
    if is_type.is_timestamp(kind) and kind.tz is None:
        return _through_numpy(column.cast(pa.timestamp("us"), safe=False))
    if is_type.is_timestamp(kind) and kind.tz == "UTC":
        column = column.dictionary_encode()  # giving a time its zone is dear, and times repeat
        times = _through_numpy(column.dictionary.cast(pa.timestamp("us", "UTC"), safe=False))
        return _looked_up(column.indices, [time.replace(tzinfo=dt.timezone.utc) for time in times])
    if is_type.is_date(kind):
        return _through_numpy(column.cast(pa.date32()))
    if is_type.is_timestamp(kind):
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)  # nanoseconds would come as pandas objects
    if is_type.is_duration(kind):
        column = column.cast(pa.duration("us"), safe=False)
    if not column.null_count and (is_type.is_integer(kind) or is_type.is_floating(kind)):
        numbers: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
        return numbers
    items: list[Any] = column.to_pylist()
    return items


def _looked_up(indices: Any, distinct: list[Any]) -> list[Any]:
    """Equal values become one object, which saves memory, hashing and pickling later on."""
    if indices.null_count:
        distinct.append(None)
        indices = indices.fill_null(len(distinct) - 1)
    return list(map(distinct.__getitem__, indices.to_numpy(zero_copy_only=False).tolist()))


def _through_numpy(column: Any) -> list[Any]:
    items: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
    # numpy gives plain numbers for years that datetime does not know; pyarrow then raises an error that says so
    return column.to_pylist() if int in set(map(type, items)) else items
