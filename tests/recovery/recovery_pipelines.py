"""The pipelines that the recovery tests disturb: every kind of state, source and sink, with known outputs.

A module of its own, because client scripts import it too.
"""

from __future__ import annotations

import glob
import itertools
import os
import time

from recovery_states import SILENCE, Bursts, burst, burst_key, burst_over, bursts, counted, is_fifth

from jetbridge import ListSource, Pipeline, StreamSource, aggregations, sinks, sources
from jetbridge.connectors import Sink, Source
from jetbridge.store import Database, Registry

COUNT = 8_000
SLOW = 0.00025  # seconds of work for each item, so that there are many epochs
STORED, SQUARES, LINES, WIRE = 900, 400, 2_000, (700, 0, 333)
added = aggregations.folding(lambda acc, n: acc + n, initial=0, combiner=lambda a, b: a + b)


TRICKLE = "RECOVERY_TRICKLE_FROM"
"""The environment variable with the number from which on each item takes 20 ms: such a run does not end by itself."""


def slowly(n):
    if (held := os.environ.get(TRICKLE)) is not None and n >= int(held):
        time.sleep(0.02)
        return n
    end = time.perf_counter() + SLOW
    while time.perf_counter() < end:
        pass
    return n


HOLD = "RECOVERY_HOLD"
"""The environment variable with a folder: a worker that comes to `HELD` says so there and waits."""
ROB = "RECOVERY_ROB"
"""The environment variable with a data folder: a worker that comes to `HELD` gives its job another owner, and fails."""
HELD = 1_500


def held(n):
    """A user's function that may take for ever, or fail after it has taken very long."""
    if n == HELD and (folder := os.environ.get(HOLD)):
        with open(os.path.join(folder, "held"), "w"):
            pass
        while True:
            time.sleep(0.01)
    if n == HELD and (home := os.environ.get(ROB)):
        db = Database.open(home)
        record = Registry(db).by_name("robbed")
        Registry(db).update(record.id, owner={**record.owner, "token": "of another"})
        raise ValueError("what a worker says that has lost its job")
    return slowly(n)


def files(to, folder):
    """A pipeline that writes two files, with `held` in it."""
    pipeline = Pipeline.create()
    numbers = pipeline.read_from(Pipeline.from_list("numbers", range(2 * HELD))).map(held)
    numbers.map(str).write_to(sinks.text(os.path.join(folder, to + "out.txt"))).set_name("file")
    numbers.map(lambda n: {"n": n}).write_to(sinks.csv(os.path.join(folder, to + "out.csv"))).set_name("table")
    numbers.write_to(Pipeline.to_list(to + "plain"))
    return pipeline


def check_files(client, to, folder):
    """Each row is there once, and nothing besides."""
    rows = [str(n) for n in range(2 * HELD)]
    for name, expected in ((to + "out.txt", rows), (to + "out.csv", ["n", *rows])):
        with open(os.path.join(folder, name)) as file:
            assert file.read().split() == expected
    assert client.get_list(to + "plain").get_all() == list(range(2 * HELD))
    assert [name for name in os.listdir(folder) if name.startswith(".") and to in name] == []


class Wire(Source):
    """A source of somebody else's: partitions that can only be read one item after the other."""

    kind = "wire"

    def __init__(self, sizes):
        super().__init__("wire")
        self.sizes = sizes

    def open(self, context):
        super().open(context)
        if back := float(os.environ.get("RECOVERY_CLOCK_BACK", 0)):
            real = time.time
            time.time = lambda: real() - back  # in the worker alone

    def partitions(self):
        return [str(number) for number in range(len(self.sizes))]

    def read(self, partition, offset, limit):
        start, size = offset or 0, self.sizes[int(partition)]
        end = min(start + min(limit, 90), size)
        return [f"{partition}-{n}" for n in range(start, end)], end if end < size else None


