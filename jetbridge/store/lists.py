"""Durable named lists: what ``client.get_list`` gives, and the functions that runners write and read them with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetbridge.store import chunks, structures
from jetbridge.store.indexed import Indexed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator


class StoredList(Indexed):
    """A durable list that many threads and processes may append to.

    It answers to the Hazelcast client's names and to a Python list's habits.
    A call that returns has committed. Items come back as equal copies.

    Example:
        >>> import tempfile
        >>> from jetbridge.store import Database
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     db = Database.open(f"{parent}/data")
        ...     numbers = StoredList(db, "numbers")
        ...     _ = numbers.add_all(range(5))
        ...     print(numbers.get_all(), numbers[-1], numbers[1:3], 7 in numbers)
        ...     db.close()
        [0, 1, 2, 3, 4] 4 [1, 2] False
    """

    _kind = "list"

    def add(self, item: Any) -> bool:
        """Append one item; for many, `add_all` is far quicker.

        Returns:
            True, as in Hazelcast.

        Raises:
            SerializationError: When the item cannot be stored.
        """
        return self.add_all([item])

    def add_all(self, items: Iterable[Any]) -> bool:
        """Append items in one atomic commit: other readers see all of them or none.

        Returns:
            Whether there were any.

        Raises:
            SerializationError: When an item cannot be stored; nothing is appended then.
            TypeError: For a text or bytes, whose characters would be the items.
        """
        encoded = list(chunks.encode_chunks(chunks.several("add_all", "add", items)))
        if encoded:
            with self._writing() as tx:
                append(tx, self._name, encoded)
        return bool(encoded)

    def get(self, index: int) -> Any:
        """The item at an index; negative ones count from the end.

        Raises:
            IndexError: When there is no such item.
        """
        return self[index]

    def get_all(self) -> list[Any]:
        """All items, as a Python list."""
        return self[:]

    def clear(self) -> None:
        """Remove every item."""
        with self._writing() as tx:
            clear(tx, self._name)

    def contains(self, item: Any) -> bool:
        """Whether an equal item is in the list; it is searched from the start."""
        return item in self


def append(
    tx: sqlite3.Connection,
    name: str,
    encoded: Iterable[tuple[int, bytes]],
    *,
    run: str = "",
    stage: str = "",
    shard: str = "",
    first_sequence: int = 0,
) -> int:
    """Append encoded chunks inside a transaction; see `chunks.append`.

    Returns:
        How many items were appended.
    """
    if not run:
        return chunks.append(tx, "list", name, encoded)
    return chunks.append(tx, "list", name, encoded, run=run, stage=stage, shard=shard, first_sequence=first_sequence)


def clear(tx: sqlite3.Connection, name: str) -> None:
    """Remove every item of a list inside a transaction."""
    chunks.clear(tx, "list", name)


def size(conn: sqlite3.Connection, name: str) -> int:
    """How many items a list has; 0 when it is not there."""
    return structures.size(conn, "list", name)


def read(conn: sqlite3.Connection, name: str, start: int = 0, end: int | None = None) -> Iterator[list[Any]]:
    """The items of an index range as chunks; see `chunks.read`."""
    return chunks.read(conn, "list", name, start, end)


def names(conn: sqlite3.Connection) -> list[str]:
    """The names of the lists that were ever written to."""
    return structures.names(conn, "list")
