"""The outbox: chunks for sinks in other systems, from the commit that made them until they are known to be written."""

from __future__ import annotations

import sqlite3
import zlib
from typing import TYPE_CHECKING

from jetbridge.connectors.base import SinkChunk
from jetbridge.store.damage import damaged
from jetbridge.store.faults import mapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def put(tx: sqlite3.Connection, job: str, chunks: Iterable[SinkChunk]) -> None:
    """Add chunks, in the transaction that makes them."""
    tx.executemany(
        "INSERT INTO outbox (job, run, stage, shard, sequence, count, payload, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        ((job, c.run, c.stage, c.shard, c.sequence, c.count, c.payload, _crc(job, c)) for c in chunks),
    )


def check(conn: sqlite3.Connection, job: str) -> None:
    """Look whether chunks can have been lost to damage, which the checksums of the others do not tell.

    Raises:
        CorruptDataError: When the table is damaged.
    """
    if sqlite3.sqlite_version_info < (3, 33):
        return  # it knows no check of one table, and that of all takes long
    with mapped(f"the outbox of job {job}"):
        said = conn.execute("PRAGMA integrity_check('outbox')").fetchall()
    if said != [("ok",)]:
        raise damaged(conn, job, f"the outbox is not as it was written ({said[0][0]})")


def read(conn: sqlite3.Connection, job: str) -> Iterator[tuple[int, SinkChunk]]:
    """A job's chunks in order, each with its place in the outbox.

    Raises:
        CorruptDataError: When one does not match its checksum.
    """
    after = 0
    following: dict[tuple[str, str, str], int] = {}
    while True:
        with mapped(f"the outbox of job {job}"):
            row = conn.execute(
                "SELECT id, run, stage, shard, sequence, count, payload, crc FROM outbox "
                "WHERE job = ? AND id > ? ORDER BY id LIMIT 1",
                (job, after),
            ).fetchone()
        if row is None:
            return
        after, *fields, crc = row
        chunk = SinkChunk(*fields)
        if type(chunk.payload) is not bytes or _crc(job, chunk) != crc:
            raise damaged(conn, job, f"chunk {chunk.sequence} of the outbox does not match its checksum")
        place = chunk.run, chunk.stage, chunk.shard
        # Lower ones may come again: without EXACTLY_ONCE a runner may put what it repeats here twice.
        if following.setdefault(place, chunk.sequence) < chunk.sequence:
            raise damaged(conn, job, f"chunk {following[place]} of the outbox for '{chunk.stage}' is missing")
        following[place] = max(following[place], chunk.sequence + 1)
        yield after, chunk


def remove(tx: sqlite3.Connection, job: str, last: int | None = None) -> None:
    """Remove a job's chunks up to a place, or all."""
    if last is None:
        tx.execute("DELETE FROM outbox WHERE job = ?", (job,))
    else:
        tx.execute("DELETE FROM outbox WHERE job = ? AND id <= ?", (job, last))


def _crc(job: str, chunk: SinkChunk) -> int:
    # With its place: one that is taken for another's would be left out, or written twice.
    place = (job, chunk.run, chunk.stage, chunk.shard, chunk.sequence, chunk.count)
    return zlib.crc32(chunk.payload, zlib.crc32(repr(place).encode()))
