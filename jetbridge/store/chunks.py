"""Lists and streams below: append-only rows of many items each.

A row holds a few thousand encoded items and the index of its first one, so that
five million integers are six hundred rows, and an index is found in one search.
"""

from __future__ import annotations

import itertools
import reprlib
import struct
import time
import zlib
from typing import TYPE_CHECKING, Any

from jetbridge.errors import CorruptDataError, SerializationError
from jetbridge.store import structures, values
from jetbridge.store.faults import mapped
from jetbridge.times import TimedItems

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator

    from jetbridge.store.structures import Kind

MAX_ITEMS = 8192
_FIRST_ITEMS = 256  # the size of items is not known yet
_GOOD_BYTES = 1 << 20
_MAX_BYTES = 8 << 20
_PAGE_BYTES = 4 << 20  # what one short read fetches, about
_MAX_ROWS = 1024
_PLACE = struct.Struct("<qqq")

Row = tuple[int, int, bytes, int, int, int]  # start, count, payload, crc, structure, written


def several(method: str, one: str, items: Iterable[Any]) -> Iterable[Any]:
    """What was given as many items.

    Args:
        method: The method that it was given to.
        one: The method for a single item.
        items: What was given.

    Raises:
        TypeError: For a text or bytes, which is nearly always meant as one.
    """
    if isinstance(items, (str, bytes, bytearray)):
        raise TypeError(
            f"{method} must be given several items; got {reprlib.repr(items)} ({type(items).__name__}): "
            f"{one}(it) takes one item, and {method}(list(it)) its parts"
        )
    return items


