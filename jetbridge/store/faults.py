"""SQLite's errors and the file system's, turned into jetbridge's in one place."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jetbridge.errors import CorruptDataError, DataFolderError, DiskFullError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

# SQLite's own texts are the same in all its versions; its codes reach Python only from 3.11 on.
_FULL = ("database or disk is full",)
_CORRUPT = (
    "malformed",
    "file is not a database",
    "file is encrypted",
    "could not decode to utf-8",
    "invalid page number",
)
_FOLDER = ("unable to open database file", "readonly database", "no such table", "no such column")
_ROOM = 1 << 20  # below a megabyte of free space, an I/O error means a full disk


@contextmanager
def mapped(what: str, folder: str | os.PathLike[str] | None = None) -> Iterator[None]:
    """Let SQLite's errors leave the block as jetbridge's, with the original as their cause.

    Example:
        >>> with mapped("list 'numbers'"):
        ...     raise sqlite3.DatabaseError("database disk image is malformed")
        Traceback (most recent call last):
        jetbridge.errors.CorruptDataError: list 'numbers': the stored data is damaged ...

    Args:
        what: What was being done or read: the message begins with it.
        folder: The data folder, if known: whether its disk is full tells I/O errors apart.

    Raises:
        StoreError: Or one of its subclasses.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, what, folder) from error
    except UnicodeDecodeError as error:
        # A damaged schema: SQLite's message quotes its bytes, and the sqlite3 module cannot read the message.
        raise _damaged(what, "its text is not UTF-8", folder) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(what) from error
        raise


def translate(error: sqlite3.Error, what: str, folder: str | os.PathLike[str] | None = None) -> StoreError:
    """The error of jetbridge's that says what an error of SQLite's means."""
    text = str(error)
    lower = text.lower()
    if any(known in lower for known in _FULL) or ("i/o error" in lower and folder is not None and _no_room(folder)):
        return _disk_full(what)
    if any(known in lower for known in _CORRUPT):
        return _damaged(what, text, folder)
    if any(known in lower for known in _FOLDER):
        return DataFolderError(f"{what}: {text}; check that the folder is there and that this user may write to it")
    if "locked" in lower or "busy" in lower:
        return StoreError(
            f"{what}: another process kept the data folder locked for too long ({text}); "
            "try again when its large commit has ended"
        )
    if "closed database" in lower:
        return StoreError(f"{what}: the data folder was closed, for instance by client.shutdown(); connect again")
    if "too big" in lower:
        return StoreError(f"{what}: one stored value may have at most 1 GB ({text}); cut it into several")
    return StoreError(f"{what}: {text}")


def _damaged(what: str, reason: str, folder: str | os.PathLike[str] | None) -> CorruptDataError:
    return CorruptDataError(
        f"{what}: the stored data is damaged ({reason}); restore the data folder from a copy, "
        f"or remove it to start with an empty one{_rescue(folder)}"
    )


def _rescue(folder: str | os.PathLike[str] | None) -> str:
    if folder is None:
        return ""
    from jetbridge.store import snapshot_reading  # which is seldom needed here

    names = ", ".join(f"'{name}'" for name in snapshot_reading.readable(folder))
    if not names:
        return ""
    return (
        f". Its named snapshots are files of their own, and whole: {names}; copy {os.path.join(folder, 'snapshots')} "
        "into the new folder and start jobs from them (initial_snapshot_name)"
    )


def _disk_full(what: str) -> DiskFullError:
    return DiskFullError(
        f"{what}: the disk of the data folder is full; make room and try again. The last commit stands."
    )


def _no_room(folder: str | os.PathLike[str]) -> bool:
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < _ROOM
