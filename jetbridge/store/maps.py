"""Durable named maps: what ``client.get_map`` gives, and the functions that runners write and read them with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from jetbridge.errors import CorruptDataError
from jetbridge.kernels.keys import key_bytes
from jetbridge.store import entries, structures
from jetbridge.store.faults import mapped

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

_PAGE_ROWS = 64  # of unknown size; later pages adapt
_MAX_PAGE_ROWS = 4096
_PAGE_BYTES = 4 << 20


class StoredMap(structures.Stored):
    """A durable map that many threads and processes may write to.

    It answers to the Hazelcast client's names and to a dict's habits. Keys are
    equal as in a dict (1, 1.0 and True are one key; NaN is one key), in every
    process; their types are those that jetbridge can shard by. The order of
    iteration is fixed but means nothing. A call that returns has committed;
    what it returns are copies, so change a value with ``put``.

    Example:
        >>> import tempfile
        >>> from jetbridge.store import Database
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     db = Database.open(f"{parent}/data")
        ...     delays = StoredMap(db, "delays")
        ...     delays.put_all({"UA": 3.5, "AA": 0.4})
        ...     print(delays.put("UA", 3.6), delays["UA"], "DL" in delays, delays.entry_set())
        ...     db.close()
        3.5 3.6 False [('AA', 0.4), ('UA', 3.6)]
    """

    _kind = "map"

    def put(self, key: Any, value: Any) -> Any:
        """Set the value of a key.

        Returns:
            The value before, or None. Where that does not matter, ``map[key] = value`` does not read it.

        Raises:
            KeyTypeError: For a key of another type.
            SerializationError: When the value cannot be stored, or the one before cannot be read;
                the map is as before then.
        """
        place = key_bytes(key)
        (batch,) = entries.encode_entries([(key, value)])
        with self._writing() as tx:
            before = self._value(entries.find_row(tx, self._name, place))
            entries.apply_batch(tx, self._name, batch)
        return before

    def put_all(self, pairs: Mapping[Any, Any] | Iterable[tuple[Any, Any]]) -> None:
        """Set many values.

        Up to 200,000 entries and 64 MB are one atomic commit. More are several, so that
        jobs get their turn in between; when a later entry cannot be stored, the earlier
        commits stand.

        Raises:
            KeyTypeError: For a key of another type.
            SerializationError: When an entry is no pair or cannot be stored.
        """
        for batch in entries.encode_entries(pairs.items() if isinstance(pairs, Mapping) else pairs):
            with self._writing() as tx:
                entries.apply_batch(tx, self._name, batch)

    def get(self, key: Any, default: Any = None) -> Any:
        """The value of a key, or the default."""
        row = self._find(key)
        return default if row is None else self._value(row)

    def contains_key(self, key: Any) -> bool:
        """Whether there is a value for the key."""
        return self._find(key) is not None

    def remove(self, key: Any) -> Any:
        """Remove a key.

        Returns:
            The value that it had, or None.
        """
        place = key_bytes(key)
        with self._writing() as tx:
            before = self._value(entries.find_row(tx, self._name, place))
            entries.remove(tx, self._name, place)
        return before

    def clear(self) -> None:
        """Remove every entry."""
        with self._writing() as tx:
            entries.clear(tx, self._name)

    def entry_set(self) -> list[tuple[Any, Any]]:
        """All entries as ``(key, value)`` pairs."""
        return list(self.items())

    def key_set(self) -> list[Any]:
        """All keys."""
        return list(self.keys())

    def values(self) -> list[Any]:
        """All values."""
        return [entries.decode_value(row, self._label) for row in self._rows()]

    def keys(self) -> Iterator[Any]:
        """The keys one after the other, some thousand in memory at a time."""
        for row in self._rows():
            yield entries.decode_key(row, self._label)

    def items(self) -> Iterator[tuple[Any, Any]]:
        """The entries one after the other, some thousand in memory at a time."""
        for row in self._rows():
            value = entries.decode_value(row, self._label)
            yield entries.decode_key(row, self._label), value

    def __iter__(self) -> Iterator[Any]:
        return self.keys()

    def __contains__(self, key: object) -> bool:
        return self.contains_key(key)

    def __getitem__(self, key: Any) -> Any:
        row = self._find(key)
        if row is None:
            raise KeyError(key)
        return self._value(row)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.put_all([(key, value)])

    def __delitem__(self, key: Any) -> None:
        with self._writing() as tx:
            if not entries.remove(tx, self._name, key_bytes(key)):
                raise KeyError(key)

    @property
    def _label(self) -> str:
        return f"map {self._name!r}"

    def _find(self, key: Any) -> entries.Row | None:
        place = key_bytes(key)
        with self._faults():
            return entries.find_row(self._db.reader(), self._name, place)

    def _value(self, row: entries.Row | None) -> Any:
        return None if row is None else entries.decode_value(row, self._label)

    def _rows(self) -> Iterator[entries.Row]:
        with self._faults():
            before = entries.state(self._db.reader(), self._name)
        after: bytes | None = None
        limit = _PAGE_ROWS
        seen = 0
        while True:
            with self._faults():
                rows = entries.page(self._db.reader(), self._name, after, limit)
            yield from rows
            seen += len(rows)
            if len(rows) < limit:
                break
            after = rows[-1][0]
            fetched = sum(len(row[2]) for row in rows)
            limit = max(1, min(_MAX_PAGE_ROWS, _PAGE_BYTES * len(rows) // max(1, fetched)))
        with self._faults():
            # When nobody has written meanwhile, a missing row is damage.
            if seen != before[0] and entries.state(self._db.reader(), self._name) == before:
                raise CorruptDataError(
                    f"{self._label}: {seen} of its {before[0]} entries are left; the data folder is damaged: "
                    "restore it from a copy, or clear the map"
                )


def prepare_entries(pairs: Iterable[tuple[Any, Any]]) -> bytes:
    """Encode entries on any core, for `apply_entries`.

    Example:
        >>> isinstance(prepare_entries([("UA", 1), ("AA", 2)]), bytes)
        True

    Raises:
        SerializationError: When an entry is no pair or cannot be stored.
        KeyTypeError: For a key without stable bytes.
    """
    return entries.pack(pairs)


def apply_entries(tx: sqlite3.Connection, name: str, *payloads: bytes) -> int:
    """Write prepared entries inside a transaction; of equal keys the last value stays.

    Many payloads in one call are quicker than one call for each: a key is
    written once, and entries that are neighbours in the table together.

    Returns:
        How many entries were written.
    """
    return sum(entries.apply_batch(tx, name, batch) for batch in entries.merged(map(entries.unpack, payloads)))


def read_page(
    conn: sqlite3.Connection, name: str, after: bytes | None, limit: int
) -> tuple[list[tuple[Any, Any]], bytes | None]:
    """Entries in a fixed order, a page at a time.

    Args:
        conn: A connection of this thread.
        name: The map; one that is not there is empty.
        after: What the page before returned, None for the first.
        limit: The most entries to return, at least 1.

    Returns:
        The entries, and where to go on; None when these were the last ones.
    """
    rows = entries.page(conn, name, after, limit)
    return entries.decode_pairs(rows, f"map {name!r}"), rows[-1][0] if len(rows) == limit else None


def read_values(conn: sqlite3.Connection, name: str, keys: Sequence[Any]) -> list[Any]:
    """The values of many keys, all as they are at one moment.

    Args:
        conn: A connection of this thread.
        name: The map; one that is not there is empty.
        keys: The keys.

    Returns:
        The value of each, None where there is none.

    Raises:
        KeyTypeError: For a key without stable bytes.
        CorruptDataError: When the map is damaged.
        SerializationError: When a value cannot be read.
    """
    places = [key_bytes(key) for key in keys]
    label = f"map {name!r}"
    with mapped(label):
        rows = entries.find_rows(conn, name, list(dict.fromkeys(places)))
    found = map(rows.get, places)
    return [None if row is None else entries.decode_value(row, label) for row in found]


def size(conn: sqlite3.Connection, name: str) -> int:
    """How many entries a map has; 0 when it is not there."""
    return structures.size(conn, "map", name)


def clear(tx: sqlite3.Connection, name: str) -> None:
    """Remove every entry of a map inside a transaction."""
    entries.clear(tx, name)


def names(conn: sqlite3.Connection) -> list[str]:
    """The names of the maps that were ever written to."""
    return structures.names(conn, "map")
