"""Folders that belong to named snapshots: state that another system wrote, such as a savepoint of Flink."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from jetbridge.store import snapshot_files

if TYPE_CHECKING:
    from pathlib import Path

_SUFFIX = ".files"


def place(folder: Path, name: str, number: int) -> Path:
    """Where the folder of a snapshot lies.

    Args:
        folder: The folder of all snapshots.
        name: The snapshot's name.
        number: Its number, so that a snapshot that replaces another has a folder of its own.
    """
    path = snapshot_files.path_of(folder, name)
    return path.with_name(f"{path.name}.{number}{_SUFFIX}")


def copy(source: str, target: Path) -> str:
    """Copy a folder durably.

    Returns:
        The copy's path.
    """
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    for path in (target, *target.rglob("*")):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return str(target)


def keep_only(folder: Path, name: str, number: int | None) -> None:
    """Remove the folders of a snapshot's name but the one of a number."""
    path = snapshot_files.path_of(folder, name)
    kept = None if number is None else place(folder, name, number)
    for other in folder.glob("*" + _SUFFIX):
        if other != kept and other.name.startswith(path.name + "."):
            shutil.rmtree(other, ignore_errors=True)
