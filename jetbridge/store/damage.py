"""The errors for damaged rows of one job, which name what its user can do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jetbridge.errors import CorruptDataError
from jetbridge.store.snapshot_reading import way_on

if TYPE_CHECKING:
    import sqlite3


def damaged(conn: sqlite3.Connection, job: str, what: str) -> CorruptDataError:
    """The error that something of a job is damaged.

    Args:
        conn: A connection to the data folder.
        job: The job's id.
        what: What is wrong, in words.

    Returns:
        The error, which names the named snapshots that are whole.
    """
    home = home_of(conn)
    return CorruptDataError(f"job {job!r}: {what}; the data folder {home} is damaged: {way_on(home)}")


def home_of(conn: sqlite3.Connection) -> Path:
    """The data folder of a connection."""
    return Path(conn.execute("PRAGMA database_list").fetchall()[0][2]).parent
