"""A job's host, epochs and commits in this process: dropped at any moment, they go on from the checkpoint."""

from __future__ import annotations

import itertools
import random

import pytest

from jetbridge import ListSource, Pipeline, ProcessingGuarantee, StreamSource, aggregations, sources
from jetbridge.connectors.base import ConnectorContext
from jetbridge.errors import ItemError
from jetbridge.store import Database, states
from jetbridge.store.lists import StoredList
from jetbridge.store.maps import StoredMap
from jetbridge.store.records import JobRecord
from jetbridge.store.registry import Registry, StaleOwnerError
from jetbridge.store.streams import StoredStream
from jetbridge_direct import epochs as epochs_module
from jetbridge_direct import reading
from jetbridge_direct.commits import Commits
from jetbridge_direct.epochs import Epochs
from jetbridge_direct.host import JobHost

COUNT = 1_600
NONE, AT_LEAST_ONCE, EXACTLY_ONCE = ProcessingGuarantee
numbers = itertools.count()
added = aggregations.folding(lambda acc, n: acc + n, initial=0, combiner=lambda a, b: a + b)
ORDERED = {"plain", "sorted"}  # lists whose order is fixed; in others that of the shards depends on the epochs


def batch(to):
    """A pipeline with every kind of state."""
    pipeline = Pipeline.create()
    source = pipeline.read_from(Pipeline.from_list("numbers", range(COUNT)))
    stored = pipeline.read_from(ListSource("stored"))
    source.map(lambda n: n + 1).write_to(Pipeline.to_list(to + "plain"))
    source.merge(stored).group_by(lambda n: n % 37).aggregate(added).write_to(Pipeline.to_map(to + "sums"))
    source.group_by(lambda n: n % 11).write_to(Pipeline.to_list(to + "groups"))
    source.sort(lambda n: -n % 1_000).write_to(Pipeline.to_list(to + "sorted"))
    once = source.distinct(lambda n: n % 501)
    once.aggregate(lambda acc, n: [*acc, n], initial=[], finisher=sorted).write_to(Pipeline.to_list(to + "whole"))
    source.group_by(lambda n: n % 13).rolling_aggregate(added).write_to(Pipeline.to_list(to + "rolling"))
    source.filter(lambda n: n < 0).aggregate(aggregations.counting()).write_to(Pipeline.to_list(to + "none"))
    source.flat_map(lambda n: [n] * (n % 4)).group_by(lambda n: n).collect().map(lambda pair: len(pair[1])).aggregate(
        added
    ).write_to(Pipeline.to_list(to + "chain"))
    return pipeline


LISTS = ["plain", "groups", "sorted", "whole", "rolling", "none", "chain"]


class Bench:
    """Runs jobs of one data folder in this process."""

    def __init__(self, db):
        self.db = db
        self.registry = Registry(db)

    def submit(self, pipeline, guarantee=EXACTLY_ONCE, interval=10_000, max_records=-1):
        job = f"job-{next(numbers)}"
        self.registry.add(JobRecord(id=job, status="RUNNING", run="run", owner={"token": "t", "pid": 0}), b"")
        return Run(self, pipeline.plan(), job, guarantee, interval, max_records)


