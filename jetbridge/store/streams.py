"""Durable named streams: logs of messages that are numbered as they come and stay where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetbridge.store import chunks, structures
from jetbridge.store.indexed import Indexed
from jetbridge.times import TimedItems

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable


class StoredStream(Indexed):
    """A durable stream that any process may publish to and jobs read from any number on.

    A call that returns has committed. The messages that it has now can be read as those of a Python list: by index
    or slice, and with ``len``, ``in`` and ``for``.

    Example:
        >>> import tempfile
        >>> from jetbridge.store import Database
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     db = Database.open(f"{parent}/data")
        ...     clicks = StoredStream(db, "clicks")
        ...     clicks.publish({"page": "/"})
        ...     clicks.publish_all([{"page": "/cart"}, {"page": "/pay"}])
        ...     print(len(clicks), [click["page"] for click in clicks], clicks[-1], len(clicks[:2]))
        ...     db.close()
        3 ['/', '/cart', '/pay'] {'page': '/pay'} 2
    """

    _kind = "stream"
    _what = "messages"

    def publish(self, message: Any) -> None:
        """Append one message; for many, `publish_all` is far quicker.

        Raises:
            SerializationError: When it cannot be stored.
        """
        self.publish_all([message])

    def publish_all(self, messages: Iterable[Any]) -> None:
        """Append messages in one atomic commit.

        Raises:
            SerializationError: When one cannot be stored; nothing is published then.
            TypeError: For a text or bytes, whose characters would be the messages.
        """
        encoded = list(chunks.encode_chunks(chunks.several("publish_all", "publish", messages)))
        if encoded:
            with self._writing() as tx:
                append(tx, self._name, encoded)


def append(tx: sqlite3.Connection, name: str, encoded: Iterable[tuple[int, bytes]]) -> int:
    """Append encoded chunks inside a transaction; see `chunks.append`.

    Returns:
        How many messages were appended.
    """
    return chunks.append(tx, "stream", name, encoded)


def read(conn: sqlite3.Connection, name: str, sequence: int, limit: int) -> tuple[TimedItems, int]:
    """Messages from a sequence number on, each with the time at which it was published.

    Args:
        conn: A connection of this thread.
        name: The stream; one that is not there is empty.
        sequence: The number of the first message wanted, from 0.
        limit: The most messages to return.

    Returns:
        The messages, none when nothing is there yet, and the number to go on with.
    """
    found = TimedItems()
    for chunk in chunks.read(conn, "stream", name, sequence, sequence + limit):
        found += chunk
        found.times += chunk.times
    return found, sequence + len(found)


def tail(conn: sqlite3.Connection, name: str) -> int:
    """The number that the next message will have."""
    return structures.size(conn, "stream", name)


def names(conn: sqlite3.Connection) -> list[str]:
    """The names of the streams that were ever written to."""
    return structures.names(conn, "stream")
