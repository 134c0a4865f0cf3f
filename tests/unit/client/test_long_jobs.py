"""A job of very many epochs needs no more than one of a few: neither its worker, nor its client, nor the store."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import astuple, dataclass

import psutil
import pytest

from jetbridge import JobConfig, Pipeline, StreamSource

MB = 1 << 20
ROW = 200  # bytes that a row of the store may take besides what it holds


def counting():
    """State by key, without a key, and sinks that do not grow."""
    pipeline = Pipeline.create()
    numbers = pipeline.read_from(StreamSource("numbers"))
    keyed = numbers.group_by(lambda n: n % 100)
    keyed.rolling_aggregate(accumulator=lambda count, n: count + 1, initial=0).write_to(Pipeline.to_map("counts"))
    total = numbers.rolling_aggregate(accumulator=lambda total, n: total + n, initial=0)
    total.map(lambda total: ("total", total)).write_to(Pipeline.to_map("totals"))
    numbers.map(lambda n: n % 500).distinct().map(lambda n: (n, n)).write_to(Pipeline.to_map("seen"))
    return pipeline


@dataclass(frozen=True)
class Usage:
    """What a process uses: bytes of memory, threads, descriptors."""

    memory: int
    threads: int
    files: int

    @classmethod
    def of(cls, pid):
        process = psutil.Process(pid)
        with process.oneshot():
            return cls(process.memory_info().rss, process.num_threads(), process.num_fds())


class Watched:
    """A job and the client that feeds it."""

    def __init__(self, client, job, until):
        self.client, self.job, self.until = client, job, until
        self.stream = client.get_stream("numbers")
        self.sent = 0

    @property
    def epochs(self):
        return self.client._session.registry.get(self.job.id).commits

    def run(self, epochs):
        """Publish one number after the other, each when the one before it was committed."""
        while self.epochs < epochs:
            before = self.epochs
            self.stream.publish(self.sent)
            self.sent += 1
            self.until(lambda before=before: self.epochs > before, "a commit")

    def worker(self):
        """What the worker uses at the least, over some epochs: collecting garbage, and Beam's threads, come and go."""
        samples = []
        for _ in range(20):
            self.run(self.epochs + 1)
            samples.append(Usage.of(self.client._session.jobs.get(self.job.id).pid))
        return Usage(*map(min, zip(*map(astuple, samples), strict=True)))

    def measure(self):
        """The worker, this process, the bytes of the store and those that it holds."""
        worker = self.worker()
        total = self.sent * (self.sent - 1) // 2
        self.until(lambda: self.client.get_map("totals").get("total") == total, "all numbers in the sums")
        path = self.client._session.db.path
        with contextlib.closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as db:
            busy, *_ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            assert not busy
            held = sum(
                db.execute(f"SELECT total(length(payload)) + ? * count(*) FROM {table}", [ROW]).fetchone()[0]
                for table in ("chunks", "segments")
            )
            store = sum(os.path.getsize(f"{path}{suffix}") for suffix in ("", "-wal"))
            for table in ("checkpoints", "pipelines", "jobs"):
                assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,), table
            for table in ("outbox", "commands"):
                assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
            logs = db.execute("SELECT count(*) FROM segments GROUP BY job, stage, shard").fetchall()
            assert max(logs) <= (33,), "a log of state is made short again and again"
        return worker, Usage.of(os.getpid()), store, held


@pytest.mark.parametrize("epochs", [400, pytest.param(10_000, marks=pytest.mark.full)])
def test_many_epochs(client, jet, until, epochs):
    job = jet.submit(counting(), JobConfig(processing_guarantee="EXACTLY_ONCE", snapshot_interval_millis=500))
    watched = Watched(client, job, until)
    watched.run(epochs // 5)
    worker, own, store, held = watched.measure()
    watched.run(epochs)
    worker_then, own_then, store_then, held_then = watched.measure()
    print(f"{epochs} epochs: worker {worker} -> {worker_then}, client {own} -> {own_then}")
    print(f"store {store} -> {store_then} bytes, of them live at most {held} -> {held_then}")
    for then, now in ((worker, worker_then), (own, own_then)):
        assert now.memory - then.memory < 12 * MB
        assert now.threads <= then.threads
        assert now.files <= then.files
    assert store_then - store < (held_then - held) + MB // 4
    assert dict(client.get_map("counts").entry_set()) == {
        key: len(range(key, watched.sent, 100)) for key in range(min(100, watched.sent))
    }
    assert job.get_metrics().stages["rolling_aggregate"].received_count == watched.sent
    job.cancel()