def encode_chunks(items: Iterable[Any]) -> Iterator[tuple[int, bytes]]:
    """Cut items into chunks of a good size and encode them.

    Example:
        >>> [count for count, payload in encode_chunks(range(10_000))]
        [256, 8192, 1552]

    Yields:
        The number of items and the payload, for `append`.

    Raises:
        SerializationError: For an item that cannot be stored; the message has its index.
    """
    iterator = iter(items)
    done = 0
    limit = _FIRST_ITEMS
    while chunk := list(itertools.islice(iterator, limit)):
        for count, payload in _encode(chunk, done):
            yield count, payload
            limit = max(1, min(MAX_ITEMS, _GOOD_BYTES * count // len(payload)))
        done += len(chunk)


def _encode(items: list[Any], index: int) -> list[tuple[int, bytes]]:
    try:
        payload = values.encode(items)
    except SerializationError as error:
        if len(items) > 1:
            half = len(items) // 2  # the halves that can be encoded are, until the culprit is alone
            return _encode(items[:half], index) + _encode(items[half:], index + half)
        raise SerializationError(f"item {index}: {error}") from error
    if len(payload) > _MAX_BYTES and len(items) > 1:
        half = len(items) // 2
        return _encode(items[:half], index) + _encode(items[half:], index + half)
    return [(len(items), payload)]


def append(
    tx: sqlite3.Connection,
    kind: Kind,
    name: str,
    chunks: Iterable[tuple[int, bytes]],
    *,
    run: str | None = None,
    stage: str | None = None,
    shard: str | None = None,
    first_sequence: int | None = None,
) -> int:
    """Append encoded chunks inside a transaction.

    Args:
        tx: The transaction's connection.
        kind: The kind of structure.
        name: Its name; it is made when it is not there.
        chunks: Numbers of items and payloads, each a `values.encode` of a list.
        run: With stage, shard and sequence the identity of chunks that a job writes.
        stage: The sink stage's name.
        shard: The shard or source partition.
        first_sequence: The first chunk's number within (run, stage, shard).

    Returns:
        How many items were appended.
    """
    structure, first = structures.ensure(tx, kind, name)
    now = int(time.time() * 1000)
    start = first
    rows = []
    for number, (count, payload) in enumerate(chunks):
        sequence = None if first_sequence is None else first_sequence + number
        crc = _crc(structure, start, count, payload)
        rows.append((structure, start, count, payload, crc, now, run, stage, shard, sequence))
        start += count
    tx.executemany(
        "INSERT INTO chunks (structure, start, count, payload, crc, written, run, stage, shard, sequence) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    structures.resize(tx, kind, name, structure, start)
    return start - first


def clear(tx: sqlite3.Connection, kind: Kind, name: str) -> None:
    """Remove every item inside a transaction."""
    found = structures.find(tx, kind, name)
    if found is not None:
        tx.execute("DELETE FROM chunks WHERE structure = ?", (found.id,))
        structures.resize(tx, kind, name, found.id, 0)


def read(conn: sqlite3.Connection, kind: Kind, name: str, start: int, end: int | None = None) -> Iterator[TimedItems]:
    """The items of an index range with the time each was written, at most a chunk at a time, fetched in short reads.

    What is appended meanwhile beyond ``end`` is not seen; when the structure is
    cleared meanwhile, the reading ends early.

    Args:
        conn: A connection of this thread.
        kind: The kind of structure.
        name: Its name; one that is not there is empty.
        start: The first index.
        end: The index after the last; None is the size at the first read.

    Raises:
        CorruptDataError: When rows are missing or do not match their checksum.
        UnknownTypeError: When an item's class is not registered.
    """
    return read_with(lambda: conn, kind, name, start, end)


def read_with(
    connect: Callable[[], sqlite3.Connection], kind: Kind, name: str, start: int, end: int | None = None
) -> Iterator[TimedItems]:
    """As `read`, but each short read asks for its connection, so that a fork or another thread may come between."""
    what = f"{kind} {name!r}"
    limit = 4
    while end is None or start < end:
        with mapped(what):
            rows, size = _page(connect(), kind, name, start, end, limit)
        end = size if end is None else min(end, size)
        if not rows:
            return
        fetched = 0
        for row in rows:
            items = _items(row, what)
            first = row[0]
            fetched += len(row[2])
            chunk = items[max(0, start - first) : end - first]
            start = first + len(items)
            yield TimedItems(chunk, [row[5]] * len(chunk))
        limit = max(1, min(_MAX_ROWS, _PAGE_BYTES * len(rows) // max(1, fetched)))


def _page(
    conn: sqlite3.Connection, kind: Kind, name: str, start: int, end: int | None, limit: int
) -> tuple[list[Row], int]:
    """Rows from the one that holds ``start`` on, checked to be there without gaps, and the structure's size."""
    with structures.snapshot(conn):
        found = structures.find(conn, kind, name)
        if found is None:
            return [], 0
        end = found.size if end is None else min(end, found.size)
        if start >= end:
            return [], found.size
        rows: list[Row] = conn.execute(
            "SELECT start, count, payload, crc, ?1, written FROM chunks WHERE structure = ?1 AND start < ?3 "
            "AND start >= coalesce((SELECT max(start) FROM chunks WHERE structure = ?1 AND start <= ?2), 0) "
            "ORDER BY start LIMIT ?4",
            (found.id, start, end, limit),
        ).fetchall()
    expected = start
    for row in rows:
        if type(row[0]) is not int or type(row[1]) is not int or row[0] > expected or row[0] + row[1] <= expected:
            break
        expected = row[0] + row[1]
    else:
        if rows:
            return rows, found.size
    raise CorruptDataError(
        f"{kind} {name!r}: the items from {expected} on are missing, although it has {found.size}; the data folder is "
        "damaged: restore it from a copy, or clear the structure"
    )


def _items(row: Row, what: str) -> list[Any]:
    start, count, payload, crc, structure, _ = row
    place = f"{what}, items {start} to {start + count - 1}"
    if type(payload) is not bytes or _crc(structure, start, count, payload) != crc:
        raise CorruptDataError(
            f"{place}: the stored bytes do not match their checksum; the data folder is damaged: restore it from a "
            "copy, or clear the structure"
        )
    try:
        items = values.decode(payload)
    except SerializationError as error:
        raise type(error)(f"{place}: {error}") from error
    if type(items) is not list or len(items) != count:
        raise CorruptDataError(f"{place}: the row does not hold a list of {count} items")
    return items


def _crc(structure: int, start: int, count: int, payload: bytes) -> int:
    # With its place: rows that changed places are found too, also between structures.
    return zlib.crc32(payload, zlib.crc32(_PLACE.pack(structure, start, count)))
