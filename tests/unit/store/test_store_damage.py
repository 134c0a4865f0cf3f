"""Damaged files: never wrong data, never a raw error, and the structure is named."""

from __future__ import annotations

import random
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from jetbridge.errors import CorruptDataError, StoreError
from jetbridge.store import (
    Database,
    JobRecord,
    Registry,
    StoredList,
    StoredMap,
    StoredStream,
    lists,
    maps,
    snapshots,
    states,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXT = "a text that is found in the file"
MORE = "another text"
CONTENT = {
    "list": [f"{TEXT} {number}" for number in range(300)],
    "map": {f"{TEXT} {number}": number for number in range(300)},
    "stream": [(TEXT, number) for number in range(300)],
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("damage") / "data"
    db = Database.open(home)
    StoredList(db, "numbers").add_all(CONTENT["list"])
    StoredList(db, "others").add_all(CONTENT["list"])
    StoredMap(db, "delays").put_all(CONTENT["map"])
    StoredMap(db, "more").put_all({(1, number): MORE for number in range(50)})
    StoredStream(db, "clicks").publish_all(CONTENT["stream"])
    record = JobRecord(id="job-1", status="COMPLETED", name="nightly", cause=TEXT)
    Registry(db).add(record, pipeline=TEXT.encode())
    with db.transaction() as tx:
        tx.execute("SELECT 1")
    db._connection("writer").execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return home


@pytest.fixture
def damage(written: Path, tmp_path: Path) -> Callable[[bytes, int], Database]:
    def flip(pattern: bytes, occurrence: int = 0) -> Database:
        shutil.copytree(written, tmp_path / "data", dirs_exist_ok=True)
        file = tmp_path / "data" / "jetbridge.db"
        data = bytearray(file.read_bytes())
        place = [match.start() for match in re.finditer(re.escape(pattern), data)][occurrence]
        data[place] ^= 1
        file.write_bytes(data)
        return Database.open(tmp_path / "data")

    return flip


def corruption(read: Callable[[Database], Any], db: Database) -> str | None:
    try:
        read(db)
    except CorruptDataError as error:
        return str(error)
    finally:
        db.close()
    return None


@pytest.mark.parametrize(
    ("pattern", "read", "named"),
    [
        (TEXT.encode() + b" 7\x94", lambda db: StoredList(db, "numbers").get_all(), "list 'numbers'"),
        (TEXT.encode() + b" 299\x94e.", lambda db: StoredList(db, "numbers")[299], "list 'numbers', items 256 to 299"),
        (TEXT.encode() + b"\x94", lambda db: list(StoredStream(db, "clicks")), "stream 'clicks'"),
        (b"s" + TEXT.encode(), lambda db: StoredMap(db, "delays").entry_set(), "map 'delays'"),
        (b"s" + TEXT.encode(), lambda db: StoredMap(db, "delays").key_set(), "map 'delays'"),
        (
            b"s" + TEXT.encode(),
            lambda db: maps.read_values(db.reader(), "delays", list(CONTENT["map"])),
            "map 'delays'",
        ),
        (b"s" + MORE.encode(), lambda db: StoredMap(db, "more").values(), "map 'more'"),
        (b'"cause":"a text', lambda db: Registry(db).get("job-1"), "job 'job-1': its record"),
        (b'"cause":"a text', lambda db: Registry(db).by_name("nightly"), "job 'job-1': its record"),
    ],
)
def test_a_flipped_byte_is_found_and_named(damage: Any, pattern: bytes, read: Any, named: str) -> None:
    found = 0
    for occurrence in range(20):
        try:
            db = damage(pattern, occurrence)
        except IndexError:
            break
        error = corruption(read, db)
        if error is not None:
            assert named in error
            found += 1
    assert found


def test_a_flipped_pipeline_is_found(damage: Any) -> None:
    for occurrence in range(2000):
        db = damage(TEXT.encode(), occurrence)
        error = corruption(lambda db: Registry(db).pipeline("job-1"), db)
        if error is not None:
            assert "its pipeline does not match" in error
            return
    pytest.fail("the pipeline's bytes were not met")


def test_missing_rows_are_found(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written, tmp_path / "data")
    db = Database.open(tmp_path / "data")
    with db.transaction() as tx:
        tx.execute("DELETE FROM chunks WHERE start = 0")
        tx.execute("DELETE FROM entries WHERE key_bytes = ?", (f"s{TEXT} 7".encode(),))
    with pytest.raises(CorruptDataError, match="list 'numbers': the items from 0 on are missing"):
        StoredList(db, "numbers").get_all()
    with pytest.raises(CorruptDataError, match="map 'delays': 299 of its 300 entries"):
        StoredMap(db, "delays").entry_set()
    StoredList(db, "numbers").clear()
    StoredList(db, "numbers").add(1)
    assert StoredList(db, "numbers").get_all() == [1]
    with db.transaction() as tx:
        tx.execute("UPDATE structures SET size = 3 WHERE name = 'others'")
    with pytest.raises(CorruptDataError, match="list 'others'"):
        StoredList(db, "others").size()
    db.close()


def test_random_damage_gives_right_data_or_a_store_error(written: Path, tmp_path: Path) -> None:
    original = (written / "jetbridge.db").read_bytes()
    home = tmp_path / "data"
    shutil.copytree(written, home)
    randomness = random.Random(4711)
    readers: list[tuple[Callable[[Database], Any], Any]] = [
        (lambda db: StoredList(db, "numbers").get_all(), CONTENT["list"]),
        (lambda db: StoredList(db, "others").get_all(), CONTENT["list"]),
        (lambda db: dict(StoredMap(db, "delays").items()), CONTENT["map"]),
        (lambda db: set(StoredMap(db, "delays")), set(CONTENT["map"])),
        (lambda db: maps.read_values(db.reader(), "delays", list(CONTENT["map"])), list(CONTENT["map"].values())),
        (lambda db: maps.read_values(db.reader(), "delays", ["", TEXT, "b"]), [None] * 3),
        (lambda db: dict(StoredMap(db, "more").items()), {(1, number): MORE for number in range(50)}),
        (lambda db: list(StoredStream(db, "clicks")), CONTENT["stream"]),
        (lambda db: Registry(db).pipeline("job-1"), TEXT.encode()),
        (lambda db: getattr(Registry(db).by_name("nightly"), "cause", None), TEXT),
    ]
    found = 0
    for _ in range(400):
        data = bytearray(original)
        place = randomness.randrange(len(data))
        data[place] ^= 1 << randomness.randrange(8)
        for name in ("jetbridge.db-wal", "jetbridge.db-shm"):
            (home / name).unlink(missing_ok=True)
        (home / "jetbridge.db").write_bytes(data)
        try:
            db = Database.open(home)
        except StoreError:
            found += 1
            continue
        for read, expected in readers:
            try:
                assert read(db) == expected, f"wrong data after a flip at {place}"
            except StoreError:
                found += 1
        db.close()
    assert found > 20


def test_a_damaged_job_does_not_hide_the_others(db: Database, caplog: Any) -> None:
    jobs = Registry(db)
    for number in range(3):
        jobs.add(JobRecord(id=f"job-{number}", status="RUNNING", name=f"name-{number}"), b"")
    with db.transaction() as tx:
        tx.execute("UPDATE jobs SET body = replace(body, 'name-1', 'name-9') WHERE id = 'job-1'")
    assert [record.id for record in jobs.all()] == ["job-2", "job-0"]
    assert "a job is left out: job 'job-1': its record does not match its checksum" in caplog.text
    for read in (lambda: jobs.get("job-1"), lambda: jobs.by_name("name-1"), lambda: jobs.update("job-1", cause="x")):
        with pytest.raises(CorruptDataError, match="start the job anew, since there is no named snapshot"):
            read()
    assert jobs.by_name("name-2") == jobs.get("job-2")


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM jobs WHERE id = 'job-1'",
        "UPDATE jobs SET id = 'jab-1' WHERE id = 'job-1'",
        "UPDATE jobs SET name = 'nightlx' WHERE id = 'job-1'",
        "UPDATE jobs SET status = 'RUNNINF' WHERE id = 'job-1'",
    ],
)
def test_a_job_that_is_not_found_is_not_taken_for_none(db: Database, damage: str) -> None:
    jobs = Registry(db)
    jobs.add(JobRecord(id="job-1", status="RUNNING", name="nightly"), b"")
    assert jobs.get("job-2") is None
    with db.transaction() as tx:
        tx.execute(damage)
    found = 0
    for read in (
        lambda: jobs.get("job-1"),
        lambda: jobs.by_name("nightly"),
        lambda: jobs.statuses(["job-1"]),
        lambda: jobs.pipeline("job-1"),
    ):
        try:
            assert read() is not None
        except CorruptDataError:
            found += 1
    assert found >= 2


