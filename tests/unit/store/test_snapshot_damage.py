"""Damaged, foreign and newer snapshots: a named error, nothing runs; and what large ones cost."""

from __future__ import annotations

import os
import pickle
import random
import struct
import time
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from jetbridge.errors import SnapshotError
from jetbridge.store import Database, encode, snapshot_format, snapshots, states, values

if TYPE_CHECKING:
    from pathlib import Path

BODY: dict[str, Any] = {"format": 1, "run": "r", "sources": {}, "stages": {}, "sinks": {}, "counts": {}}
SEGMENTS = [("counts", shard, states.BASE, bytes([shard]) * 40) for shard in range(4)]


@pytest.fixture
def made(db: Database) -> Path:
    """The file of a snapshot 'a', beside which a whole one 'b' lies."""
    with db.transaction() as tx:
        states.save(tx, "job-1", BODY)
        for segment in SEGMENTS:
            states.append(tx, "job-1", *segment)
    snapshots.export(db, "job-1", None, "b")
    snapshots.export(db, "job-1", None, "a")
    return db.home / "snapshots" / "a.snapshot"


def refused(db: Database, path: Path, data: bytes) -> str:
    """The error of a start from that file; nothing of it may be in the database then."""
    path.write_bytes(data)
    with pytest.raises(SnapshotError) as restoring, db.transaction() as tx:
        snapshots.restore(tx, db.home, "a", "job-2")
    assert list(states.segments(db.reader(), "job-2")) == []
    assert states.load(db.reader(), "job-2") is None
    with pytest.raises(SnapshotError):
        snapshots.verify(db.home, "a")
    snapshots.listing(db.home)
    return str(restoring.value)


def test_each_flipped_byte_is_found(db: Database, made: Path) -> None:
    original = made.read_bytes()
    randomness = random.Random(99)
    for place in range(len(original)):
        data = bytearray(original)
        data[place] ^= 1 << randomness.randrange(8)
        made.write_bytes(data)
        with pytest.raises(SnapshotError, match=r"snapshot 'a' is damaged \(.*a\.snapshot\)"):
            snapshots.verify(db.home, "a")
    for place in randomness.sample(range(len(original)), 40):
        data = bytearray(original)
        data[place] = (data[place] + 1 + randomness.randrange(255)) % 256
        assert "here: 'b')" in refused(db, made, bytes(data))
    made.write_bytes(original)
    snapshots.verify(db.home, "a")


def test_cut_lengthened_and_torn_files_are_found(db: Database, made: Path) -> None:
    original = made.read_bytes()
    for end in range(0, len(original), 13):
        assert "is damaged" in refused(db, made, original[:end])
        assert "is damaged" in refused(db, made, original[:end] + bytes(len(original) - end))
    for data in (original + b"\0", original + original, original[:16] + original, os.urandom(500)):
        assert "is damaged" in refused(db, made, data)


def test_the_error_names_the_part_and_the_way_on(db: Database, made: Path) -> None:
    original = made.read_bytes()
    at = original.index(b"\x02" * 40)
    message = refused(db, made, original[:at] + b"\xff" + original[at + 1 :])
    assert "the state of stage 'counts', shard 2 does not match its checksum" in message
    assert str(made) in message
    assert message.endswith("start from a named snapshot that is whole (initial_snapshot_name; here: 'b')")
    snapshots.destroy(db.home, "b")
    assert "start the job anew" in refused(db, made, original[:at] + b"\xff" + original[at + 1 :])
    snapshots.destroy(db.home, "a")
    assert snapshots.listing(db.home) == []


def test_a_damaged_snapshot_does_not_hide_the_others(db: Database, made: Path, caplog: Any) -> None:
    made.write_bytes(b"nothing")
    assert [each.name for each in snapshots.listing(db.home)] == ["b"]
    assert "snapshot 'a' is left out" in caplog.text
    snapshots.export(db, "job-1", None, "c")
    snapshots.export(db, "job-1", None, "a")
    assert [each.name for each in snapshots.listing(db.home)] == ["a", "c", "b"]


def test_a_newer_format_is_refused(db: Database, made: Path) -> None:
    head = struct.pack("<8sIQ", b"jetsnap\n", 2, 7)
    data = head + struct.pack("<I", zlib.crc32(head)) + made.read_bytes()[24:]
    message = refused(db, made, data)
    assert "was written by a later version of jetbridge" in message
    assert "upgrade jetbridge" in message