class Run:
    def __init__(self, bench, plan, job, guarantee, interval, max_records):
        self.bench, self.plan, self.job = bench, plan, job
        self.guarantee = guarantee
        self.max_records = max_records
        self.spec = {
            "job_id": job,
            "token": "t",
            "guarantee": guarantee,
            "snapshot_interval_millis": interval,
        }
        self.epochs = None

    def context(self, stage):
        return ConnectorContext(self.job, self.job, "run", stage, str(self.bench.db.home))

    def start(self):
        """Begin, or go on from what the last commit holds."""
        db = self.bench.db
        checkpoint = states.load(db.reader(), self.job)
        if checkpoint is None:
            with db.transaction() as tx:
                states.clear(tx, self.job)
        self.host = JobHost(
            self.plan,
            run="run",
            shards=5,
            logger="jetbridge.test",
            job=self.job,
            journal=None if self.guarantee is NONE else db.reader,
            most_records=self.max_records,
        )
        self.commits = Commits(db, self.host, self.spec, checkpoint)
        self.host.open(self.context, checkpoint)
        self.commits.open(self.context)
        self.epochs = Epochs(self.host)

    def drop(self):
        """As a crash would: nothing is closed properly but what the process itself must not leak."""
        if self.epochs is not None:
            self.epochs.close()
            self.host.close()
        self.epochs = None

    def step(self, *, commit=True):
        self.epochs.run()
        if commit:
            self.commits.commit()

    def steps(self, most):
        for _ in range(most):
            self.step()

    @property
    def record(self):
        return self.bench.registry.get(self.job)

    def counts(self):
        return {name: (stage["received"], stage["emitted"]) for name, stage in self.record.metrics["stages"].items()}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("host")
    folder.chmod(0o700)
    db = Database.open(folder)
    StoredList(db, "stored").add_all(range(0, 500, 3))
    yield Bench(db)
    db.close()


