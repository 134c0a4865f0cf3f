"""A structure that another process makes between two looks is new, and not damaged."""

from __future__ import annotations

import pytest

from jetbridge.store import Database, lists, maps, streams
from jetbridge.store.lists import StoredList
from jetbridge.store.maps import StoredMap
from jetbridge.store.streams import StoredStream


class Slow:
    """A connection behind whose first statement somebody else writes."""

    def __init__(self, connection, meanwhile):
        self.connection = connection
        self.meanwhile = meanwhile

    def execute(self, *arguments):
        cursor = self.connection.execute(*arguments)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is None:
            return cursor
        rows = cursor.fetchall()
        meanwhile()
        return Rows(rows)

    def __getattr__(self, name):
        return getattr(self.connection, name)


class Rows:
    def __init__(self, rows):
        self.rows = rows

    def fetchone(self):
        return self.rows[0] if self.rows else None

    def fetchall(self):
        return self.rows


KINDS = {
    "list": (lambda db: StoredList(db, "new").add(1), lambda conn: lists.size(conn, "new")),
    "map": (lambda db: StoredMap(db, "new").put(1, 1), lambda conn: maps.size(conn, "new")),
    "stream": (lambda db: StoredStream(db, "new").publish(1), lambda conn: streams.tail(conn, "new")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_made_between_two_looks(tmp_path, kind):
    make, size = KINDS[kind]
    home = tmp_path / "home"
    ours, theirs = Database.open(home), Database.open(home)
    try:
        assert size(Slow(ours.reader(), lambda: make(theirs))) in (0, 1)
        assert size(ours.reader()) == 1
    finally:
        ours.close()
        theirs.close()
