"""Many items: memory does not grow with a map, and nothing is lost among a million."""

from __future__ import annotations

import threading

import psutil
import pytest

import jetbridge
from jetbridge import ListSource, Pipeline
from jetbridge.hazelcast_members import Member

# isort: split
from hazelcast import HazelcastClient

FILL = 10_000


@pytest.fixture(scope="module")
def large():
    """A member that has room for millions of entries."""
    with Member(memory=3072) as member:
        client = HazelcastClient(cluster_members=[member.address])
        yield client, {"cluster_members": [member.address]}
        client.shutdown()


def peak_of_a_job(config, home, pipeline, *, cores=1):
    """The most memory of the job's processes, in MB."""
    with jetbridge.connect(home=home, parallelism=cores, hazelcast=config) as client:
        small = Pipeline.create()
        small.read_from(Pipeline.from_list("n", [1])).write_to(Pipeline.to_list("small"))
        client.get_jet().submit(small).join(timeout=60)
        job = client.get_jet().submit(pipeline)
        ended, most = threading.Event(), 0.0

        def watch():
            nonlocal most
            while not ended.wait(0.05):
                pid = client._session.jobs.get(job.id) and client._session.jobs.get(job.id).pid
                if pid is not None and psutil.pid_exists(pid):
                    most = max(most, psutil.Process(pid).memory_info().rss / 1e6)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            job.join(timeout=900)
        finally:
            ended.set()
            thread.join()
    return most


def copied(source, target, **more):
    pipeline = Pipeline.create()
    pipeline.read_from(source).map(lambda item: item).write_to(target)
    return pipeline


@pytest.mark.parametrize("count", [50_000, pytest.param(1_000_000, marks=pytest.mark.full)])
def test_a_map_and_a_list(large, tmp_path, count):
    client, config = large
    numbers, listed = client.get_map(f"map-{count}").blocking(), client.get_list(f"list-{count}").blocking()
    for at in range(0, count, FILL):
        numbers.put_all({number: number for number in range(at, at + FILL)})
        listed.add_all(list(range(at, at + FILL)))
    with jetbridge.connect(home=tmp_path / "home", parallelism=2, hazelcast=config) as jet:
        service = jet.get_jet()
        service.submit(copied(Pipeline.from_map(f"map-{count}"), Pipeline.to_map(f"map-to-{count}"))).join(timeout=900)
        service.submit(copied(ListSource(f"list-{count}"), Pipeline.to_list(f"list-to-{count}"))).join(timeout=900)
    copy = client.get_map(f"map-to-{count}").blocking()
    assert copy.size() == count
    assert sum(copy.values()) == count * (count - 1) // 2
    found = client.get_list(f"list-to-{count}").blocking()
    assert found.size() == count
    for at in range(0, count, FILL):
        assert found.sub_list(at, at + FILL) == list(range(at, at + FILL)), "in their order"
    for each in (numbers, listed, copy, found):
        each.destroy()


@pytest.mark.full
def test_memory_does_not_grow_with_the_map(large, tmp_path):
    client, config = large
    peaks = []
    for count in (100_000, 1_000_000):
        source = client.get_map(f"growing-{count}").blocking()
        for at in range(0, count, FILL):
            source.put_all({number: "x" * 100 for number in range(at, at + FILL)})
        pipeline = Pipeline.create()
        lengths = pipeline.read_from(Pipeline.from_map(f"growing-{count}")).map(lambda entry: len(entry[1]))
        total = lengths.aggregate(accumulator=lambda total, length: total + length, initial=0)
        total.write_to(Pipeline.to_list(f"total-{count}"))
        peaks.append(peak_of_a_job(config, tmp_path / f"home-{count}", pipeline))
        assert client.get_list(f"total-{count}").get_all().result() == [100 * count]
        source.destroy()
    print(f"peaks: {peaks}")
    assert peaks[1] < peaks[0] * 1.3 + 20, peaks
