"""The table of structures: names, sizes, and what the three kinds have in common."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from typing_extensions import Self

from jetbridge.errors import CorruptDataError, StoreError
from jetbridge.store.faults import mapped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetbridge.store.database import Database

Kind = Literal["list", "map", "stream"]


class Structure(NamedTuple):
    """A structure's row."""

    id: int
    size: int


def find(conn: sqlite3.Connection, kind: Kind, name: str) -> Structure | None:
    """The row of a structure, None when nothing was ever written to it.

    Raises:
        CorruptDataError: When the row is damaged, or so damaged that it is not found.
    """
    row = conn.execute(
        "SELECT kind, name, id, size, crc FROM structures WHERE kind = ? AND name = ?", (kind, name)
    ).fetchone()
    if row is not None:
        _check_row(row, f"{kind} {name!r}")
        if row[:2] != (kind, name):  # in a damaged index a search may end anywhere
            raise _damaged(f"{kind} {name!r}")
        return Structure(row[2], row[3])
    if not conn.in_transaction:
        # Another process may make it just now: the two looks below must see one state.
        with snapshot(conn):
            return find(conn, kind, name)
    # A damaged name looks like a structure that is not there: look at the rows themselves, past the index.
    if any(row[:2] == (kind, name) for row in _rows(conn, f"{kind} {name!r}")):
        raise _damaged(f"{kind} {name!r}")
    return None


def _rows(conn: sqlite3.Connection, what: str) -> list[tuple[Any, ...]]:
    """All rows, whole and complete: none is ever deleted, so there are as many as were made."""
    rows = conn.execute("SELECT kind, name, id, size, crc FROM structures NOT INDEXED").fetchall()
    made = conn.execute("SELECT seq FROM sqlite_sequence WHERE name = 'structures'").fetchone()
    if len({row[2] for row in rows}) != (0 if made is None else made[0]):
        raise _damaged(what)
    for row in rows:
        _check_row(row, what)
    return rows


def ensure(tx: sqlite3.Connection, kind: Kind, name: str) -> Structure:
    """The row of a structure, made when it is not there."""
    found = find(tx, kind, name)
    if found is not None:
        return found
    made = tx.execute("INSERT INTO structures (kind, name, size, crc) VALUES (?, ?, 0, 0)", (kind, name)).lastrowid
    assert made is not None
    resize(tx, kind, name, made, 0)
    return Structure(made, 0)


def resize(tx: sqlite3.Connection, kind: Kind, name: str, structure: int, size: int) -> None:
    """Note a structure's new size."""
    crc = _crc(kind, name, structure, size)
    tx.execute("UPDATE structures SET size = ?, crc = ? WHERE id = ?", (size, crc, structure))


def _crc(*row: object) -> int:
    return zlib.crc32(repr(row).encode())


def _check_row(row: tuple[object, ...], what: str) -> None:
    if _crc(*row[:4]) != row[4]:
        raise _damaged(what)


def _damaged(what: str) -> CorruptDataError:
    return CorruptDataError(
        f"{what}: the table of structures is damaged, so it cannot be found safely; "
        "restore the data folder from a copy, or remove it to start with an empty one"
    )


def size(conn: sqlite3.Connection, kind: Kind, name: str) -> int:
    """The number of items of a structure; 0 when it is not there."""
    found = find(conn, kind, name)
    return 0 if found is None else found.size


def names(conn: sqlite3.Connection, kind: Kind) -> list[str]:
    """The names of the structures of a kind that were ever written to, sorted."""
    with mapped(f"the names of the {kind}s"), snapshot(conn):
        return sorted(row[1] for row in _rows(conn, f"the names of the {kind}s") if row[0] == kind)


@contextmanager
def snapshot(conn: sqlite3.Connection) -> Iterator[None]:
    """Let the statements of the block see one state of the data, whatever others commit meanwhile."""
    if conn.in_transaction:
        yield
        return
    conn.execute("BEGIN")
    try:
        yield
    except BaseException:
        with suppress(sqlite3.Error):  # over damaged pages this may fail too, and has nothing to say
            conn.execute("ROLLBACK")
        raise
    conn.execute("COMMIT")


def check_name(kind: Kind, name: str) -> str:
    """The name, when it is one.

    Raises:
        StoreError: When it is not a non-empty text.
    """
    if not isinstance(name, str) or not name:
        raise StoreError(f"the name of a {kind} must be a non-empty str; got {name!r}")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"the name of a {kind} must be valid Unicode text; got {name!r}") from error
    return name


class Stored:
    """What a user's handle to a structure is, of whatever kind: cheap to make, safe to share between threads."""

    _kind: Kind

    def __init__(self, db: Database, name: str) -> None:
        self._db = db
        self._name = check_name(self._kind, name)

    @property
    def name(self) -> str:
        """The structure's name."""
        return self._name

    def blocking(self) -> Self:
        """The structure itself: its calls already return when they are done."""
        return self

    def size(self) -> int:
        """How many items it holds."""
        with self._faults():
            return size(self._db.reader(), self._kind, self._name)

    def is_empty(self) -> bool:
        """Whether it holds nothing."""
        return self.size() == 0

    def __len__(self) -> int:
        return self.size()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r}, home={str(self._db.home)!r})"

    def _faults(self) -> AbstractContextManager[None]:
        return mapped(f"{self._kind} {self._name!r} in {self._db.home}", self._db.home)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._db.transaction() as tx, self._faults():
            yield tx
