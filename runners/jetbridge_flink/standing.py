"""Where a job on Flink stands: its savepoint or newest retained checkpoint, and what its checkpoint's body says."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetbridge.connectors import intake
from jetbridge.errors import SnapshotError
from jetbridge.plan.matching import described

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from jetbridge.plan.graph import Plan

ENGINE = "flink"


def body(conn: sqlite3.Connection, plan: Plan, run: str, shards: int, savepoint: Path) -> dict[str, Any]:
    """The body of a checkpoint whose state is in a savepoint of Flink.

    Args:
        conn: A connection to the data folder's database, for the figures.
        plan: The job's plan.
        run: The run's id.
        shards: The number of shards of its stages with state.
        savepoint: The savepoint's folder.
    """
    about = described(plan)
    figures = intake.figures(conn, run)
    for node in plan.sources:
        prefix = f"{node.name}/"
        about["sources"][node.name]["partitions"] = {
            place.removeprefix(prefix): [part["offset"], part["ended"], {}, part.get("kept")]
            for place, part in figures.items()
            if place.startswith(prefix) and "offset" in part
        }
    return {
        "format": 1,
        "run": run,
        "shards": shards,
        **about,
        "counts": {},
        "engine": ENGINE,
        "attachment": str(savepoint),
        "files": checksums(savepoint),
    }


def checksums(folder: Path) -> dict[str, list[Any]]:
    """The sizes and checksums of a savepoint's files, by path."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else _digest(file.read())
        found[str(path.relative_to(folder))] = [path.stat().st_size, digest.hexdigest()]
    return found


def verified(body: dict[str, Any]) -> Path:
    """The folder of a checkpoint's savepoint.

    Raises:
        SnapshotError: When it is not whole, or of another runner.
    """
    if body.get("engine") != ENGINE:
        raise SnapshotError(
            "the job's state was written by the Direct runner, and Flink cannot read it: start the job with "
            'connect(runner="direct"), or afresh'
        )
    folder = Path(body["attachment"])
    if checksums(folder) != body["files"]:
        raise SnapshotError(f"the savepoint {folder} is damaged or not there: start from another snapshot, or afresh")
    return folder


def retained(checkpoints: Path, flink_id: str) -> Path | None:
    """The newest complete checkpoint that Flink has retained of one of its jobs."""
    found = []
    for meta in (checkpoints / flink_id).glob("chk-*/_metadata"):
        with contextlib.suppress(ValueError):
            found.append((int(meta.parent.name.removeprefix("chk-")), meta.parent))
    return max(found)[1] if found else None


def folder_of(location: str) -> Path:
    """The folder of a savepoint, as Flink's answer gives its place."""
    return Path(location.removeprefix("file://").removeprefix("file:"))


def forget(checkpoints: Path, flink_ids: Iterable[str]) -> None:
    """Remove what Flink has retained of jobs that nobody starts from any more."""
    for flink_id in flink_ids:
        shutil.rmtree(checkpoints / flink_id, ignore_errors=True)


def _digest(data: bytes) -> Any:
    return hashlib.sha256(data)
