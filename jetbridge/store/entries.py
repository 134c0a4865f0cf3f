"""Maps below: one row for each entry, ordered by the bytes that identify its key."""

from __future__ import annotations

import itertools
import operator
import reprlib
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any

from jetbridge.errors import CorruptDataError, SerializationError
from jetbridge.kernels.keys import key_bytes
from jetbridge.store import structures, values
from jetbridge.store.faults import mapped

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

Row = tuple[bytes, bytes, bytes]  # key bytes, key, value

# Python's binding costs more for each statement than SQLite does for each row.
_ROWS_AT_ONCE = 50
_KEYS_AT_ONCE = 500
_CRC = 4
_COMMIT_ENTRIES = 200_000
_COMMIT_BYTES = 64 << 20


def encode_entries(pairs: Iterable[tuple[Any, Any]]) -> Iterator[list[Any]]:
    """Encode entries into batches of a size for one commit.

    Of equal keys in a batch the first key object and the last value stay, as in a dict.

    Yields:
        Key bytes, key, value, key bytes, … sorted, for `apply_batch`.

    Raises:
        SerializationError: When something is no pair, or a value cannot be stored.
        KeyTypeError: For a key without stable bytes.
    """
    keys: dict[bytes, bytes] = {}
    encoded: dict[bytes, bytes] = {}
    size = 0
    encode, crc32 = values.encode, zlib.crc32  # a loop over millions
    for index, pair in enumerate(pairs):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise SerializationError(f"entry {index}: a map takes (key, value) pairs; got {_short(pair)}")
        key, value = pair
        place = key_bytes(key)
        try:
            if place not in keys:
                data = encode(key)
                keys[place] = crc32(data, crc32(place)).to_bytes(_CRC, "big") + data
            data = encode(value)
        except SerializationError as error:
            raise SerializationError(f"entry {index}, key {_short(key)}: {error}") from error
        encoded[place] = data = crc32(data, crc32(place)).to_bytes(_CRC, "big") + data
        size += len(data)
        if size >= _COMMIT_BYTES or len(encoded) >= _COMMIT_ENTRIES:
            yield _flat(keys, encoded)
            keys.clear()
            encoded.clear()
            size = 0
    if encoded:
        yield _flat(keys, encoded)


def merged(batches: Iterable[list[Any]]) -> Iterator[list[Any]]:
    """Join batches into fewer ones, of equal keys the first key object and the last value, as in one batch.

    Yields:
        Batches for `apply_batch`, in the order in which they are to be written.
    """
    keys: dict[bytes, bytes] = {}
    encoded: dict[bytes, bytes] = {}
    for batch in batches:
        places = batch[::3]
        # Each of these runs in C: a commit may have hundreds of thousands of entries.
        deque(map(keys.setdefault, places, batch[1::3]), 0)
        encoded.update(zip(places, batch[2::3], strict=True))
        if len(encoded) >= _COMMIT_ENTRIES:
            yield _flat(keys, encoded)
            keys.clear()
            encoded.clear()
    if encoded:
        yield _flat(keys, encoded)


def _flat(keys: dict[bytes, bytes], encoded: dict[bytes, bytes]) -> list[Any]:
    # Neighbours in the table come one after the other: each page is then written once.
    return [part for place in sorted(encoded) for part in (place, keys[place], encoded[place])]


def decode_key(row: Row, what: str) -> Any:
    """The key of a row, once its checksum was compared."""
    return _checked(row[0], row[1], what)


def decode_value(row: Row, what: str) -> Any:
    """The value of a row, once its checksum was compared."""
    return _checked(row[0], row[2], what)


def decode_pairs(rows: list[Row], what: str) -> list[tuple[Any, Any]]:
    """The entries of rows."""
    return [(_checked(place, key, what), _checked(place, value, what)) for place, key, value in rows]


def _checked(place: bytes, data: bytes, what: str) -> Any:
    if type(place) is not bytes or type(data) is not bytes or not _intact(place, data):
        raise _damaged(place, what)
    try:
        return values.decode(data[_CRC:])
    except SerializationError as error:
        raise type(error)(f"{what}, entry with the key bytes {_short(place)}: {error}") from error


def _intact(place: bytes, data: bytes) -> bool:
    # The checksum covers the key bytes too: rows that were mixed up are found.
    return zlib.crc32(data[_CRC:], zlib.crc32(place)) == int.from_bytes(data[:_CRC], "big")


def _damaged(place: object, what: str) -> CorruptDataError:
    return CorruptDataError(
        f"{what}: the stored entry with the key bytes {_short(place)} does not match its checksum; the data folder "
        "is damaged: restore it from a copy, or clear the map"
    )


def _short(value: object) -> str:
    try:
        return reprlib.repr(value)
    except ValueError:  # an int of too many digits to show
        return f"a {type(value).__name__}"


def apply_batch(tx: sqlite3.Connection, name: str, batch: list[Any]) -> int:
    """Write a batch of `encode_entries` inside a transaction.

    Returns:
        How many entries were written.
    """
    structure, size = structures.ensure(tx, "map", name)
    count = len(batch) // 3
    new = _insert(tx, batch, structure, "DO NOTHING")
    if new < count:
        # Some were there: their key objects stay, as in a dict, and the values are replaced.
        _insert(tx, batch, structure, "DO UPDATE SET value = excluded.value WHERE value IS NOT excluded.value")
    if new:
        structures.resize(tx, "map", name, structure, size + new)
    return count