@pytest.fixture(autouse=True)
def _short_epochs(monkeypatch):
    monkeypatch.setattr(epochs_module, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(epochs_module, "MOST_SECONDS", 0.0)
    monkeypatch.setattr(reading, "FIRST_ITEMS", 100)
    monkeypatch.setattr(reading, "MOST_ITEMS", 250)


def outputs(db, to):
    found = {}
    for name in LISTS:
        items = StoredList(db, to + name).get_all()
        if name == "groups":
            items = [(key, list(group)) for key, group in items]
        found[name] = items if name in ORDERED else sorted(map(repr, items))
    found["by key"] = by_key(StoredList(db, to + "rolling").get_all())
    found["sums"] = dict(StoredMap(db, to + "sums").entry_set())
    return found


def by_key(pairs):
    found = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


@pytest.fixture(scope="module")
def undisturbed(bench):
    run = bench.submit(batch("calm-"))
    run.start()
    while run.record.status != "COMPLETED":
        run.step()
    run.drop()
    return outputs(bench.db, "calm-"), run.counts()


def test_an_undisturbed_run_is_right(undisturbed):
    found, counts = undisturbed
    assert found["plain"] == list(range(1, COUNT + 1))
    assert found["sorted"] == sorted(range(COUNT), key=lambda n: -n % 1_000)
    assert found["whole"] == [repr(list(range(501)))]
    assert found["none"] == ["0"]
    every = [*range(COUNT), *range(0, 500, 3)]
    assert found["sums"] == {key: sum(n for n in every if n % 37 == key) for key in range(37)}
    assert found["by key"] == {key: list(itertools.accumulate(range(key, COUNT, 13))) for key in range(13)}
    assert found["groups"] == sorted(repr((key, list(range(key, COUNT, 11)))) for key in range(11))
    assert counts["numbers"] == (0, COUNT)
    assert counts["calm-plain"] == (COUNT, 0)


@pytest.mark.parametrize("seed", range(3))
def test_dropped_at_any_moment_a_run_goes_on_from_its_last_commit(bench, undisturbed, seed):
    chance, to = random.Random(seed), f"drop-{seed}-"
    run = bench.submit(batch(to))
    run.start()
    drops = 0
    while run.record.status != "COMPLETED":
        fate = chance.random()
        run.step(commit=fate > 0.2)
        if fate < 0.5 and run.record.status != "COMPLETED":
            drops += 1
            run.drop()
            run.start()
    run.drop()
    assert drops > 2
    found, counts = undisturbed
    assert outputs(bench.db, to) == found
    assert {name.replace(to, "calm-"): pair for name, pair in run.counts().items()} == counts
    assert states.load(bench.db.reader(), run.job) is None, "what has completed keeps no checkpoint"
    assert list(states.segments(bench.db.reader(), run.job)) == []


@pytest.mark.parametrize("cache", [0, 2_000])
def test_state_larger_than_its_cache(bench, undisturbed, monkeypatch, cache):
    monkeypatch.setattr("jetbridge_direct.state.CACHE_BYTES", cache)
    to = f"cache-{cache}-"
    run = bench.submit(batch(to))
    run.start()
    for step in itertools.count(1):
        run.step()
        if run.record.status == "COMPLETED":
            break
        if step % 5 == 0:
            run.drop()
            run.start()
    run.drop()
    assert outputs(bench.db, to) == undisturbed[0]


def test_state_larger_than_its_cache_where_most_commits_hold_none(bench, undisturbed, monkeypatch):
    """AT_LEAST_ONCE: state is written at snapshots alone, and in memory until then."""
    monkeypatch.setattr("jetbridge_direct.state.CACHE_BYTES", 0)
    run = bench.submit(batch("least-"), guarantee=AT_LEAST_ONCE, interval=60)
    run.start()
    while run.record.status != "COMPLETED":
        run.step()
    run.drop()
    assert outputs(bench.db, "least-") == undisturbed[0]


@pytest.mark.parametrize("seed", range(2))
def test_at_least_once_repeats_and_loses_nothing(bench, undisturbed, seed):
    chance, to = random.Random(seed), f"repeat-{seed}-"
    run = bench.submit(batch(to), guarantee=AT_LEAST_ONCE, interval=100)
    run.start()
    while run.record.status != "COMPLETED":
        run.step()
        if chance.random() < 0.15 and run.record.status != "COMPLETED":
            run.drop()
            run.start()
    run.drop()
    found = outputs(bench.db, to)
    assert set(found["plain"]) == set(undisturbed[0]["plain"])
    assert found["sums"] == undisturbed[0]["sums"], "state is as exact as the offsets that belong to it"
    for name in LISTS:
        assert set(map(repr, undisturbed[0][name])) <= set(map(repr, found[name])), name


def test_without_a_guarantee_nothing_is_kept(bench, undisturbed):
    run = bench.submit(batch("none-"), guarantee=NONE)
    run.start()
    for _ in range(3):
        run.step()
        assert states.load(bench.db.reader(), run.job) is None
        assert list(states.segments(bench.db.reader(), run.job)) == []
    while run.record.status != "COMPLETED":
        run.step()
    run.drop()
    assert outputs(bench.db, "none-") == undisturbed[0]


def test_a_suspended_run_goes_on(bench, undisturbed):
    run = bench.submit(batch("rest-"))
    run.start()
    run.step()
    run.commits.commit({"status": "SUSPENDED"})
    assert run.record.status == "SUSPENDED"
    run.drop()
    run.start()
    while run.record.status != "COMPLETED":
        run.step()
    run.drop()
    assert outputs(bench.db, "rest-") == undisturbed[0]
    assert {name.replace("rest-", "calm-"): pair for name, pair in run.counts().items()} == undisturbed[1]


@pytest.mark.parametrize("seed", range(2))
def test_a_stream_that_is_dropped_goes_on(bench, seed):
    chance, to = random.Random(seed), f"stream-{seed}-"
    stream = StoredStream(bench.db, to)
    pipeline = Pipeline.create()
    events = pipeline.read_from(StreamSource(to)).map(lambda n: n * 2)
    batch_part = pipeline.read_from(Pipeline.from_list("fixed", range(-100, 0)))
    events.merge(batch_part).write_to(Pipeline.to_list(to + "all"))
    events.group_by(lambda n: n % 7).rolling_aggregate(added).write_to(Pipeline.to_list(to + "rolling"))
    events.distinct(lambda n: n % 99).write_to(Pipeline.to_list(to + "once"))
    events.map(lambda n: (n % 5, n)).write_to(Pipeline.to_map(to + "last"))
    run = bench.submit(pipeline)
    run.start()
    published = 0
    while published < 1_000 or run.host.has_input():
        if published < 1_000:
            some = chance.randrange(1, 200)
            stream.publish_all(range(published, published + some))
            published += some
        if run.host.has_input():
            run.step(commit=chance.random() > 0.2)
        if chance.random() < 0.3:
            run.drop()
            run.start()
    run.commits.commit()
    run.drop()
    doubled = [n * 2 for n in range(published)]
    everything = StoredList(bench.db, to + "all").get_all()
    assert [n for n in everything if n >= 0] == doubled
    assert [n for n in everything if n < 0] == list(range(-100, 0))
    assert by_key(StoredList(bench.db, to + "rolling").get_all()) == {
        key: list(itertools.accumulate(n for n in doubled if n % 7 == key)) for key in range(7)
    }
    assert sorted(StoredList(bench.db, to + "once").get_all()) == sorted({n % 99: n for n in doubled[::-1]}.values())
    assert dict(StoredMap(bench.db, to + "last").entry_set()) == {n % 5: n for n in doubled}
    assert run.counts()[to] == (0, published)


def test_an_owner_of_the_past_writes_nothing(bench):
    run = bench.submit(batch("stale-"))
    run.start()
    run.step()
    before = outputs(bench.db, "stale-"), states.load(bench.db.reader(), run.job)
    bench.registry.update(run.job, token="t", owner={"token": "other", "pid": 0})
    with pytest.raises(StaleOwnerError):
        run.step()
    run.drop()
    assert (outputs(bench.db, "stale-"), states.load(bench.db.reader(), run.job)) == before


def test_too_many_records_name_the_stage(bench):
    run = bench.submit(batch("many-"), max_records=100)
    run.start()
    with pytest.raises(Exception, match=r"max_processor_accumulated_records of 100"):
        run.steps(50)
    run.drop()
    assert isinstance(run.host.failure, ItemError)
    assert "more than the max_processor_accumulated_records of 100" in str(run.host.failure)


def test_a_source_that_became_shorter_is_refused(bench):
    stored = StoredList(bench.db, "shrinks")
    stored.add_all(range(2_000))
    pipeline = Pipeline.create()
    pipeline.read_from(ListSource("shrinks")).write_to(Pipeline.to_list("shrunk"))
    run = bench.submit(pipeline)
    run.start()
    run.step()
    run.step()
    run.drop()
    stored.clear()
    with pytest.raises(ItemError, match=r"'shrinks' failed.*shorter"):
        run.start()
    run.drop()


def test_a_file_that_changed_is_refused_and_a_checkpoint_without_fingerprints_goes_on(bench, tmp_path):
    file = tmp_path / "a.txt"
    lines = [f"line {n}" for n in range(2_000)]
    file.write_text("\n".join(lines))
    pipeline = Pipeline.create()
    pipeline.read_from(sources.text(file)).write_to(Pipeline.to_list("of-a-file"))
    run = bench.submit(pipeline)
    run.start()
    run.step()
    run.step()
    run.drop()
    body = states.load(bench.db.reader(), run.job)
    ((offset, ended, newest, kept),) = body["sources"]["a.txt"]["partitions"].values()
    assert kept[0] == offset > 0
    file.write_text("\n".join(["a header", *lines]))
    with pytest.raises(ItemError, match=r"source 'a.txt' failed.*has changed since it was read"):
        run.start()
    run.drop()
    file.write_text("\n".join(lines))
    run.start()
    run.drop()
    body["sources"]["a.txt"]["partitions"] = {str(file): [offset, ended, newest]}
    with bench.db.transaction() as tx:
        states.save(tx, run.job, body)
    run.start()
    while not run.host.done:
        run.step()
    run.drop()
    assert StoredList(bench.db, "of-a-file").get_all() == lines
