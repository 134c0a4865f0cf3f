"""Where the bytes of a data folder lie, so that a test can flip some in each region, and all that can be read there."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import apsw
from power_history import JOB, SNAPSHOTS, Outside, StreamHistory

from jetbridge.connectors import outbox
from jetbridge.errors import JetbridgeError
from jetbridge.kernels.rules import keyed_kernel
from jetbridge.store import (
    Database,
    Registry,
    StoredList,
    StoredMap,
    StoredStream,
    snapshots,
    states,
    structures,
)
from jetbridge.store.snapshot_format import Writer
from jetbridge_direct.state import StageState

PAGE = 8192


@dataclass(frozen=True)
class Region:
    """A stretch of bytes of one kind.

    Attributes:
        file: The file's name.
        kind: What the bytes are for.
        start: Where they begin.
        end: Where they end.
    """

    file: str
    kind: str
    start: int
    end: int


def of_database(path):
    """The regions of a database file whose log is empty: its header, and for each page what SQLite keeps where."""
    yield from (Region(path.name, f"header field at {at}", at, end) for at, end in _HEADER)
    content = path.read_bytes()
    connection = apsw.Connection(str(path))
    pages = list(connection.execute("SELECT name, pageno, pagetype FROM dbstat ORDER BY pageno"))
    connection.close()
    known = {number for _, number, _ in pages}
    for name, number, kind in pages:
        start = (number - 1) * PAGE
        what = f"{kind} of {name}"
        if kind == "overflow":
            yield Region(path.name, f"{what}: next page", start, start + 4)
            yield Region(path.name, f"{what}: content", start + 4, start + PAGE)
            continue
        head = start + 100 if number == 1 else start
        cells = struct.unpack_from(">H", content, head + 3)[0]
        first = struct.unpack_from(">H", content, head + 5)[0]
        pointers = head + (12 if kind == "internal" else 8)
        yield Region(path.name, f"{what}: page header", head, pointers)
        if cells:
            yield Region(path.name, f"{what}: cell pointers", pointers, pointers + 2 * cells)
        if pointers + 2 * cells < start + first:
            yield Region(path.name, f"{what}: unused", pointers + 2 * cells, start + first)
        if first < PAGE:
            yield Region(path.name, f"{what}: cells", start + first, start + PAGE)
    for number in range(1, len(content) // PAGE + 1):
        if number not in known:
            yield Region(path.name, "free page", (number - 1) * PAGE, number * PAGE)


_FIELDS = (16, 2, 1, 1, 1, 1, 1, 1, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 20, 4, 4)
_HEADER = [(sum(_FIELDS[:n]), sum(_FIELDS[: n + 1])) for n in range(len(_FIELDS))]


def of_log(path):
    """The regions of a write-ahead log."""
    yield from (Region(path.name, f"header field at {at}", at, at + 4) for at in range(0, 32, 4))
    for start in range(32, path.stat().st_size, 24 + PAGE):
        yield from (Region(path.name, f"frame field at {at}", start + at, start + at + 4) for at in range(0, 24, 4))
        yield Region(path.name, "frame content", start + 24, start + 24 + PAGE)


def flipped(home, region, chance):
    """Flip one bit, or replace one byte, of a region; says which byte it was."""
    place = chance.randrange(region.start, region.end)
    with open(home / region.file, "r+b") as file:
        file.seek(place)
        before = file.read(1)[0]
        file.seek(place)
        file.write(bytes([before ^ (1 << chance.randrange(8)) if chance.random() < 0.7 else chance.randrange(256)]))
    return place


READINGS = {
    "list plain": lambda db: StoredList(db, "plain").get_all(),
    "list merged": lambda db: StoredList(db, "merged").get_all(),
    "list rolled": lambda db: StoredList(db, "rolled").get_all(),
    "list others": lambda db: StoredList(db, "others").get_all(),
    "an item": lambda db: StoredList(db, "plain")[-1],
    "map last": lambda db: sorted(StoredMap(db, "last").entry_set()),
    "an entry": lambda db: StoredMap(db, "last").get(3),
    "names": lambda db: [structures.names(db.reader(), kind) for kind in ("list", "map", "stream")],
    "stream events": lambda db: list(StoredStream(db, "events")),
    "no such list": lambda db: StoredList(db, "nobody").get_all(),
    "job": lambda db: Registry(db).get(JOB),
    "no such job": lambda db: Registry(db).get("nobody"),
    "jobs": lambda db: {record.id: record for record in Registry(db).all()},
    "job by name": lambda db: Registry(db).by_name(JOB),
    "no such name": lambda db: Registry(db).by_name("nobody"),
    "status": lambda db: Registry(db).statuses([JOB]),
    "pipeline": lambda db: Registry(db).pipeline(JOB),
    "checkpoint": lambda db: states.load(db.reader(), JOB),
    "state": lambda db: _state(db),
    "state for a snapshot": lambda db: _exported(db),
    "outbox": lambda db: (outbox.check(db.reader(), JOB), list(outbox.read(db.reader(), JOB))),
    "snapshots": lambda db: [(each.name, each.number) for each in snapshots.listing(db.home)],
    "snapshot": lambda db: [snapshots.checkpoint(db.home, name) for name in SNAPSHOTS],
    "whole snapshots": lambda db: [snapshots.verify(db.home, name) for name in SNAPSHOTS],
}
"""Everything that a client or a worker reads of the folder of a `StreamHistory`."""


def _state(db):
    """As a worker that goes on."""
    checkpoint = states.load(db.reader(), JOB)
    found = {}
    for node in StreamHistory.pipeline(_Ends, db.home).plan().keyed:
        about = checkpoint["stages"][node.name]
        stage = StageState(keyed_kernel(node), JOB, db.reader)
        stage.restore(about["progress"], segments=about["segments"])
        found[node.name] = [stage.kernel.entries(stage.shard(number)) for number in stage.numbers()]
    return found


class _Ends:
    """What a pipeline needs that is only looked at."""

    path, outside = "parts", Outside(())


def _exported(db):
    """As a named snapshot that is taken now."""
    body = states.load(db.reader(), JOB)
    writer = Writer(io.BytesIO(), 1)
    with structures.snapshot(db.reader()):
        return snapshots._copy(db.reader(), JOB, writer, body, db.home), writer.payload_size


def read_all(home):
    """All readings of a folder, each with its value or jetbridge's error; the error alone when it does not open."""
    try:
        db = Database.open(home)
    except JetbridgeError as error:
        return error
    try:
        return {name: _reading(read, db) for name, read in READINGS.items()}
    finally:
        db.close()


def _reading(read, db):
    try:
        return read(db)
    except JetbridgeError as error:
        return error


def differences(home, before):
    """The readings that give something else than before, and no error of jetbridge's.

    Args:
        home: The folder.
        before: All readings before it was damaged.
    """
    found = read_all(home)
    if isinstance(found, JetbridgeError):
        return []
    wrong = []
    for name, value in found.items():
        if isinstance(value, JetbridgeError) or value == before[name]:
            continue
        if (
            name == "jobs"
            and value.items() <= before[name].items()
            and _say_so(home, before[name].keys() - value.keys())
        ):
            continue
        if name == "an entry" and value is None and isinstance(found["map last"], JetbridgeError):
            continue  # a search in a damaged page may find nothing; who reads all of the map hears of it
        wrong.append((name, value))
    return wrong


def _say_so(home, left_out):
    """Whether jobs that are not listed say themselves that they are damaged."""
    db = Database.open(home)
    try:
        return all(
            isinstance(_reading(lambda db, one=one: Registry(db).get(one), db), JetbridgeError) for one in left_out
        )
    finally:
        db.close()
