"""Lines that are cut, members and workers that are killed: nothing is lost, and nothing is there twice."""

from __future__ import annotations

import socket
import threading
import time

import psutil
import pytest
from cut_line import Line

import jetbridge
from jetbridge import JobConfig, JobFailedError, JobStatus, Pipeline, ProcessingGuarantee, StreamSource, sinks
from jetbridge.connectors.base import SinkChunk
from jetbridge.connectors.hazelcast import map_source
from jetbridge.connectors.hazelcast.appending import ListSink, ReliableTopicSink, RingbufferSink
from jetbridge.connectors.hazelcast.cluster import HazelcastCluster
from jetbridge.connectors.hazelcast.journal import MAP, Entry
from jetbridge.connectors.hazelcast.list_source import ListSource
from jetbridge.connectors.hazelcast.map_sink import MapSink
from jetbridge.connectors.hazelcast.map_source import MapSource
from jetbridge.errors import ConnectionError, SinkError
from jetbridge.hazelcast_members import Member
from jetbridge.processes import free_ports
from jetbridge_flink.layout import Layout

# isort: split
from hazelcast import HazelcastClient

EXACTLY_ONCE = JobConfig(processing_guarantee=ProcessingGuarantee.EXACTLY_ONCE, snapshot_interval_millis=300)


@pytest.fixture(scope="module")
def _line():
    """A member that clients reach by a line alone, and the line."""
    [port] = free_ports(1)
    line = Line(port)
    network = {"public-address": line.address}
    config = {"network": network, "ringbuffer": {"small-*": {"capacity": 10}}}
    with Member(port=port, config=config) as member:
        yield line, member
    line.close()


@pytest.fixture(scope="module")
def hz(_line):
    """A client beside the line, which sees what is there."""
    client = HazelcastClient(cluster_members=[_line[1].address], smart_routing=False)
    yield client
    client.shutdown()


@pytest.fixture
def cluster(_line):
    return HazelcastCluster({"cluster_members": [_line[1].address], "smart_routing": False})


@pytest.fixture
def line(_line):
    line, _ = _line
    yield line
    line.open = line.answers = line.questions = True
    line.allow()


@pytest.fixture
def process(_line):
    """That of the member."""
    return psutil.Process(_line[1].process.pid)


def ring(hz, name):
    proxy = hz.get_ringbuffer(name).blocking()
    found, at, end = [], proxy.head_sequence(), proxy.tail_sequence() + 1
    while at < end:
        part = proxy.read_many(at, 1, min(999, end - at, proxy.capacity()))
        found += [getattr(item, "payload", item) for item in part]
        at += part.read_count
    return found


LOOK = {
    ListSink: lambda hz, name: hz.get_list(name).get_all().result(),
    RingbufferSink: ring,
    ReliableTopicSink: lambda hz, name: ring(hz, f"_hz_rb_{name}"),
}


@pytest.mark.parametrize("lost", ["answers", "questions"])
@pytest.mark.parametrize("kind", LOOK)
def test_a_call_that_was_interrupted(hz, line, until, name, context, kind, lost):
    """Whether the cluster had carried it out or not, the items are there once."""
    target = name("target")
    sink = kind(target, cluster=line.config)
    sink.open(context(exactly_once=False))
    first, second = (sink.prepare(list(range(at, at + 5))) for at in (0, 5))
    sink.write(SinkChunk("run", "stage", "0", 0, 5, first))
    sink.flush()
    sink.write(SinkChunk("run", "stage", "0", 1, 5, second))
    blocked, done = threading.Event(), threading.Event()
    append = sink._append

    def through(items):
        setattr(line, lost, False)
        blocked.set()
        append(items)

    sink._append = through
    threading.Thread(target=lambda: (sink.flush(), done.set())).start()
    blocked.wait(10)
    if lost == "answers":
        until(lambda: len(LOOK[kind](hz, target)) == 10, "the items")
    else:
        time.sleep(0.2)  # for the question to be lost on its way
    sink._append = append
    setattr(line, lost, True)
    line.cut()
    assert done.wait(30)
    sink.close()
    assert LOOK[kind](hz, target) == list(range(10))


