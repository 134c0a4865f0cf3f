"""Where a job stands: its last checkpoint, and the state of its stages as one log for each shard.

A checkpoint is a small row that each commit replaces. A shard's state is a base
and what has changed since: an epoch appends its changes, and a log that has
outgrown its base is written anew, so an epoch never writes the whole state.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from jetbridge.store import values
from jetbridge.store.damage import damaged
from jetbridge.store.faults import mapped

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

BASE = 0
"""A segment with all entries of a shard; what came before it does not count."""
CHANGES = 1
"""A segment with changed entries, or added ones for a kernel whose state only grows."""


def save(tx: sqlite3.Connection, job: str, body: dict[str, Any]) -> None:
    """Replace a job's checkpoint, in the transaction that holds what belongs to it.

    Args:
        tx: The transaction's connection.
        job: The job's id.
        body: Plain values.
    """
    data = values.encode(body)
    tx.execute("INSERT OR REPLACE INTO checkpoints (job, body, crc) VALUES (?, ?, ?)", (job, data, _crc(data, job)))


def load(conn: sqlite3.Connection, job: str) -> dict[str, Any] | None:
    """A job's last checkpoint, or None.

    Raises:
        CorruptDataError: When it does not match its checksum, or is not there although its state is.
    """
    with mapped(f"the checkpoint of job {job}"):
        row = conn.execute("SELECT body, crc FROM checkpoints WHERE job = ?", (job,)).fetchone()
        if row is None:
            if conn.execute("SELECT 1 FROM segments WHERE job = ? LIMIT 1", (job,)).fetchone():
                raise damaged(conn, job, "it has state, but no checkpoint is found")
            return None
    if type(row[0]) is not bytes or _crc(row[0], job) != row[1]:
        raise damaged(conn, job, "its checkpoint does not match its checksum")
    body: dict[str, Any] = values.decode(row[0])
    return body


def append(tx: sqlite3.Connection, job: str, stage: str, shard: int, kind: int, payload: bytes) -> None:
    """Add a segment to a shard's log."""
    tx.execute(
        "INSERT INTO segments (job, stage, shard, kind, payload, crc) VALUES (?, ?, ?, ?, ?, ?)",
        (job, stage, shard, kind, payload, _crc(payload, job, stage, shard, kind)),
    )


def replace(tx: sqlite3.Connection, job: str, stage: str, shard: int, payload: bytes) -> None:
    """Replace a shard's log by a base."""
    drop(tx, job, stage, shard)
    append(tx, job, stage, shard, BASE, payload)


def drop(tx: sqlite3.Connection, job: str, stage: str, shard: int) -> None:
    """Remove a shard's log."""
    tx.execute("DELETE FROM segments WHERE job = ? AND stage = ? AND shard = ?", (job, stage, shard))


def read(conn: sqlite3.Connection, job: str, stage: str, shard: int) -> Iterator[tuple[int, bytes]]:
    """A shard's segments as ``(kind, payload)``, from its last base on.

    Raises:
        CorruptDataError: When one does not match its checksum.
    """
    with mapped(f"the state of stage '{stage}' of job {job}"):
        rows = conn.execute(
            "SELECT id, kind, payload, crc FROM segments WHERE job = ? AND stage = ? AND shard = ? ORDER BY id",
            (job, stage, shard),
        ).fetchall()
    before = 0
    for number, kind, payload, crc in rows:
        _check(conn, job, stage, shard, kind, payload, crc, before, number)
        before = number
        yield kind, payload


def segments(conn: sqlite3.Connection, job: str) -> Iterator[tuple[str, int, int, bytes]]:
    """All segments of a job as ``(stage, shard, kind, payload)``, shard by shard, one at a time from the database.

    Use it in one read transaction (`structures.snapshot`), and to its end.

    Raises:
        CorruptDataError: When one does not match its checksum.
    """
    with mapped(f"the state of job {job}"):
        rows = conn.execute(
            "SELECT stage, shard, id, kind, payload, crc FROM segments WHERE job = ? ORDER BY stage, shard, id", (job,)
        )
        before: tuple[str, int, int] | None = None
        for stage, shard, number, kind, payload, crc in rows:
            last = before[2] if before is not None and before[:2] == (stage, shard) else 0
            _check(conn, job, stage, shard, kind, payload, crc, last, number)
            before = stage, shard, number
            yield stage, shard, kind, payload


def last(conn: sqlite3.Connection, job: str, stage: str, shard: int, count: int) -> list[bytes]:
    """The payloads of a shard's last segments, in order."""
    return [payload for _, payload in read(conn, job, stage, shard)][-count:]


def drop_last(tx: sqlite3.Connection, job: str, stage: str, shard: int, count: int) -> None:
    """Remove a shard's last segments."""
    tx.execute(
        "DELETE FROM segments WHERE id IN (SELECT id FROM segments WHERE job = ? AND stage = ? AND shard = ? "
        "ORDER BY id DESC LIMIT ?)",
        (job, stage, shard, count),
    )


def shards(conn: sqlite3.Connection, job: str, stage: str) -> dict[int, list[int]]:
    """The shards of a stage that have state, with the bytes of each segment of their logs, in any order."""
    with mapped(f"the state of stage '{stage}' of job {job}"):
        rows = conn.execute(
            "SELECT shard, length(payload) FROM segments WHERE job = ? AND stage = ?", (job, stage)
        ).fetchall()
    found: dict[int, list[int]] = {}
    for shard, size in rows:
        if type(shard) is not int or type(size) is not int:
            raise damaged(conn, job, f"a segment of the state of stage '{stage}' is missing")
        found.setdefault(shard, []).append(size)
    return found


def check_counts(
    conn: sqlite3.Connection, job: str, stage: str, expected: dict[int, int] | None, found: dict[int, int]
) -> None:
    """Compare how many segments each shard of a stage has with what the checkpoint says, if it does.

    Raises:
        CorruptDataError: When some are missing or misplaced, which the checksums of the others do not tell.
    """
    if expected is not None and found != expected:
        raise damaged(
            conn,
            job,
            f"the state of stage '{stage}' has {sum(found.values())} segments that are not the "
            f"{sum(expected.values())} of its checkpoint",
        )


def clear(tx: sqlite3.Connection, job: str) -> None:
    """Forget where a job stands."""
    tx.execute("DELETE FROM checkpoints WHERE job = ?", (job,))
    tx.execute("DELETE FROM segments WHERE job = ?", (job,))


def _crc(data: bytes, *place: Any) -> int:
    return zlib.crc32(data, zlib.crc32(repr(place).encode()))


def _check(
    conn: sqlite3.Connection, job: str, stage: str, shard: int, kind: int, payload: Any, crc: int, *numbers: int
) -> None:
    before, number = numbers
    if type(payload) is not bytes or _crc(payload, job, stage, shard, kind) != crc or number <= before:
        raise damaged(conn, job, f"a segment of the state of stage '{stage}', shard {shard}, is not as it was written")