class Ledger(Sink):
    """A sink of somebody else's: a file for each chunk, under a name that only that chunk has."""

    kind = "ledger"

    def __init__(self, folder):
        super().__init__("ledger")
        self.folder = folder

    def open(self, context):
        super().open(context)
        os.makedirs(self.folder, exist_ok=True)
        if context.unbounded:
            # Parts of a stream appear every ten seconds otherwise.
            from jetbridge.connectors import files_parts

            files_parts.PART_SECONDS = 0.2

    def write(self, chunk):
        path = os.path.join(self.folder, f"{chunk.run}-{chunk.stage}-{chunk.shard}-{chunk.sequence:06}")
        text = "".join(f"{item}\n" for item in chunk.items())
        if os.path.exists(path):
            with open(path) as file:
                assert file.read() == text, f"chunk {chunk.sequence} came again with other rows"
            return
        with open(f"{path}.new", "w") as file:
            file.write(text)
        os.rename(f"{path}.new", path)

    def complete(self):
        with open(os.path.join(self.folder, "complete"), "w"):
            pass


def prepare(client, folder):
    """What the pipelines read, once for a data folder."""
    client.get_list("stored").add_all(range(0, STORED))
    client.get_map("squares").put_all({n: n * n for n in range(SQUARES)})
    with open(os.path.join(folder, "lines.txt"), "w") as file:
        file.writelines(f"line {n}\n" for n in range(LINES))


def batch(to, folder, count=COUNT, external=True):
    """A batch pipeline with every kind of state; its sinks' structures begin with ``to``.

    Without ``external`` it writes to the data folder alone.
    """
    pipeline = Pipeline.create()

    def keep(stage, name):
        stage.write_to(Pipeline.to_list(to + name, clear=True)).set_name(name)

    numbers = pipeline.read_from(Pipeline.from_list("numbers", range(count))).map(slowly)
    stored = pipeline.read_from(ListSource("stored"))
    squares = pipeline.read_from(Pipeline.from_map("squares"))
    lines = pipeline.read_from(sources.text(os.path.join(folder, "lines.txt"))).set_name("text")
    wire = pipeline.read_from(Wire(WIRE))
    keep(numbers, "plain")
    keep(numbers.filter(lambda n: n % 3).flat_map(lambda n: [n] * (n % 4)), "flat")
    sums = numbers.merge(stored).group_by(lambda n: n % 37).aggregate(added).set_name("sum")
    sums.write_to(Pipeline.to_map(to + "sums")).set_name("sums")
    keep(sums.map(lambda pair: pair[1]).aggregate(added).set_name("total"), "total-list")
    numbers.group_by(lambda n: n % 11).write_to(Pipeline.to_list(to + "groups", clear=True)).set_name("groups")
    keep(numbers.sort(lambda n: -n % 1_000), "sorted")
    keep(numbers.distinct(lambda n: n % 501), "once")
    keep(numbers.group_by(lambda n: n % 13).rolling_aggregate(added), "rolling")
    keep(numbers.rolling_aggregate(aggregations.counting()), "count")
    keep(numbers.group_by(lambda n: n % 17).map_stateful(dict, counted), "counted")
    keep(numbers.filter_stateful(list, is_fifth, delete_state_predicate=lambda state: len(state) == 5), "fifth")
    timed = numbers.with_timestamps(lambda n: n).group_by(burst_key)
    keep(timed.flat_map_stateful(list, burst, ttl=SILENCE, on_evict=burst_over), "bursts")
    keep(timed.custom(Bursts), "own bursts")
    keep(numbers.rebalance().map(lambda n: -n), "dealt")
    keep(squares.merge(wire).merge(lines).distinct(), "merged")
    keep(wire.group_by(lambda item: item[0]).collect().map(lambda pair: (pair[0], len(pair[1]))), "wires")
    keep(numbers.filter(lambda n: n < 0).aggregate(aggregations.counting()), "none")
    both = numbers.group_by(lambda n: n % 19).aggregate2(added, stored.group_by(lambda n: n % 19), added)
    keep(both, "both")
    keep(numbers.hash_join(sums, lambda n: n % 37, lambda n, total: (n, total)).set_name("look up"), "looked up")
    thirds, fifths = (timed_groups(numbers.filter(lambda n, of=of: n % of == 0)) for of in (3, 5))
    keep(thirds.interval_join(fifths, before=20, after=20, how="left").set_name("near"), "near-list")
    keep(thirds.as_of_join(fifths, tolerance=30).set_name("newest"), "newest-list")
    if not external:
        return pipeline
    numbers.map(str).write_to(sinks.text(os.path.join(folder, to + "out.txt"))).set_name("file")
    numbers.merge(stored).write_to(Ledger(os.path.join(folder, to + "ledger"))).set_name("ledger")
    return pipeline


