"""A job's life on a recorded disk: the real host, epochs and commits, with all that happens around them.

Everything runs in this process, on a clock of its own, so that a seed decides
which commits are durable and what lies between them.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from dataclasses import dataclass

import apsw
from power_disk import Disk
from power_vfs import record
from recovery_pipelines import added

from jetbridge import ListSource, Pipeline, ProcessingGuarantee, StreamSource, sinks
from jetbridge.connectors import ConnectorContext, Sink, files_parts
from jetbridge.kernels import order
from jetbridge.store import Database, JobRecord, Registry, StoredList, StoredStream, database, snapshots, states
from jetbridge_direct import commits as commits_module
from jetbridge_direct import epochs as epochs_module
from jetbridge_direct import reading
from jetbridge_direct.commits import Commits
from jetbridge_direct.epochs import Epochs
from jetbridge_direct.host import JobHost

JOB, STORED = "job", 40
SNAPSHOTS = ("nightly", "weekly")


@dataclass(frozen=True)
class Commit:
    """A commit: the moments when it was begun and when its writer knew of it, and all that the database held then."""

    begun: int
    known: int
    durable: bool
    fingerprint: bytes


@dataclass(frozen=True)
class SnapshotChange:
    """A named snapshot that was taken, or destroyed: then its digest is None."""

    name: str
    begun: int
    known: int
    digest: bytes | None


class Clock:
    """Stands for the time module where it decides what is durable."""

    def __init__(self):
        self.now = 1_000.0

    def monotonic(self):
        return self.now

    def time(self):
        return time.time()


class Outside(Sink):
    """A sink in another system: what it was given it keeps, whatever becomes of this disk."""

    kind = "outside"

    def __init__(self, disk):
        super().__init__("outside")
        self.disk = disk
        self.delivered = []

    def write(self, chunk):
        self.delivered.append((len(self.disk), chunk.sequence, chunk.items()))


def fingerprint(connection):
    """All rows of all tables."""
    digest = hashlib.sha256()
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    for (table,) in tables:
        digest.update(table.encode())
        digest.update(repr(connection.execute(f"SELECT * FROM {table}").fetchall()).encode())
    return digest.digest()


class History:
    """The life of one job, until `end`.

    Args:
        root: An empty folder.
        chance: A random.Random.
        patch: A pytest.MonkeyPatch.
        guarantee: The job's.
    """

    unbounded: bool
    path: str

    def __init__(self, root, chance, patch, guarantee=ProcessingGuarantee.EXACTLY_ONCE):
        self.chance, self.guarantee = chance, guarantee
        self.root, self.home = root, root / "home"
        self.disk, self.clock = Disk(root), Clock()
        self.commits, self.changes = [], []
        self.outside = Outside(self.disk)
        self.vfs = record(self.disk, self._committing, patch)
        patch.setattr(database, "_CHECKPOINT_PAGES", chance.choice([6, 20, 60]))
        patch.setattr(database, "LOG_LIMIT", chance.choice([100_000, 400_000]))
        patch.setattr(database, "_LOG_RETRY_SECONDS", 0.0)
        patch.setattr(commits_module, "time", self.clock)
        patch.setattr(files_parts, "time", self.clock)
        patch.setattr(files_parts, "PART_SECONDS", 3.0)
        for name in ("FIRST_SECONDS", "MOST_SECONDS", "STREAM_SECONDS", "MOST_STREAM_SECONDS"):
            patch.setattr(epochs_module, name, 0.0)
        patch.setattr(order, "CHUNK_ITEMS", 90)
        patch.setattr(reading, "FIRST_ITEMS", 30)
        patch.setattr(reading, "MOST_ITEMS", 60)
        self._asked = True  # the first commit, that of the tables, is durable
        self._note_what_is_asked(patch)
        self._open()
        StoredList(self.client, "stored").add_all(range(STORED))
        owner = {"token": "first", "pid": 0}
        self.registry.add(JobRecord(id=JOB, name=JOB, status="STARTING", run="run", owner=owner), b"pipeline")
        self._start()

    @classmethod
    def go_on(cls, root, history, moment):
        """The same job in an image of a moment, over the sqlite3 module and the machine's own disk."""
        job = cls.__new__(cls)
        job.root, job.home, job.guarantee = root, root / "home", history.guarantee
        job.outside = Outside(())
        job.outside.delivered = [each for each in history.outside.delivered if each[0] < moment]
        job._open()
        return job

    def to_the_end(self):
        """Let the job run as far as it can, and end as it does then."""
        record = self.registry.get(JOB)
        if record is not None and record.status != "COMPLETED":
            self._start()
            while self.host.has_input() and not self.host.done:
                self.epochs.run()
                self.job.commit()
            if self.unbounded:
                self.job.commit({"status": "SUSPENDED", "owner": None})
            elif self.registry.get(JOB).status != "COMPLETED":
                self.job.complete()
            self.epochs.close()
            self.job.close()
            self.host.close()

    def _note_what_is_asked(self, patch):
        transaction = Database.transaction

        @contextlib.contextmanager
        def noted(db, durable=False):
            self._asked = durable
            with transaction(db, durable) as tx:
                yield tx

        patch.setattr(Database, "transaction", noted)

    def _committing(self, connection, before):
        if before:
            self._begun = len(self.disk)
        else:
            self.commits.append(Commit(self._begun, len(self.disk), self._asked, fingerprint(connection)))

    def _open(self):
        self._reading = None
        self.db, self.client = Database.open(self.home), Database.open(self.home)
        self.registry = Registry(self.db)

    def context(self, stage, home=None):
        return ConnectorContext(JOB, JOB, "run", stage, str(home or self.home), self.unbounded)

    def _start(self):
        token = secrets.token_hex(4)
        self.registry.update(JOB, status="STARTING", owner={"token": token, "pid": 0})
        self.spec = {"job_id": JOB, "token": token, "guarantee": self.guarantee, "snapshot_interval_millis": 1_000}
        plan = self.pipeline(self.root).plan()
        checkpoint = states.load(self.db.reader(), JOB)
        self.host = JobHost(plan, run="run", shards=3, logger="jetbridge.test", job=JOB, journal=self.db.reader)
        self.job = Commits(self.db, self.host, self.spec, checkpoint)
        self.host.open(self.context, checkpoint)
        self.job.open(self.context)
        self.epochs = Epochs(self.host)
        with self.db.transaction() as tx:  # as the worker does
            self.registry.update_in(tx, JOB, token=token, status="RUNNING")
            if checkpoint is None:
                states.save(tx, JOB, self.job.checkpoint())

    def _drop(self):
        """As when the worker dies."""
        self.epochs.close()
        self.job.close(pause=True)
        self.host.close()

    def live(self, steps):
        """Go on for some epochs, with whatever else happens in a data folder."""
        rare = (self._restart, self._suspend, self._reopen)
        happenings = (*rare, *(self._snapshot, self._read_on, self._others) * 3)
        for _ in range(steps):
            self.feed()
            self.clock.now += self.chance.choice([0.0, 0.1, 0.3, 0.7, 2.0])
            if self.host.has_input():
                self.epochs.run()
                self.job.commit()
            else:
                self.job.sync()
            if self.host.done:
                break
            if self.chance.random() < 0.6:
                self.chance.choice(happenings)()
        return self

    def end(self):
        """Close everything."""
        self._end_reading()
        self._drop()
        self.db.close()
        self.client.close()
        self.vfs.unregister()

    def _snapshot(self):
        name = self.chance.choice(SNAPSHOTS)
        taken = self.chance.random() < 0.75
        begun = len(self.disk)
        if states.load(self.db.reader(), JOB) is None:  # with AT_LEAST_ONCE the first commits hold no state
            return
        if taken:
            snapshots.export(self.db, JOB, JOB, name)
        elif snapshots.info(self.home, name) is None:
            return
        else:
            snapshots.destroy(self.home, name)
        digest = digest_of(self.home, name) if taken else None
        self.changes.append(SnapshotChange(name, begun, len(self.disk), digest))

    def _restart(self):
        self._drop()
        self._start()

    def _suspend(self):
        self.job.commit({"status": "SUSPENDED", "owner": None})
        self._drop()
        self._start()

    def _reopen(self):
        """Nobody has the folder open for a moment, so SQLite empties and removes its log."""
        self._end_reading()
        self._drop()
        self.db.close()
        self.client.close()
        self._open()
        self._start()

    def _read_on(self):
        """A reader that takes long keeps the log from being emptied."""
        if self._reading is None:
            self._reading = self.client.reader()
            self._reading.execute("BEGIN")
            self._reading.execute("SELECT count(*) FROM jobs").fetchall()
        else:
            self._end_reading()

    def _end_reading(self):
        if self._reading is not None:
            self._reading.execute("COMMIT")
            self._reading = None

    def _others(self):
        other = JobRecord(id=secrets.token_hex(4), status="NOT_RUNNING")
        registry = Registry(self.client)
        registry.add(other, b"another pipeline" * self.chance.randrange(1, 2_000))
        registry.transition(other.id, {"NOT_RUNNING"}, "FAILED")
        StoredList(self.client, "others").add_all([other.id] * self.chance.randrange(1, 200))

    def feed(self):
        """What is published meanwhile."""

    def pipeline(self, root):
        """The job's pipeline, with its files in a folder."""
        raise NotImplementedError


