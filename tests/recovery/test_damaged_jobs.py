"""A data folder that is damaged under real jobs: the others go on, and named snapshots are the way on."""

from __future__ import annotations

import itertools
import shutil

import pytest
from recovery_pipelines import added

import jetbridge
from jetbridge import JobConfig, JobFailedError, JobStatus, Pipeline, ProcessingGuarantee, StreamSource
from jetbridge.errors import CorruptDataError

DEADLINE = 120.0
HALF, WHOLE = 500, 1_000


def connect(home):
    return jetbridge.connect(home=home, parallelism=1, shards=16)


def sums(name):
    pipeline = Pipeline.create()
    events = pipeline.read_from(StreamSource(f"{name}-events"))
    events.group_by(lambda n: n % 7).rolling_aggregate(added).write_to(Pipeline.to_list(f"{name}-sums"))
    return pipeline


def expected(start=0):
    totals = {key: list(itertools.accumulate(range(key, WHOLE, 7))) for key in range(7)}
    return {key: each[-len(range(key, WHOLE, 7)[start:]) :] if start else each for key, each in totals.items()}


def by_key(client, name):
    found = {}
    for key, total in client.get_list(f"{name}-sums").get_all():
        found.setdefault(key, []).append(total)
    return found


@pytest.fixture
def home(tmp_path, until):
    """A folder with two suspended jobs in the middle of their streams, and a named snapshot of each."""
    home = tmp_path / "home"
    with connect(home) as client:
        jobs = []
        for name in ("first", "second"):
            client.get_stream(f"{name}-events").publish_all(range(HALF))
            jobs.append(
                client.get_jet().submit(
                    sums(name), JobConfig(name=name, processing_guarantee=ProcessingGuarantee.EXACTLY_ONCE)
                )
            )
        for job in jobs:
            until(lambda job=job: client.get_list(f"{job.name}-sums").size() == HALF, "the first half")
            job.export_snapshot(f"{job.name}-kept")
            job.suspend()
        for job in jobs:
            client.get_stream(f"{job.name}-events").publish_all(range(HALF, WHOLE))
    return home


def finish(client, name, job, until, count=WHOLE):
    until(lambda: client.get_list(f"{name}-sums").size() >= count or job.is_terminal(), "the second half")
    job.cancel()
    return by_key(client, name)


def resumed_and_joined(job):
    job.resume()
    job.join(DEADLINE)


def flip(table, column):
    flipped = f"CAST(substr({column}, 1, 20) || x'ff' || substr({column}, 22) AS BLOB)"
    return f"UPDATE {table} SET {column} = {flipped} WHERE job = ?"


DAMAGE = {
    "checkpoint": flip("checkpoints", "body"),
    "state": flip("segments", "payload"),
    "no checkpoint": "DELETE FROM checkpoints WHERE job = ?",
    "less state": "DELETE FROM segments WHERE id = (SELECT min(id) FROM segments WHERE job = ?)",
    "pipeline": flip("pipelines", "payload"),
    "record": "UPDATE jobs SET body = replace(body, 'SUSPENDED', 'SUSPENDEE') WHERE id = ?",
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_rows_harm_only_their_job(home, until, what):
    with connect(home) as client:
        jet = client.get_jet()
        first, second = jet.get_job_by_name("first"), jet.get_job_by_name("second")
        with client._session.db.transaction(durable=True) as tx:
            assert tx.execute(DAMAGE[what], (first.id,)).rowcount == 1 or what == "state"
        with pytest.raises((CorruptDataError, JobFailedError), match=r"is damaged: start from .*here: ") as caught:
            resumed_and_joined(first)
        assert "'second-kept', 'first-kept'" in str(caught.value)
        assert {job.id for job in jet.get_jobs()} >= {second.id}
        assert second.status is JobStatus.SUSPENDED
        second.resume()
        assert finish(client, "second", second, until) == expected()
        # What the error says is the way on: from the snapshot, with the totals of before.
        client.get_list("first-sums").clear()
        again = jet.submit(sums("first"), JobConfig(name="again", initial_snapshot_name="first-kept"))
        found = finish(client, "first", again, until, WHOLE - HALF)
        assert {key: totals[-1] for key, totals in found.items()} == {key: each[-1] for key, each in expected().items()}
        assert sum(map(len, found.values())) == WHOLE - HALF


def test_damaged_pages_close_the_folder_and_never_its_snapshots(home, tmp_path, until):
    with open(home / "jetbridge.db", "r+b") as file:
        file.seek(18)
        file.write(b"\xff" * 200)
    with pytest.raises(CorruptDataError, match=r"copy .*snapshots into the new folder") as caught:
        connect(home)
    assert "whole: 'second-kept', 'first-kept'" in str(caught.value)
    new = tmp_path / "new"
    with connect(new) as client:  # as the error says
        shutil.copytree(home / "snapshots", new / "snapshots")
        client.get_stream("first-events").publish_all(range(WHOLE))
        again = client.get_jet().submit(sums("first"), JobConfig(initial_snapshot_name="first-kept"))
        found = finish(client, "first", again, until, WHOLE - HALF)
        assert {key: totals[-1] for key, totals in found.items()} == {key: each[-1] for key, each in expected().items()}
        assert sum(map(len, found.values())) == WHOLE - HALF