def timed_groups(numbers):
    return numbers.with_timestamps(lambda n: n).group_by(lambda n: n % 7)


LISTS = [
    *("plain", "flat", "total-list", "groups", "sorted", "once", "rolling", "count", "counted", "fifth"),
    *("bursts", "own bursts", "dealt", "merged", "wires", "none"),
    *("both", "looked up", "near-list", "newest-list"),
]
ORDERED = {"plain", "flat", "sorted", "count", "fifth"}


def batch_outputs(client, to, folder, external=True):
    """Everything that the batch pipeline has written, in an order that is the same in every run."""
    found = {}
    for name in LISTS:
        items = client.get_list(to + name).get_all()
        found[name] = items if name in ORDERED else sorted(map(repr, items))
    found["by key"] = by_key(client.get_list(to + "rolling").get_all())
    found["sums"] = dict(client.get_map(to + "sums").entry_set())
    if not external:
        return found
    with open(os.path.join(folder, to + "out.txt")) as file:
        found["file"] = file.read().split()
    # Between two sources the order is open.
    found["ledger"] = sorted(ledger(os.path.join(folder, to + "ledger")), key=int)
    found["complete"] = os.path.exists(os.path.join(folder, to + "ledger", "complete"))
    found["hidden"] = [name for name in os.listdir(folder) if name.startswith(".") and to in name]
    return found