class StreamHistory(History):
    """A stream with state by key, a stored list beside it, and every kind of sink."""

    unbounded = True
    path = "parts"
    published = 0

    def feed(self):
        events = StoredStream(self.client, "events")
        for _ in range(self.chance.randrange(3)):
            start, self.published = self.published, self.published + self.chance.randrange(1, 40)
            events.publish_all(range(start, self.published))

    def pipeline(self, root):
        pipeline = Pipeline.create()
        events = pipeline.read_from(StreamSource("events")).set_name("events").map(lambda n: n * 2)
        stored = pipeline.read_from(ListSource("stored")).set_name("stored").map(lambda n: -n - 1)
        events.write_to(Pipeline.to_list("plain")).set_name("plain")
        events.merge(stored).distinct().set_name("distinct").write_to(Pipeline.to_list("merged"))
        rolling = events.group_by(lambda n: n % 5).rolling_aggregate(added).set_name("rolling")
        rolling.write_to(Pipeline.to_list("rolled"))
        events.map(lambda n: (n % 7, n)).write_to(Pipeline.to_map("last"))
        events.map(str).write_to(sinks.text(root / self.path)).set_name("file")
        events.write_to(self.outside).set_name("outside")
        return pipeline


class BatchHistory(History):
    """A batch job, to its very end."""

    unbounded = False
    path = "rows.txt"
    COUNT = 700

    def pipeline(self, root):
        pipeline = Pipeline.create()
        numbers = pipeline.read_from(Pipeline.from_list("numbers", range(self.COUNT))).set_name("numbers")
        stored = pipeline.read_from(ListSource("stored")).set_name("stored")
        numbers.write_to(Pipeline.to_list("plain")).set_name("plain")
        numbers.sort(lambda n: -n % 100).set_name("sort").write_to(Pipeline.to_list("sorted")).set_name("sorted")
        sums = numbers.merge(stored).group_by(lambda n: n % 9).aggregate(added).set_name("sum")
        sums.write_to(Pipeline.to_map("sums"))
        numbers.map(str).write_to(sinks.text(root / self.path)).set_name("file")
        numbers.write_to(self.outside).set_name("outside")
        return pipeline


def digest_of(home, name):
    """A digest of a named snapshot's file, or None."""
    path = home / "snapshots" / f"{name}.snapshot"
    return hashlib.sha256(path.read_bytes()).digest() if path.exists() else None


def shutdown():
    """Close what apsw may still hold."""
    for connection in apsw.connections():
        connection.close()