def _insert(tx: sqlite3.Connection, batch: list[Any], structure: int, on_conflict: str) -> int:
    row = f"({structure}, ?, ?, ?)"
    end = f" ON CONFLICT (structure, key_bytes) {on_conflict}"
    start = "INSERT INTO entries (structure, key_bytes, key, value) VALUES "
    step = 3 * _ROWS_AT_ONCE
    whole = len(batch) - len(batch) % step
    many = start + ", ".join([row] * _ROWS_AT_ONCE) + end
    changed = max(0, tx.executemany(many, (batch[i : i + step] for i in range(0, whole, step))).rowcount)
    rest = (batch[i : i + 3] for i in range(whole, len(batch), 3))
    return changed + max(0, tx.executemany(start + row + end, rest).rowcount)


def find_row(conn: sqlite3.Connection, name: str, place: bytes) -> Row | None:
    """The row of a key.

    Raises:
        CorruptDataError: When it is not found and what lies there in its place is damaged, or another one is found.
    """
    with structures.snapshot(conn):
        found = structures.find(conn, "map", name)
        if found is None:
            return None
        row: Row | None = conn.execute(
            "SELECT key_bytes, key, value FROM entries WHERE structure = ? AND key_bytes = ?", (found.id, place)
        ).fetchone()
        if row is not None and row[0] != place:  # in a damaged page a search may end anywhere
            raise _damaged(place, f"map {name!r}")
        if row is None:
            _check_beside(conn, name, found.id, place)
        return row


def find_rows(conn: sqlite3.Connection, name: str, places: list[bytes]) -> dict[bytes, Row]:
    """The rows of many keys that are there, by their key bytes, all of one state of the map.

    Raises:
        CorruptDataError: As `find_row` does.
    """
    rows: dict[bytes, Row] = {}
    with structures.snapshot(conn):
        found = structures.find(conn, "map", name)
        if found is None:
            return rows
        # In the order of the table: neighbours are on one page.
        places = sorted(places)
        for at in range(0, len(places), _KEYS_AT_ONCE):
            some = places[at : at + _KEYS_AT_ONCE]
            marks = ", ".join("?" * len(some))
            got = conn.execute(
                f"SELECT key_bytes, key, value FROM entries WHERE structure = ? AND key_bytes IN ({marks})",
                (found.id, *some),
            ).fetchall()
            rows.update((row[0], row) for row in got)
        for place in places:
            if place not in rows:
                _check_beside(conn, name, found.id, place)
    for place in rows.keys() - set(places):  # in a damaged page a search may end anywhere
        raise _damaged(place, f"map {name!r}")
    return rows


def _check_beside(conn: sqlite3.Connection, name: str, structure: int, place: bytes) -> None:
    """A row that is not found may have damaged key bytes: then it still lies beside the place of the search."""
    for beside in ("< ? ORDER BY key_bytes DESC", "> ? ORDER BY key_bytes"):
        other = conn.execute(
            f"SELECT key_bytes, key FROM entries WHERE structure = ? AND key_bytes {beside} LIMIT 1",
            (structure, place),
        ).fetchone()
        if other is not None and not (all(type(part) is bytes for part in other) and _intact(*other)):
            raise _damaged(other[0], f"map {name!r}")


def remove(tx: sqlite3.Connection, name: str, place: bytes) -> bool:
    """Remove an entry inside a transaction; whether it was there."""
    found = structures.find(tx, "map", name)
    if found is None:
        return False
    gone = tx.execute("DELETE FROM entries WHERE structure = ? AND key_bytes = ?", (found.id, place)).rowcount
    if gone:
        structures.resize(tx, "map", name, found.id, found.size - gone)
    return bool(gone)


def clear(tx: sqlite3.Connection, name: str) -> None:
    """Remove every entry inside a transaction."""
    found = structures.find(tx, "map", name)
    if found is not None:
        tx.execute("DELETE FROM entries WHERE structure = ?", (found.id,))
        structures.resize(tx, "map", name, found.id, 0)


def page(conn: sqlite3.Connection, name: str, after: bytes | None, limit: int) -> list[Row]:
    """The rows that follow a key, in the order of key bytes."""
    with mapped(f"map {name!r}"), structures.snapshot(conn):
        found = structures.find(conn, "map", name)
        if found is None:
            return []
        rows: list[Row] = conn.execute(
            "SELECT key_bytes, key, value FROM entries WHERE structure = ? AND key_bytes > ? "
            "ORDER BY key_bytes LIMIT ?",
            (found.id, after or b"", limit),
        ).fetchall()
    places = [row[0] for row in rows]
    # In a damaged page a row may be there twice, and another one not at all.
    if {*map(type, places)} - {bytes} or not all(map(operator.lt, places, places[1:])):
        raise _damaged(places[0], f"map {name!r}")
    return rows


def state(conn: sqlite3.Connection, name: str) -> tuple[int, int, int]:
    """The size of a map, and two numbers that are the same later if nothing was committed meanwhile."""
    size = structures.size(conn, "map", name)
    # SQLite changes its number for commits of others; a reader's connection makes none itself.
    return size, id(conn), conn.execute("PRAGMA data_version").fetchone()[0]


def pack(pairs: Iterable[tuple[Any, Any]]) -> bytes:
    """All entries as one blob; see `maps.prepare_entries`."""
    return values.encode(list(itertools.chain.from_iterable(encode_entries(pairs))))


def unpack(payload: bytes) -> list[Any]:
    """The batch in a blob of `pack`.

    Raises:
        CorruptDataError: When it is none.
    """
    batch = values.decode(payload)
    if type(batch) is not list or len(batch) % 3:
        raise CorruptDataError("what was given as prepared map entries is something else")
    return batch