def check_batch(found, count=COUNT):
    """The outputs are right, and not only always the same."""
    numbers, stored = range(count), range(STORED)
    every = [*numbers, *stored]
    assert found["plain"] == list(numbers)
    assert found["flat"] == [n for n in numbers if n % 3 for _ in range(n % 4)]
    assert found["total-list"] == [repr(sum(every))]
    assert found["groups"] == sorted(repr((key, list(range(key, count, 11)))) for key in range(11))
    assert found["sorted"] == sorted(numbers, key=lambda n: -n % 1_000)
    assert found["once"] == sorted(map(repr, range(501)))
    assert found["by key"] == {key: list(itertools.accumulate(range(key, count, 13))) for key in range(13)}
    assert found["count"] == list(range(1, count + 1))
    assert found["counted"] == sorted(repr((n % 17, n // 17 + 1)) for n in numbers)
    assert found["fifth"] == list(range(4, count, 5))
    assert found["bursts"] == found["own bursts"] == sorted(map(repr, bursts(numbers, float("inf"))))
    assert found["dealt"] == sorted(repr(-n) for n in numbers)
    assert len(found["merged"]) == SQUARES + sum(WIRE) + LINES
    assert found["wires"] == [repr((str(n), size)) for n, size in enumerate(WIRE) if size]
    assert found["none"] == ["0"]
    assert found["sums"] == {key: sum(n for n in every if n % 37 == key) for key in range(37)}
    sums = [[sum(n for n in side if n % 19 == key) for key in range(19)] for side in (numbers, stored)]
    assert found["both"] == sorted(repr((key, pair)) for key, pair in enumerate(zip(*sums, strict=True)))
    assert found["looked up"] == sorted(repr((n, found["sums"][n % 37])) for n in numbers)
    near, newest = [], []
    for n in range(0, count, 3):
        # Of the same key modulo 7 and divisible by 5: one of 35 numbers.
        mine = [m for m in range(max(0, n - 35), min(count, n + 21)) if m % 5 == 0 and m % 7 == n % 7]
        around = [m for m in mine if n - 20 <= m]
        near += [repr((n % 7, (n, m))) for m in around or [None]]
        before = [m for m in mine if n - 30 <= m <= n]
        newest.append(repr((n % 7, (n, max(before, default=None)))))
    assert found["near-list"] == sorted(near)
    assert found["newest-list"] == sorted(newest)
    if "file" not in found:
        return
    assert found["file"] == [str(n) for n in numbers]
    assert found["ledger"] == sorted(map(str, every), key=int)
    assert found["complete"]
    assert found["hidden"] == []


def stream(to, folder):
    """A stream pipeline with every kind of state; it reads the stream of the same name."""
    pipeline = Pipeline.create()

    def keep(stage, name):
        stage.write_to(Pipeline.to_list(to + name)).set_name(name)

    events = pipeline.read_from(StreamSource(to)).set_name("events").map(lambda n: n * 2)
    stored = pipeline.read_from(ListSource("stored"))
    keep(events, "plain")
    keep(events.merge(stored.map(lambda n: -n - 1)).distinct(lambda n: n), "merged")
    keep(events.group_by(lambda n: n % 13).rolling_aggregate(added), "rolling")
    keep(events.rolling_aggregate(aggregations.counting()), "count")
    keep(events.distinct(lambda n: n % 501), "once")
    keep(events.group_by(lambda n: n % 17).map_stateful(dict, counted), "counted")
    timed = events.with_timestamps(lambda n: n)
    keep(timed.group_by(burst_key).flat_map_stateful(list, burst, ttl=SILENCE, on_evict=burst_over), "bursts")
    keep(timed.rebalance(burst_key).group_by(burst_key).custom(Bursts), "own bursts")
    events.map(lambda n: (n % 37, n)).write_to(Pipeline.to_map(to + "last")).set_name("last")
    events.map(str).write_to(sinks.text(os.path.join(folder, to + "parts"))).set_name("file")
    events.write_to(Ledger(os.path.join(folder, to + "ledger"))).set_name("ledger")
    return pipeline


STREAM_LISTS = ("plain", "merged", "count", "once", "counted", "bursts", "own bursts")


def stream_outputs(client, to, folder):
    """Everything that the stream pipeline has written so far."""
    found = {name: client.get_list(to + name).get_all() for name in STREAM_LISTS}
    found["rolling"] = by_key(client.get_list(to + "rolling").get_all())
    found["last"] = dict(client.get_map(to + "last").entry_set())
    found["ledger"] = ledger(os.path.join(folder, to + "ledger"))
    found["file"] = parts(os.path.join(folder, to + "parts"))
    return found


def stream_expected(count):
    """What the stream pipeline must have written after so many events."""
    events = [n * 2 for n in range(count)]
    return {
        "plain": events,
        "merged": sorted([*events, *range(-STORED, 0)]),
        "count": list(range(1, count + 1)),
        "counted": sorted((key, i + 1) for key in range(17) for i in range(sum(n % 17 == key for n in events))),
        "bursts": sorted(bursts(events, events[-1])),
        "own bursts": sorted(bursts(events, events[-1])),
        "once": sorted({n % 501: n for n in events[::-1]}.values()),
        "rolling": {key: list(itertools.accumulate(n for n in events if n % 13 == key)) for key in range(13)},
        "last": {n % 37: n for n in events},
        "ledger": list(map(str, events)),
        "file": list(map(str, events)),
    }


def comparable(found):
    """The outputs of a stream without the order in which shards take turns."""
    return {**found, **{name: sorted(found[name]) for name in ("merged", "once", "counted", "bursts", "own bursts")}}


def by_key(pairs):
    found = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def ledger(folder):
    """The rows of a `Ledger` in the order of their numbers."""
    rows = []
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), "*-ledger-*"))):
        if not path.endswith(".new"):
            with open(path) as file:
                rows += file.read().split()
    return rows


def parts(folder):
    """The rows of the visible parts of a stream's file sink."""
    rows = []
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), "part-*"))):
        with open(path) as file:
            rows += file.read().split()
    return rows
