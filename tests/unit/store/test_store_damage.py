"""Damaged files: never wrong data, never a raw error, and the structure is named."""

from __future__ import annotations

import random
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from jetbridge.errors import CorruptDataError, StoreError
from jetbridge.store import Database, JobRecord, Registry, StoredList, StoredMap, StoredStream

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
        (b"s" + MORE.encode(), lambda db: StoredMap(db, "more").values(), "map 'more'"),
        (b'"cause":"a text', lambda db: Registry(db).get("job-1"), "job 'job-1': its record"),
        (b'"cause":"a text', lambda db: Registry(db).all(), "job 'job-1'"),
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
        (lambda db: dict(StoredMap(db, "more").items()), {(1, number): MORE for number in range(50)}),
        (lambda db: list(StoredStream(db, "clicks")), CONTENT["stream"]),
        (lambda db: Registry(db).pipeline("job-1"), TEXT.encode()),
        (lambda db: [record.cause for record in Registry(db).all()], [TEXT]),
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