@pytest.mark.parametrize("kind", LOOK)
def test_a_process_that_died_while_it_wrote(hz, cluster, name, context, written, kind):
    """The next one gets the same chunks again, whether the last one was written or only about to be."""
    target = name("target")
    run = name("run")
    sink = kind(target, cluster=cluster)
    written(sink, [1, 1], [1, 1], run=run, dies=True)  # equal items, so that only their places tell
    dead = sink  # without close
    sink = kind(target, cluster=cluster)
    written(sink, [1, 1], [1, 1], [2], run=run)
    assert LOOK[kind](hz, target) == [1, 1, 1, 1, 2]
    sink.journal.begin("0", Entry(3, 0, 5))  # and died before it wrote
    sink = kind(target, cluster=cluster)
    written(sink, [2], [2], [4], first=2, run=run)
    assert LOOK[kind](hz, target) == [1, 1, 1, 1, 2, 2, 4]
    sink.close()
    dead.pause()
    assert [key for key in hz.get_map(MAP).key_set().result() if key.startswith(run)] == [], "it is forgotten"


def test_without_exactly_once_a_chunk_that_comes_again_is_written(hz, cluster, name, written):
    """It may hold other items."""
    target = name("target")
    for items in (["a"], ["b"]):
        sink = ListSink(target, cluster=cluster)
        written(sink, items, exactly_once=False)
        sink.close()
    assert hz.get_list(target).get_all().result() == ["a", "b"]


def test_merging_is_done_once(hz, cluster, name, written):
    target = name("target")
    run = name("run")
    sink = MapSink(target, merge=lambda old, new: old + new, cluster=cluster)
    written(sink, [("a", 1)], [("a", 10)], run=run, dies=True)
    again = MapSink(target, merge=lambda old, new: old + new, cluster=cluster)
    written(again, [("a", 1)], [("a", 10)], [("a", 100)], run=run)
    assert hz.get_map(target).get("a").result() == 111
    sink.pause()
    again.close()


def test_what_cannot_be_told_is_an_error(hz, cluster, name, written, says):
    target = name("small")  # of 10 items
    run = name("run")
    sink = RingbufferSink(target, cluster=cluster)
    written(sink, ["a", "b"], run=run, dies=True)
    hz.get_ringbuffer(target).add_all(list(range(20))).result()
    again = RingbufferSink(target, cluster=cluster)
    with pytest.raises(SinkError) as caught:
        written(again, ["a", "b"], run=run)
    says(caught, f"ringbuffer '{target}'", "cannot be told", "larger capacity")
    sink.pause()
    again.close()


def test_reading_goes_on_when_the_line_is_back(hz, line, name):
    listed, mapped = name("listed"), name("mapped")
    hz.get_list(listed).add_all(list(range(20_000))).result()
    hz.get_map(mapped).put_all({number: number for number in range(20_000)}).result()
    for source, start in ((ListSource(listed, line.config), (0, 20_000)), (MapSource(mapped, line.config), 0)):
        found = []
        for at, part in enumerate(source.read_range("0", start, None)):
            found += part
            if at in (1, 3):
                line.cut()
        source.close()
        assert len(found) == 20_000 == len(set(found))


def test_a_job_survives_a_cluster_that_comes_back(hz, line, tmp_path, until, name):
    events, results = name("events"), name("results")
    pipeline = Pipeline.create()
    pipeline.read_from(StreamSource(events)).write_to(Pipeline.to_list(results))
    with jetbridge.connect(home=tmp_path / "home", parallelism=1, hazelcast=line.config) as client:
        job = client.get_jet().submit(pipeline, EXACTLY_ONCE)
        for at in range(5):
            hz.get_ringbuffer(events).add_all([at * 2, at * 2 + 1]).result()
            until(lambda at=at: hz.get_list(results).size().result() >= at * 2, "what was published before")
            line.open = False
            line.cut()
            time.sleep(0.1)
            line.open = True
        until(lambda: hz.get_list(results).size().result() == 10, "the last items")
        assert job.status is JobStatus.RUNNING
        job.cancel()
    assert hz.get_list(results).get_all().result() == list(range(10))