def test_state_that_is_lost_is_found(db: Database) -> None:
    with db.transaction() as tx:
        stage = {"kind": "sum", "default": None, "segments": {0: 2, 1: 1}}
        body = {"format": 1, "sources": {}, "stages": {"sum": stage}, "sinks": {}}
        states.save(tx, "job-1", body)
        for shard in (0, 0, 1):
            states.append(tx, "job-1", "sum", shard, states.BASE, b"payload")
    counts = {shard: len(sizes) for shard, sizes in states.shards(db.reader(), "job-1", "sum").items()}
    states.check_counts(db.reader(), "job-1", "sum", {0: 2, 1: 1}, counts)
    snapshots.export(db, "job-1", None, "whole")
    with db.transaction() as tx:
        tx.execute("DELETE FROM segments WHERE id = 2")
    way = r"start from a named snapshot that is whole \(initial_snapshot_name; here: 'whole'\)"
    with pytest.raises(CorruptDataError, match="2 segments that are not the 3 of its checkpoint.*" + way):
        snapshots.export(db, "job-1", None, "broken")
    assert [each.name for each in snapshots.listing(db.home)] == ["whole"]
    with db.transaction() as tx:
        tx.execute("DELETE FROM checkpoints")
    with pytest.raises(CorruptDataError, match="it has state, but no checkpoint is found.*" + way):
        states.load(db.reader(), "job-1")


