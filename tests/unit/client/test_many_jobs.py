"""Many jobs at once, and many that have ended."""

from __future__ import annotations

import zlib
from dataclasses import replace

import psutil
import pytest

import jetbridge
from jetbridge import JobConfig, JobFailedError, JobStatus, Pipeline
from jetbridge.store.records import to_body
from jetbridge.store.registry import Registry

DEADLINE = 120.0
MB = 1 << 20


@pytest.fixture
def squares(gate):
    """A pipeline whose job waits for the gate, and then writes what only it can have written."""

    def squares(number):
        pipeline = Pipeline.create()
        numbers = pipeline.read_from(Pipeline.from_list("numbers", range(200))).map(gate)
        numbers.map(lambda n: (number, n * n)).write_to(Pipeline.to_list(f"squares-{number}"))
        keyed = numbers.group_by(lambda n: n % 7)
        keyed.aggregate(accumulator=lambda total, n: total + n + number, initial=0).write_to(
            Pipeline.to_map(f"sums-{number}")
        )
        return pipeline

    return squares


def held(processes):
    """What processes hold that they do not share, in bytes."""
    total = 0
    for process in processes:
        with process.oneshot():
            total += process.memory_full_info().uss
    return total


def test_fifty_jobs_at_once(client, jet, gate, squares, until):
    me = psutil.Process()
    before = me.memory_info().rss
    jobs = [
        jet.submit(squares(number), JobConfig(name=f"job-{number}", processing_guarantee="EXACTLY_ONCE"))
        for number in range(50)
    ]
    until(lambda: len(set(gate.pids)) == 50, "fifty workers at work")
    assert held([psutil.Process(pid) for pid in gate.pids]) < 50 * 40 * MB
    assert me.memory_info().rss - before < 100 * MB
    gate.open()
    for job in jobs:
        job.join(DEADLINE)
    assert {job.status for job in jobs} == {JobStatus.COMPLETED}
    for number, job in enumerate(jobs):
        assert client.get_list(f"squares-{number}").get_all() == [(number, n * n) for n in range(200)]
        sums = {key: sum(n + number for n in range(key, 200, 7)) for key in range(7)}
        assert dict(client.get_map(f"sums-{number}").entry_set()) == sums
        assert job.get_metrics().stages["map"].received_count == 200
    until(lambda: me.num_threads() < 25, "the end of the jobs' threads")


def test_a_thousand_ended_jobs(home):
    """The registry's rows are copies of those of real jobs."""
    with jetbridge.connect(home=home, parallelism=1) as client:
        done = client.get_jet().submit(doubling(lambda n: n * 2))
        failed = client.get_jet().submit(doubling(lambda n: n / 0))
        done.join(DEADLINE)
        with pytest.raises(JobFailedError, match="division by zero"):
            failed.join(DEADLINE)
        registry = Registry(client._session.db)
        patterns = [registry.get(done.id), registry.get(failed.id)]
        with client._session.db.transaction() as tx:
            for number in range(1000):
                changes = {"id": f"copy-{number:04d}", "name": f"name-{number % 10}", "submission_time": number}
                record = replace(patterns[number % 2], **changes)
                body = to_body(record)
                row = (record.id, record.name, record.status, body, zlib.crc32(body))
                tx.execute("INSERT INTO jobs (id, name, status, body, crc) VALUES (?, ?, ?, ?, ?)", row)
    with jetbridge.connect(home=home) as client:
        jet = client.get_jet()
        jobs = jet.get_jobs()
        assert [job.id for job in jobs] == [
            *(f"copy-{number:04d}" for number in reversed(range(1000))),
            failed.id,
            done.id,
        ]
        assert [job.status for job in jobs[:2]] == [JobStatus.FAILED, JobStatus.COMPLETED]
        assert [job.submission_time for job in jet.get_jobs("name-3")] == list(range(993, 0, -10))
        assert jet.get_job_by_name("name-3").id == "copy-0993"
        assert jobs[1].get_metrics().stages["map"].emitted_count == 3
        with pytest.raises(JobFailedError, match="division by zero"):
            jobs[0].join()


def doubling(function):
    pipeline = Pipeline.create()
    pipeline.read_from(Pipeline.from_list("numbers", [1, 2, 3])).map(function).write_to(Pipeline.to_list("doubled"))
    return pipeline