@pytest.mark.parametrize("how", ["closed", "refused"])
def test_a_job_fails_when_the_cluster_stays_away(hz, line, tmp_path, until, name, says, how):
    events, results = name("events"), name("results")
    pipeline = Pipeline.create()
    pipeline.read_from(StreamSource(events)).write_to(Pipeline.to_list(results))
    config = {**line.config, "cluster_connect_timeout": 1}
    with jetbridge.connect(home=tmp_path / "home", parallelism=1, hazelcast=config) as client:
        job = client.get_jet().submit(pipeline, EXACTLY_ONCE)
        hz.get_ringbuffer(events).add("a").result()
        until(lambda: hz.get_list(results).size().result() == 1, "the first item")
        if how == "refused":
            line.refuse()
        line.open = False
        line.cut()
        with pytest.raises(JobFailedError) as caught:
            job.join(timeout=60)
        assert caught.value.stage in (events, results), "whichever asked first"
        says(caught, f"Hazelcast cluster 'dev' at {line.address} went away and did not come back within 1 s (")
        assert how == "closed" or "refused" in str(caught.value), str(caught.value)


def test_a_call_fails_with_its_cause(line):
    source = ListSource("l", {**line.config, "cluster_connect_timeout": 0.3})
    source.start("0")
    line.open = False
    line.cut()
    with pytest.raises(ConnectionError, match=r"did not come back within 0.3 s") as caught:
        source.start("0")
    assert caught.value.__cause__ is not None
    source.close()


def disturbed(hz, home, config, runner, disturb, until, name, *, rounds):
    """A stream into every kind of sink, disturbed between batches of events."""
    events = name("disturbed-events")
    names = {kind: name(kind) for kind in ("list", "map", "ring", "topic", "set")}
    pipeline = Pipeline.create()
    source = pipeline.read_from(StreamSource(events))
    numbers = source.rolling_aggregate(lambda count, _: count + 1, 0)
    numbers.write_to(Pipeline.to_list(names["list"]))
    numbers.write_to(sinks.hazelcast_ringbuffer(names["ring"]))
    source.write_to(sinks.hazelcast_reliable_topic(names["topic"]))
    source.write_to(sinks.hazelcast_set(names["set"]))
    source.map(lambda n: (n % 10, 1)).write_to(sinks.hazelcast_map(names["map"], merge=lambda old, new: old + new))
    published = 0
    with jetbridge.connect(runner=runner, home=home, parallelism=1, hazelcast=config) as client:
        job = client.get_jet().submit(pipeline, EXACTLY_ONCE)
        for number in range(rounds):
            for some in (1, 20, 300):
                hz.get_ringbuffer(events).add_all(list(range(published, published + some))).result()
                published += some
            disturb(client, job, number)
        until(lambda: job.is_terminal() or hz.get_list(names["list"]).size().result() >= published, "the last event")
        until(lambda: job.is_terminal() or hz.get_set(names["set"]).size().result() >= published, "the last event")
        until(lambda: job.is_terminal() or job.status is JobStatus.RUNNING, "a worker")
        job.suspend()
        job.cancel()
    everything = list(range(published))
    assert hz.get_list(names["list"]).get_all().result() == [number + 1 for number in everything]
    assert ring(hz, names["ring"]) == [number + 1 for number in everything]
    assert ring(hz, f"_hz_rb_{names['topic']}") == everything
    assert sorted(hz.get_set(names["set"]).get_all().result()) == everything
    expected = {digit: len(range(digit, published, 10)) for digit in range(10)}
    assert dict(hz.get_map(names["map"]).entry_set().result()) == expected
    return published


