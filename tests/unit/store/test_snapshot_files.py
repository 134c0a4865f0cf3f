"""Named snapshots: what goes in comes out, names, order, replacement, processes that die or race."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from jetbridge.errors import CorruptDataError, DiskFullError, SnapshotError
from jetbridge.store import Database, encode, snapshot_files, snapshot_format, snapshots, states

if TYPE_CHECKING:
    from pathlib import Path

BODY = {
    "format": 1,
    "run": "run-1",
    "sources": {"in": {"kind": "items", "name": "in", "default": None, "partitions": {"0": [7, False]}}},
    "stages": {"counts": {"kind": "aggregate", "default": "items in > aggregate", "ended": False}},
    "sinks": {"out": {"kind": "list", "name": "out", "default": None, "sequence": 3}},
    "counts": {"in": [0, 7]},
}
SEGMENTS = [
    ("counts", 0, states.BASE, b"base"),
    ("counts", 0, states.CHANGES, b"changes"),
    ("counts", 5, states.BASE, b""),
    ("größe/2", 127, states.CHANGES, b"x" * 100_000),
]


def fill(db: Database, job: str = "job-1", segments: Any = SEGMENTS) -> None:
    with db.transaction() as tx:
        states.clear(tx, job)
        states.save(tx, job, BODY)
        for segment in segments:
            states.append(tx, job, *segment)


def held(db: Database, job: str) -> list[tuple[str, int, int, bytes]]:
    return list(states.segments(db.reader(), job))


def folder(db: Database) -> list[str]:
    return sorted(os.listdir(db.home / "snapshots"))


def test_a_job_goes_on_where_another_one_stood(db: Database) -> None:
    fill(db)
    fill(db, "job-2", [("counts", 1, states.BASE, b"another job's")])
    made = snapshots.export(db, "job-1", "nightly", "before upgrade")
    assert (made.name, made.job_id, made.job_name) == ("before upgrade", "job-1", "nightly")
    assert abs(made.creation_time - time.time() * 1000) < 60_000
    assert made.payload_size == len(encode(BODY)) + sum(len(payload) for *_, payload in SEGMENTS)
    assert snapshots.listing(db.home) == [snapshots.info(db.home, "before upgrade")] == [made]
    with db.transaction() as tx:
        states.append(tx, "job-3", "stale", 0, states.BASE, b"of a start that failed")
        assert snapshots.restore(tx, db.home, "before upgrade", "job-3") == BODY
    assert held(db, "job-3") == SEGMENTS
    assert states.load(db.reader(), "job-3") == BODY == snapshots.checkpoint(db.home, "before upgrade")
    with db.transaction() as tx:
        snapshots.restore(tx, db.home, "before upgrade", "job-4", stages={"counts"})
    assert held(db, "job-4") == SEGMENTS[:3]
    snapshots.verify(db.home, "before upgrade")


def test_the_manifest_says_what_a_snapshot_is_of(db: Database) -> None:
    fill(db)
    snapshots.export(db, "job-1", None, "a")
    manifest = snapshots.read_manifest(db.home, "a")
    assert manifest["format"] == 1
    assert manifest["job_name"] is None
    assert manifest["sources"] == {"in": {"kind": "items", "name": "in", "default": None}}
    assert manifest["stages"]["counts"]["default"] == "items in > aggregate"
    assert [(part["stage"], part["shard"], part["records"]) for part in manifest["parts"]] == [
        (None, 0, 1),
        ("counts", 0, 2),
        ("counts", 5, 1),
        ("größe/2", 127, 1),
    ]
    json.dumps(manifest)


def test_a_snapshot_lives_without_its_database(db: Database, tmp_path: Path) -> None:
    fill(db)
    snapshots.export(db, "job-1", None, "a")
    other = Database.open(tmp_path / "other")
    with other.transaction() as tx:
        assert snapshots.restore(tx, db.home, "a", "job-9") == BODY
    assert held(other, "job-9") == SEGMENTS
    other.close()


@pytest.mark.parametrize(
    "name", ["", " ", "a/b", "..", "a..b", "../up", "a\\b", ".hidden", " a", "a\n", "a\0", "\udc80", "x" * 201, 3, None]
)
def test_bad_names_are_refused(db: Database, name: Any) -> None:
    fill(db)
    for call in (
        lambda: snapshots.export(db, "job-1", None, name),
        lambda: snapshots.info(db.home, name),
        lambda: snapshots.destroy(db.home, name),
        lambda: snapshots.checkpoint(db.home, name),
    ):
        with pytest.raises(SnapshotError, match=r"a snapshot's name must .*; got "):
            call()


@pytest.mark.parametrize("name", ["a", "A", "Nightly 2024-01-01", "größe", "100%", "%41", "日本", "a.snapshot", "~x?*"])
def test_good_names_come_back(db: Database, name: str) -> None:
    fill(db)
    snapshots.export(db, "job-1", None, name)
    assert [each.name for each in snapshots.listing(db.home)] == [name]
    assert folder(db)[0] == folder(db)[0].lower()


def test_names_that_differ_in_capitals_are_two_snapshots(db: Database) -> None:
    fill(db)
    for name in ("nightly", "Nightly", "%4eightly"):
        snapshots.export(db, "job-1", None, name)
    assert len({name.lower() for name in folder(db)}) == 3


def test_the_order_is_that_of_creation_whatever_the_clock_does(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(db)
    for at, name in ((2_000_000_000, "z"), (1, "a"), (1_000_000_000, "m")):
        monkeypatch.setattr(time, "time", lambda at=at: at)
        snapshots.export(db, "job-1", None, name)
    assert [each.name for each in snapshots.listing(db.home)] == ["m", "a", "z"]
    snapshots.export(db, "job-1", None, "z")
    assert [each.name for each in snapshots.listing(db.home)] == ["z", "m", "a"]


def test_destroy(db: Database) -> None:
    fill(db)
    made = snapshots.export(db, "job-1", None, "a")
    snapshots.export(db, "job-1", None, "b")
    made.destroy()
    assert snapshots.info(db.home, "a") is None
    for call in (made.destroy, lambda: snapshots.checkpoint(db.home, "a")):
        with pytest.raises(SnapshotError, match=r"there is no snapshot 'a' in .*; those that are there: 'b'"):
            call()
    assert [each.name for each in snapshots.listing(db.home)] == ["b"]


def test_a_folder_without_snapshots(tmp_path: Path) -> None:
    assert snapshots.listing(tmp_path) == []
    assert snapshots.info(tmp_path, "a") is None
    with pytest.raises(SnapshotError, match="those that are there: none"):
        snapshots.verify(tmp_path, "a")
    assert list(tmp_path.iterdir()) == []


def test_a_job_without_commits_has_no_snapshot(db: Database) -> None:
    with pytest.raises(SnapshotError, match="job job-1 has committed nothing yet"):
        snapshots.export(db, "job-1", None, "a")
    assert folder(db) == []


def test_damaged_state_is_not_exported(db: Database) -> None:
    fill(db)
    snapshots.export(db, "job-1", None, "a")
    with db.transaction() as tx:
        tx.execute("UPDATE segments SET payload = x'00' WHERE shard = 127")
    with pytest.raises(CorruptDataError, match=r"stage 'größe/2', shard 127"):
        snapshots.export(db, "job-1", None, "a")
    assert folder(db) == ["a.snapshot"]
    snapshots.verify(db.home, "a")


def test_a_full_disk_leaves_the_old_one(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(db)
    snapshots.export(db, "job-1", None, "a")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshot_files, "_sync", full)
    with pytest.raises(DiskFullError, match="snapshot 'a'"):
        snapshots.export(db, "job-1", None, "a")
    assert folder(db) == ["a.snapshot"]
    snapshots.verify(db.home, "a")


def test_foreign_files_are_left_alone(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    fill(db)
    snapshots.export(db, "job-1", None, "a")
    (db.home / "snapshots" / "notes.txt").write_text("mine")
    (db.home / "snapshots" / "UPPER.snapshot").write_text("mine")
    os.mkfifo(db.home / "snapshots" / "pipe.snapshot")
    with caplog.at_level(logging.WARNING, "jetbridge"):
        assert [each.name for each in snapshots.listing(db.home)] == ["a"]
    assert "snapshot 'pipe' is left out" in caplog.text
    assert "no regular file" in caplog.text
    snapshots.export(db, "job-1", None, "b")
    assert "notes.txt" in folder(db)


def test_an_export_sees_one_state(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(db)
    other = Database.open(db.home)
    written = []

    def reach(name: str) -> None:
        if name == "snapshot:write" and not written:
            written.append(1)
            with other.transaction() as tx:
                states.clear(tx, "job-1")

    monkeypatch.setattr(snapshots, "reach", reach)
    snapshots.export(db, "job-1", None, "a")
    other.close()
    assert written
    assert held(db, "job-1") == []
    with db.transaction() as tx:
        snapshots.restore(tx, db.home, "a", "job-2")
    assert held(db, "job-2") == SEGMENTS


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(
    ("point", "new"),
    [
        ("snapshot:write", False),
        ("snapshot:write:3", False),
        ("snapshot:fsync", False),
        ("snapshot:rename", False),
        ("snapshot:rename:2", True),
    ],
)
def test_a_killed_export_leaves_the_old_file_or_the_new_one(
    launch: Any, db: Database, monkeypatch: pytest.MonkeyPatch, point: str, new: bool, before: bool
) -> None:
    fill(db)
    if before:
        snapshots.export(db, "job-1", "old", "a")
    monkeypatch.setenv("JETBRIDGE_CRASH_AT", point)
    source = "from jetbridge.store import snapshots\nsnapshots.export(Database.open(home), 'job-1', 'new', 'a')\n"
    process = launch(source)
    monkeypatch.delenv("JETBRIDGE_CRASH_AT")
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, err
    found = snapshots.info(db.home, "a")
    if new or before:
        assert found is not None
        assert found.job_name == ("new" if new else "old")
        snapshots.verify(db.home, "a")
    else:
        assert found is None
    assert len(folder(db)) == 1 + (before and not new), "what was written aside is still there"
    snapshots.export(db, "job-1", "after", "b")
    assert folder(db) == (["a.snapshot", "b.snapshot"] if new or before else ["b.snapshot"])
    assert snapshots.listing(db.home)[0].name == "b"


def test_racing_exports_leave_whole_snapshots(launch: Any, finish: Any, db: Database) -> None:
    fill(db)
    source = """
        from jetbridge.store import snapshots
        db = Database.open(home)
        print("ready", flush=True)
        sys.stdin.readline()
        numbers = [snapshots.export(db, "job-1", sys.argv[1], "same").number for _ in range(20)]
        print(snapshots.export(db, "job-1", None, "own " + sys.argv[1]).number, *numbers)
    """
    processes = [launch(source, number) for number in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.communicate()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for _ in range(100):
        if snapshots.info(db.home, "same") is not None:
            snapshots.verify(db.home, "same")
    for process in processes:
        numbers = list(map(int, finish(process).split()))
        assert numbers[1:] == sorted(set(numbers[1:]))
        assert numbers[0] > numbers[-1]
    snapshots.verify(db.home, "same")
    listed = snapshots.listing(db.home)
    assert {each.name for each in listed} == {"same", "own 0", "own 1", "own 2"}
    assert len({each.number for each in listed}) == 4
    assert len(folder(db)) == 4


def test_a_slow_export_does_not_undo_a_later_one(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(db)
    other = Database.open(db.home)
    begun = []

    def reach(name: str) -> None:
        if not begun:
            begun.append(1)
            snapshots.export(other, "job-1", "late", "a")

    monkeypatch.setattr(snapshots, "reach", reach)
    snapshots.export(db, "job-1", "early", "a")
    other.close()
    found = snapshots.info(db.home, "a")
    assert found is not None
    assert (found.job_name, found.number) == ("late", 2)
    assert folder(db) == ["a.snapshot"]


def test_a_strangers_number_leaves_room_for_the_next(db: Database) -> None:
    fill(db)
    snapshots.export(db, "job-1", None, "b")
    with open(snapshot_files.path_of(db.home / "snapshots", "a"), "wb") as file:
        writer = snapshot_format.Writer(file, 2**64 - 1)
        writer.begin(None, 0)
        writer.record(0, encode(BODY))
        writer.finish(
            {"name": "a", "creation_time": 0, "job_id": "j", "job_name": None, "sources": {}, "stages": {}, "sinks": {}}
        )
    assert snapshots.export(db, "job-1", "mine", "a").number == 2
    assert [each.job_name for each in snapshots.listing(db.home)] == ["mine", None]
