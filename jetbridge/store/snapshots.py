"""Named snapshots: a job's checkpoint and state in a file of its own, which outlives the job and the database.

A snapshot is read from one consistent view of the database and written aside,
so the job goes on meanwhile and a reader finds the old file or the new one, whole.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from jetbridge.errors import SnapshotError
from jetbridge.store import attachments, snapshot_files, states, structures, values
from jetbridge.store.crashpoints import reach
from jetbridge.store.faults import mapped
from jetbridge.store.snapshot_files import check_name
from jetbridge.store.snapshot_format import Writer
from jetbridge.store.snapshot_reading import (
    SnapshotInfo,
    body_of,
    checkpoint,
    destroy,
    info,
    listing,
    read_manifest,
    readable,
    reading,
    verify,
    way_on,
)

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Collection
    from pathlib import Path

    from jetbridge.store.database import Database

__all__ = [
    "SnapshotInfo",
    "check_name",
    "checkpoint",
    "destroy",
    "export",
    "info",
    "listing",
    "read_manifest",
    "readable",
    "restore",
    "verify",
    "way_on",
]


def export(
    db: Database, job_id: str, job_name: str | None, name: str, *, body: dict[str, Any] | None = None
) -> SnapshotInfo:
    """Write where a job stands to a named snapshot, which replaces one of that name.

    It reads what is committed when it begins, whatever is committed meanwhile.

    Args:
        db: The job's database.
        job_id: The job's id.
        job_name: Its name, for people.
        name: The snapshot's name.
        body: A checkpoint whose state is in a folder of its own, its ``attachment``, of which a copy is kept; None
            for the job's checkpoint and state in the database.

    Returns:
        The snapshot, which is durable by then.

    Raises:
        SnapshotError: When the name is none, the job has not committed anything yet or the file cannot be written.
        CorruptDataError: When what the database holds of the job does not match its checksums.
        DiskFullError: When there is no room; a snapshot of that name that was there before still is.
    """
    check_name(name)
    creation_time = int(time.time() * 1000)
    try:
        with (
            mapped(f"snapshot '{name}'", db.home),
            snapshot_files.replacing(db.folder.snapshots, name) as (file, number),
        ):
            writer = Writer(file, number)
            with structures.snapshot(db.reader()):
                body = _copy(db.reader(), job_id, writer, body, attachments.place(db.folder.snapshots, name, number))
            about = {"name": name, "creation_time": creation_time, "job_id": job_id, "job_name": job_name}
            writer.finish({**about, **{part: body[part] for part in ("sources", "stages", "sinks")}})
        attachments.keep_only(db.folder.snapshots, name, number)
    except OSError as error:
        raise SnapshotError(f"snapshot '{name}' cannot be written: {error}; check the data folder {db.home}") from error
    return SnapshotInfo(name, creation_time, job_id, job_name, writer.payload_size, number, db.home)


def _copy(
    conn: sqlite3.Connection, job_id: str, writer: Writer, body: dict[str, Any] | None, attachment: Path
) -> dict[str, Any]:
    body = states.load(conn, job_id) if body is None else body
    if body is None:
        raise SnapshotError(f"job {job_id} has committed nothing yet, so there is nothing to take a snapshot of")
    if "attachment" in body:
        body = {**body, "attachment": attachments.copy(body["attachment"], attachment)}
    reach("snapshot:write")
    writer.begin(None, 0)
    writer.record(0, values.encode(body))
    place = None
    counts: dict[str, dict[int, int]] = {stage: {} for stage in body["stages"]}
    for stage, shard, kind, payload in states.segments(conn, job_id):
        of_stage = counts.setdefault(stage, {})
        of_stage[shard] = of_stage.get(shard, 0) + 1
        if place != (stage, shard):
            reach("snapshot:write")
            place = (stage, shard)
            writer.begin(stage, shard)
        writer.record(kind, payload)
    for stage, about in body["stages"].items():
        states.check_counts(conn, job_id, stage, about.get("segments"), counts[stage])
    return body


def restore(
    tx: sqlite3.Connection,
    home: str | os.PathLike[str],
    name: str,
    job_id: str,
    stages: Collection[str] | None = None,
) -> dict[str, Any]:
    """Let a job stand where a snapshot's job stood: fill its checkpoint and its state.

    Args:
        tx: The transaction's connection; let an error roll it back.
        home: The data folder's path.
        name: The snapshot's name.
        job_id: The job's id; what it had before is replaced.
        stages: The stages whose state is wanted: without those that the pipeline does not have any more, which
            would stay for ever otherwise. None is all of them.

    Returns:
        The checkpoint's body, as it was: the run in it is that of the snapshot's job.

    Raises:
        SnapshotError: When the snapshot is not there, is damaged, or a later version wrote it.
    """
    with reading(home, name) as reader:
        body = body_of(reader)
        states.clear(tx, job_id)
        for part in reader.manifest.parts[1:]:
            assert part.stage is not None
            if stages is not None and part.stage not in stages:
                body["stages"].get(part.stage, {}).pop("segments", None)
                continue
            for kind, payload in reader.records(part):
                states.append(tx, job_id, part.stage, part.shard, kind, payload)
        states.save(tx, job_id, body)
    return body
