"""Chunks that arrive more than once and in any order, taken once and in order.

A runner whose workers write on their own gives each chunk a number within its
run, stage and shard. What comes again is left out; what comes early waits until
all before it are there, so positions in a list never change.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from jetbridge.connectors.base import SinkChunk
from jetbridge.errors import CorruptDataError
from jetbridge.store import values

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from jetbridge.connectors.embedded import EmbeddedSink


def begins(tx: sqlite3.Connection, run: str, stage: str) -> bool:
    """Whether this is the first that a sink hears of a run; it is not from then on."""
    done = tx.execute("INSERT OR IGNORE INTO intake (run, stage, shard, next) VALUES (?, ?, '', 0)", (run, stage))
    return done.rowcount == 1


def has_begun(conn: sqlite3.Connection, run: str, stage: str) -> bool:
    """Whether `begins` was called for a sink of a run."""
    row = conn.execute("SELECT 1 FROM intake WHERE run = ? AND stage = ? AND shard = ''", (run, stage)).fetchone()
    return row is not None


def take(tx: sqlite3.Connection, chunks: Iterable[SinkChunk]) -> list[SinkChunk]:
    """The chunks that are new and whose turn has come, those among them that had to wait.

    Args:
        tx: The transaction that also writes what is returned.
        chunks: Chunks of any stages.

    Returns:
        Chunks, in order within each stage and shard.
    """
    places: dict[tuple[str, str, str], dict[int, SinkChunk]] = {}
    for chunk in chunks:
        places.setdefault((chunk.run, chunk.stage, chunk.shard), {}).setdefault(chunk.sequence, chunk)
    taken: list[SinkChunk] = []
    for place, arrived in places.items():
        row = tx.execute("SELECT next FROM intake WHERE run = ? AND stage = ? AND shard = ?", place).fetchone()
        following = first = 0 if row is None else row[0]
        while (turn := arrived.pop(following, None) or _waiting(tx, place, following)) is not None:
            taken.append(turn)
            following += 1
        _keep(tx, [chunk for number, chunk in arrived.items() if number > following])
        if following != first:  # one that waited may have come again, and was taken
            tx.execute(
                "DELETE FROM early WHERE run = ? AND stage = ? AND shard = ? AND sequence < ?", (*place, following)
            )
        if row is None or following != first:
            numbered = (*place, following)
            tx.execute("INSERT OR REPLACE INTO intake (run, stage, shard, next) VALUES (?, ?, ?, ?)", numbered)
    return taken


def waiting(conn: sqlite3.Connection, run: str) -> int:
    """How many chunks of a run wait for one before them."""
    row = conn.execute("SELECT count(*) FROM early WHERE run = ?", (run,)).fetchone()
    return int(row[0])


def note(tx: sqlite3.Connection, run: str, place: str, version: int, body: dict[str, Any]) -> None:
    """Keep how far a part of a run is, unless something newer is known."""
    tx.execute(
        "INSERT INTO figures (run, place, version, body) VALUES (?, ?, ?, ?) ON CONFLICT (run, place) DO UPDATE "
        "SET version = excluded.version, body = excluded.body WHERE excluded.version > version",
        (run, place, version, values.encode(body)),
    )


def figures(conn: sqlite3.Connection, run: str) -> dict[str, dict[str, Any]]:
    """How far each part of a run is, by its place."""
    rows = conn.execute("SELECT place, body FROM figures WHERE run = ?", (run,)).fetchall()
    return {place: values.decode(body) for place, body in rows}


def finish(tx: sqlite3.Connection, run: str, sinks: Mapping[str, EmbeddedSink]) -> None:
    """End a run: sinks that nothing has come to begin nevertheless, and the run is forgotten.

    Args:
        tx: The transaction that ends the job.
        run: The run's id.
        sinks: The embedded sinks, by stage.
    """
    for stage, sink in sinks.items():
        if begins(tx, run, stage):
            sink.begin(tx)
    clear(tx, run)


def clear(tx: sqlite3.Connection, run: str) -> None:
    """Forget a run."""
    tx.execute("DELETE FROM intake WHERE run = ?", (run,))
    tx.execute("DELETE FROM early WHERE run = ?", (run,))
    tx.execute("DELETE FROM figures WHERE run = ?", (run,))


def _keep(tx: sqlite3.Connection, chunks: list[SinkChunk]) -> None:
    tx.executemany(
        "INSERT OR IGNORE INTO early (run, stage, shard, sequence, count, payload, crc) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(c.run, c.stage, c.shard, c.sequence, c.count, c.payload, zlib.crc32(c.payload)) for c in chunks],
    )


def _waiting(tx: sqlite3.Connection, place: tuple[str, str, str], sequence: int) -> SinkChunk | None:
    which = (*place, sequence)
    row = tx.execute(
        "DELETE FROM early WHERE run = ? AND stage = ? AND shard = ? AND sequence = ? RETURNING count, payload, crc",
        which,
    ).fetchone()
    if row is None:
        return None
    count, payload, crc = row
    if zlib.crc32(payload) != crc:
        raise CorruptDataError(f"stage '{place[1]}': a chunk that waits to be written does not match its checksum")
    return SinkChunk(*place, sequence, count, payload)