def test_connections_that_are_refused_for_a_while(hz, line, tmp_path, until, name, runner):
    """Within the time for which a cluster is waited for the job goes on, and nothing is lost or there twice."""
    config, refused = {**line.config, "cluster_connect_timeout": 60}, 0

    def refuse(client, job, number):
        nonlocal refused
        if number % 2:
            return
        line.refuse()
        end = time.monotonic() + 2
        while time.monotonic() < end:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(line.address.split(":"))
            assert not job.is_terminal()
            time.sleep(0.05)
        line.allow()
        refused += 1

    disturbed(hz, tmp_path / "home", config, runner, refuse, until, name, rounds=4)
    assert refused == 2


def test_a_member_that_stands_still_for_a_while(process, hz, line, tmp_path, until, name):
    """As behind a long pause of its garbage collection: connections stay, and nobody answers."""

    def stop(client, job, number):
        process.suspend()
        try:
            end = time.monotonic() + 1
            while time.monotonic() < end:
                assert not job.is_terminal()
                time.sleep(0.05)
        finally:
            process.resume()

    disturbed(hz, tmp_path / "home", line.config, "direct", stop, until, name, rounds=3)


def workers_of(client, job, runner):
    """The processes that run a job's stages."""
    if runner == "direct":
        pid = client._session.jobs.get(job.id).pid
        return [] if pid is None else [psutil.Process(pid)]
    status = Layout(client.settings.home).read_status() or {"children": {}}
    pool = status["children"].get("worker_pool")
    # The pool has forked its service first and the workers behind it.
    forked = [] if pool is None else psutil.Process(pool["pid"]).children()
    return sorted(forked, key=lambda each: (each.create_time(), each.pid))[1:]


def test_a_worker_that_is_killed(hz, line, tmp_path, until, gone, name, runner):
    """By SIGKILL, behind commits or checkpoints that nobody has waited for."""
    kills = commits = 0

    def kill(client, job, number):
        nonlocal kills, commits
        if runner == "direct":
            registry = client._session.registry
            commits = until(lambda: (now := registry.get(job.id).commits) > commits and now, "progress")
        elif number % 3:
            return  # on Flink a start takes seconds
        worker = until(lambda: workers_of(client, job, runner), "a worker")[-1]
        worker.kill()
        kills += 1
        gone(worker.pid)

    config = {"cluster_members": [line.address]}
    disturbed(hz, tmp_path / "home", config, runner, kill, until, name, rounds=6)
    assert kills == (6 if runner == "direct" else 2)


@pytest.fixture
def two_members():
    """A cluster of two, each with the backup of the other."""
    ports = free_ports(2)
    members = [Member(port=port, members=ports, memory=256) for port in ports]
    try:
        for each in members:
            each.wait_until_started()
        yield members
    finally:
        for each in members:
            each.kill()


def test_one_member_of_two_is_killed(two_members, tmp_path, until, name, runner):
    config = {"cluster_members": [each.address for each in two_members]}
    client = HazelcastClient(**config)
    try:
        until(lambda: len(client.cluster_service.get_members()) == 2, "the second member")

        def kill(_, job, number):
            if number == 1:
                two_members[0].kill()

        disturbed(client, tmp_path / "home", config, runner, kill, until, name, rounds=4)
        assert len(client.cluster_service.get_members()) == 1
    finally:
        client.shutdown()


@pytest.mark.full
def test_a_map_is_read_once_while_its_partitions_move(two_members, until, monkeypatch):
    """When one of two members is killed, the other one's copies have tables of their own sizes."""
    monkeypatch.setattr(map_source, "PAGE", 64)
    config = {"cluster_members": [each.address for each in two_members]}
    client = HazelcastClient(**config)
    try:
        until(lambda: len(client.cluster_service.get_members()) == 2, "the second member")
        for at in range(0, 60_000, 5_000):
            client.get_map("moving").put_all({number: number for number in range(at, at + 5_000)}).result()
        source, seen = MapSource("moving", config), []
        for at, part in enumerate(source.read_range("0", 0, None)):
            seen += [key for key, _ in part]
            if at == 200:
                two_members[0].kill()
        source.close()
        assert sorted(seen) == list(range(60_000))
    finally:
        client.shutdown()
