"""What a job has in the store when it begins: with nothing, or where a named snapshot stands."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from jetbridge.config import ProcessingGuarantee
from jetbridge.store import snapshots, states

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from jetbridge.store.records import JobRecord


HEALTHY_SECONDS = 60.0
"""How long a stream without a guarantee must have run for the deaths of its workers to be counted from the start."""


def begin(tx: sqlite3.Connection, home: Path, record: JobRecord) -> dict[str, Any]:
    """Prepare a fresh start of a job, which forgets where it stood.

    Args:
        tx: The transaction's connection.
        home: The data folder.
        record: The job.

    Returns:
        The fields of the record that change with it.

    Raises:
        SnapshotError: When the job's initial snapshot is not there any more, or is damaged.
    """
    states.clear(tx, record.id)
    tx.execute("DELETE FROM outbox WHERE job = ?", (record.id,))
    if record.config.get("initial_snapshot_name") is not None:
        restore(tx, home, record)
    return {"run": secrets.token_hex(8), "commits": 0, "metrics": without_figures(record.metrics)}


def restore(tx: sqlite3.Connection, home: Path, record: JobRecord) -> None:
    """Let a job stand where its initial snapshot stands."""
    stages = (record.metrics or {}).get("stages", {})
    snapshots.restore(tx, home, record.config["initial_snapshot_name"], record.id, stages)


def goes_on(record: JobRecord) -> bool:
    """Whether the job, when it is started again, goes on where it stood: else it starts afresh."""
    return bool(record.config.get("processing_guarantee", _NONE) != _NONE)


def has_lasted(record: JobRecord, begun: float) -> bool:
    """Whether a start of a job has gone well for long, so that the deaths of workers before it count no more.

    Commits tell that of a job with a guarantee. Without one only a stream can have got anywhere: a bounded job begins
    anew, and one that dies each time would never end.

    Args:
        record: The job.
        begun: When it was started, by the monotonic clock.
    """
    return record.unbounded and not goes_on(record) and time.monotonic() - begun > HEALTHY_SECONDS


def without_figures(metrics: dict[str, Any] | None) -> dict[str, Any]:
    """The metrics of a run before its first commit: its stages and nothing else."""
    stages = (metrics or {}).get("stages", {})
    return {"stages": {name: {"kind": each["kind"], **_NOTHING} for name, each in stages.items()}}


_NONE = ProcessingGuarantee.NONE.value
_NOTHING = {"received": 0, "emitted": 0, "errors": 0}