def forged(path: Path, body: bytes, records: list[tuple[int, bytes]] | None = None) -> bytes:
    """A file with good checksums, by somebody who knows the format."""
    with open(path, "wb") as file:
        writer = snapshot_format.Writer(file, 3)
        writer.begin(None, 0)
        for kind, payload in [(0, body)] if records is None else records:
            writer.record(kind, payload)
        about = {"name": "a", "creation_time": 0, "job_id": "j", "job_name": None}
        writer.finish({**about, "sources": {}, "stages": {}, "sinks": {}})
    return path.read_bytes()


def refused_body(db: Database, path: Path, body: bytes, records: Any = None) -> str:
    forged(path, body, records)
    with pytest.raises(SnapshotError) as caught, db.transaction() as tx:
        snapshots.restore(tx, db.home, "a", "job-2")
    return str(caught.value)


class Runs:
    """What a stranger would put into a pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_strangers_pickle_runs_nothing(db: Database, made: Path, tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    stranger = b"\x01" + pickle.dumps({**BODY, "run": Runs(trap)}, 5)
    message = refused_body(db, made, stranger)
    assert "mkdir, which this process has not registered" in message
    with pytest.raises(SnapshotError):
        snapshots.checkpoint(db.home, "a")
    snapshots.verify(db.home, "a")
    snapshots.read_manifest(db.home, "a")
    assert len(snapshots.listing(db.home)) == 2
    with db.transaction() as tx:  # in the state: kept as bytes, which decode refuses
        states.append(tx, "job-1", "counts", 9, states.BASE, b"\x01" + pickle.dumps(Runs(trap), 5))
    snapshots.export(db, "job-1", None, "a")
    with db.transaction() as tx:
        snapshots.restore(tx, db.home, "a", "job-2")
    with pytest.raises(values.UnknownTypeError):
        values.decode(next(iter(states.read(db.reader(), "job-2", "counts", 9)))[1])
    assert not trap.exists()


@pytest.mark.parametrize(
    "body",
    [encode(3), encode({}), encode({"format": "1"}), encode({**BODY, "sources": 3}), b"", b"\x01", b"\x01junk", b"zzz"],
)
def test_a_checkpoint_that_is_none_is_refused(db: Database, made: Path, body: bytes) -> None:
    assert "the checkpoint" in refused_body(db, made, body)


def test_a_newer_checkpoint_is_refused(db: Database, made: Path) -> None:
    assert "upgrade jetbridge" in refused_body(db, made, encode({**BODY, "format": 2}))


def test_forged_manifests_are_refused(db: Database, made: Path) -> None:
    import hashlib

    assert "the checkpoint" in refused_body(db, made, b"", [])
    whole = forged(made, encode(BODY))
    start, size, _ = struct.unpack("<QQ32s", whole[-60:-12])
    manifest = whole[start : start + size]
    assert manifest.startswith(b'{"format":1')
    forgeries = [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        b"\xff",
        manifest.replace(b'"start":24', b'"start":-1'),
        manifest.replace(b'"start":24', b'"start":25'),
        manifest.replace(b'"records":1', b'"records":99999999999999'),
        manifest.replace(b'"records":1', b'"records":0'),
        manifest.replace(b'"size":', b'"size":9999999999999999'),
        manifest.replace(b'"stage":null', b'"stage":"x"'),
        manifest.replace(b'"sources":{}', b'"sources":[]'),
        manifest.replace(b'"parts":[', b'"parts":[],"x":['),
    ]
    for data in forgeries:
        assert data != manifest
        foot = struct.pack("<QQ32s", start, len(data), hashlib.sha256(data).digest())
        changed = whole[:start] + data + foot + struct.pack("<I", zlib.crc32(foot)) + b"jetsend\n"
        assert "is damaged" in refused(db, made, changed)


def test_a_million_keys_take_little_time_and_memory(db: Database) -> None:
    keys = 1_000_000 // 128
    with db.transaction() as tx:
        states.save(tx, "job-1", BODY)
        for shard in range(128):
            names = [f"key-{shard}-{number}" for number in range(keys)]
            states.append(tx, "job-1", "counts", shard, states.BASE, encode((names, list(range(keys)))))
    begun = time.perf_counter()
    made = snapshots.export(db, "job-1", None, "large")
    assert time.perf_counter() - begun < 3
    assert made.payload_size > 15_000_000
    tracemalloc.start()
    try:
        snapshots.export(db, "job-1", None, "large")
        with db.transaction() as tx:
            snapshots.restore(tx, db.home, "large", "job-2")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000
    assert sum(1 for _ in states.segments(db.reader(), "job-2")) == 128
