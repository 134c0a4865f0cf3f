"""The outbox: chunks for sinks in other systems, from the commit that made them until they are known to be written."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from jetbridge.connectors.base import SinkChunk
from jetbridge.errors import CorruptDataError
from jetbridge.store.faults import mapped

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator


def put(tx: sqlite3.Connection, job: str, chunks: Iterable[SinkChunk]) -> None:
    """Add chunks, in the transaction that makes them."""
    tx.executemany(
        "INSERT INTO outbox (job, run, stage, shard, sequence, count, payload, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (job, c.run, c.stage, c.shard, c.sequence, c.count, c.payload, zlib.crc32(c.payload, c.sequence & 0xFFFF))
            for c in chunks
        ),
    )


def read(conn: sqlite3.Connection, job: str) -> Iterator[tuple[int, SinkChunk]]:
    """A job's chunks in order, each with its place in the outbox.

    Raises:
        CorruptDataError: When one does not match its checksum.
    """
    after = 0
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
        if type(chunk.payload) is not bytes or zlib.crc32(chunk.payload, chunk.sequence & 0xFFFF) != crc:
            raise CorruptDataError(
                f"job {job}, sink '{chunk.stage}': chunk {chunk.sequence} of the outbox does not match its checksum"
            )
        yield after, chunk


def remove(tx: sqlite3.Connection, job: str, last: int | None = None) -> None:
    """Remove a job's chunks up to a place, or all."""
    if last is None:
        tx.execute("DELETE FROM outbox WHERE job = ?", (job,))
    else:
        tx.execute("DELETE FROM outbox WHERE job = ? AND id <= ?", (job, last))
