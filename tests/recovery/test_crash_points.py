"""A worker that dies at every named point of the commit's path, and at the end of its job."""

from __future__ import annotations

import os

import pytest
from recovery_pipelines import (
    batch,
    batch_outputs,
    check_batch,
    comparable,
    slowly,
    stream,
    stream_expected,
    stream_outputs,
)

from jetbridge import JobConfig, Pipeline, ProcessingGuarantee, sinks
from jetbridge.connectors import Sink

DEADLINE = 120.0
POINTS = ["commit:before", "commit:inside", "commit:after"]
COUNT = 6_000


@pytest.fixture
def deaths(monkeypatch, client):
    """Arms a point, and counts the workers that start until it is disarmed."""
    seen = []

    def arm(point):
        server = client._session.runner._server.get()
        spawn = type(server).spawn

        def counted(self, spec):
            if point is not None and len(seen) >= arm.most:
                os.environ.pop("JETBRIDGE_CRASH_AT", None)
            worker = spawn(self, spec)
            seen.append(worker.pid)
            return worker

        monkeypatch.setenv("JETBRIDGE_CRASH_AT", point)
        monkeypatch.setattr(type(server), "spawn", counted)
        return seen

    arm.most = 1_000
    return arm


@pytest.mark.parametrize("point", POINTS)
def test_each_worker_dies_at_its_second_commit(client, jet, folder, config, point, deaths):
    """Each gets on by one commit, or by two where it dies behind the second."""
    name = point.replace(":", "-")
    seen = deaths(f"{point}:2")
    deaths.most = 6
    job = jet.submit(batch(f"{name}-", folder, COUNT), config(name))
    job.join(DEADLINE)
    assert len(seen) >= 4
    check_batch(batch_outputs(client, f"{name}-", folder), COUNT)


@pytest.mark.parametrize("point", POINTS)
def test_the_first_and_the_last_commit(client, jet, folder, config, point, deaths):
    """A job so small that its first commit is its last: what completes it happens once."""
    name = f"small-{point.replace(':', '-')}"
    deaths(point)
    deaths.most = 1
    pipeline = Pipeline.create()
    numbers = pipeline.read_from(Pipeline.from_list("numbers", range(10)))
    numbers.sort().write_to(Pipeline.to_list(name, clear=True))
    numbers.map(str).write_to(sinks.text(os.path.join(folder, f"{name}.txt")))
    job = jet.submit(pipeline, config(name))
    job.join(DEADLINE)
    assert client.get_list(name).get_all() == list(range(10))
    with open(os.path.join(folder, f"{name}.txt")) as file:
        assert file.read().split() == [str(n) for n in range(10)]
    assert [other for other in os.listdir(folder) if other.startswith(".") and name in other] == []


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("commit", [1, 2])
def test_each_commit_of_a_small_job(client, jet, folder, config, point, commit, deaths):
    """One death: at the first commit, or at the last, after which only what is staged appears."""
    name = f"few-{commit}-{point.replace(':', '-')}"
    seen = deaths(f"{point}:{commit}")
    deaths.most = 1
    job = jet.submit(batch(f"{name}-", folder, 500), config(name))
    job.join(DEADLINE)
    assert len(seen) == 2
    check_batch_of_few(batch_outputs(client, f"{name}-", folder))


def check_batch_of_few(found):
    assert found["once"] == sorted(map(repr, range(500)))
    check_batch({**found, "once": sorted(map(repr, range(501)))}, 500)


@pytest.mark.parametrize("point", POINTS)
def test_a_stream(client, jet, folder, config, until, point, deaths, cancelled):
    name = f"stream-{point.replace(':', '-')}"
    events = client.get_stream(f"{name}-")
    seen = deaths(f"{point}:2")
    deaths.most = 5
    job = jet.submit(stream(f"{name}-", folder), config(name))
    cancelled(job)
    for start in range(0, 3_000, 100):
        events.publish_all(range(start, start + 100))
        before = len(seen)
        until(lambda before=before, start=start: len(seen) > before or len(client.get_list(f"{name}-plain")) > start)
    until(lambda: len(stream_outputs(client, f"{name}-", folder)["file"]) >= 3_000, "the last part")
    found = stream_outputs(client, f"{name}-", folder)
    assert comparable(found) == stream_expected(3_000)
    assert len(seen) >= 5


def test_a_worker_that_never_commits_is_given_up(jet, folder, config, deaths):
    from jetbridge import JobFailedError

    seen = deaths("commit:before")
    pipeline = Pipeline.create()
    pipeline.read_from(Pipeline.from_list("numbers", range(10))).write_to(Pipeline.to_list("hopeless"))
    job = jet.submit(pipeline, config("hopeless"))
    with pytest.raises(JobFailedError, match="signal 9"):
        job.join(DEADLINE)
    assert len(seen) == 3


@pytest.mark.parametrize(
    "point", ["snapshot:write", "snapshot:write:3", "snapshot:fsync", "snapshot:rename:1", "snapshot:rename:2"]
)
def test_during_a_named_snapshot(client, jet, folder, config, until, point, deaths):
    """The next worker takes it; there is one whole snapshot in the end, and the job has lost nothing."""
    name = f"named-{point.replace(':', '-')}"
    seen = deaths(point)
    deaths.most = 1
    job = jet.submit(batch(f"{name}-", folder, COUNT), config(name))
    until(lambda: client._session.registry.get(job.id).commits >= 2)
    job.export_snapshot(name)
    assert len(seen) == 2
    job.join(DEADLINE)
    check_batch(batch_outputs(client, f"{name}-", folder), COUNT)
    snapshot = jet.get_job_state_snapshot(name)
    assert snapshot.job_id == job.id
    assert [each.name for each in jet.get_job_state_snapshots() if each.name == name] == [name]
    second = jet.submit(batch(f"{name}-b-", folder, COUNT), config(f"{name}-b", initial_snapshot_name=name))
    second.join(DEADLINE)
    before, after = (batch_outputs(client, f"{name}-{part}", folder) for part in ("", "b-"))
    for stage in ("sorted", "sums", "groups", "total-list", "none"):
        assert after[stage] == before[stage], "what is emitted at the end holds what came before the snapshot"
    assert 0 < len(after["plain"]) < COUNT
    assert after["plain"] == list(range(COUNT - len(after["plain"]), COUNT))
    assert after["file"] == [str(n) for n in after["plain"]]
    assert second.get_metrics().stages["plain"].received_count == len(after["plain"]), "metrics are of this run"
    snapshot.destroy()


class Appender(Sink):
    """A sink in another system, which takes what it is given."""

    def __init__(self, path):
        super().__init__("appender")
        self.path = path

    def write(self, chunk):
        with open(self.path, "a") as file:
            file.writelines(f"{item}\n" for item in chunk.items())


@pytest.mark.parametrize("point", POINTS)
def test_at_least_once_loses_nothing_of_another_systems_sink(jet, folder, point, deaths):
    path = os.path.join(folder, f"appended-{point.replace(':', '-')}")
    seen = deaths(f"{point}:2")
    deaths.most = 3
    pipeline = Pipeline.create()
    pipeline.read_from(Pipeline.from_list("numbers", range(COUNT))).map(slowly).write_to(Appender(path))
    guarantee = ProcessingGuarantee.AT_LEAST_ONCE
    jet.submit(pipeline, JobConfig(processing_guarantee=guarantee, snapshot_interval_millis=1)).join(DEADLINE)
    with open(path) as file:
        written = [int(line) for line in file]
    assert set(written) == set(range(COUNT))
    assert len(seen) >= 3