def test_a_flipped_bit_of_a_checkpoint_is_found_wherever_it_is(db: Database) -> None:
    with db.transaction() as tx:
        states.save(tx, "job-1", {"format": 1, "epoch": 7, "sources": {"in": {"partitions": {"0": [12, False]}}}})
    [body] = db.reader().execute("SELECT body FROM checkpoints").fetchone()
    for place in range(len(body)):
        with db.transaction() as tx:
            damaged = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
            tx.execute("UPDATE checkpoints SET body = ?", (damaged,))
        with pytest.raises(CorruptDataError, match="its checkpoint does not match its checksum"):
            states.load(db.reader(), "job-1")
    with db.transaction() as tx:
        tx.execute("UPDATE checkpoints SET body = ?, job = 'job-2'", (body,))
    with pytest.raises(CorruptDataError, match="its checkpoint does not match its checksum"):
        states.load(db.reader(), "job-2")


def test_rows_that_changed_their_places_are_found(db: Database) -> None:
    with db.transaction() as tx:
        for shard, payload in ((0, b"a"), (0, b"b"), (1, b"c")):
            states.append(tx, "job-1", "sum", shard, states.BASE, payload)
        tx.execute("UPDATE segments SET shard = 1 WHERE id = 2")
    assert list(states.read(db.reader(), "job-1", "sum", 0)) == [(states.BASE, b"a")]
    with pytest.raises(CorruptDataError, match="shard 1, is not as it was written"):
        list(states.read(db.reader(), "job-1", "sum", 1))


def test_a_structure_that_is_lost_is_not_empty(db: Database) -> None:
    StoredList(db, "a").add(1)
    StoredList(db, "b").add(2)
    with db.transaction() as tx:
        tx.execute("DELETE FROM structures WHERE name = 'a'")
    with pytest.raises(CorruptDataError, match="list 'a': the table of structures is damaged"):
        StoredList(db, "a").get_all()
    with pytest.raises(CorruptDataError, match="the names of the lists: the table of structures is damaged"):
        lists.names(db.reader())
    assert StoredList(db, "b").get_all() == [2]


def test_damaged_pages_name_the_snapshots(db: Database) -> None:
    with db.transaction() as tx:
        states.save(tx, "job-1", {"format": 1, "sources": {}, "stages": {}, "sinks": {}})
    snapshots.export(db, "job-1", None, "nightly")
    home = db.home
    db.close()
    with open(home / "jetbridge.db", "r+b") as file:
        file.write(b"no header of sqlite's")
    with pytest.raises(
        CorruptDataError, match="Its named snapshots are files of their own, and whole: 'nightly'; copy"
    ):
        Database.open(home)
