"""Jobs on a real Flink cluster that are disturbed again and again: kills at random moments, cycles, many small jobs."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from flink_sums import config, expected, sums

import jetbridge
from jetbridge import JobConfig, JobStatus, Pipeline, ProcessingGuarantee, SnapshotError
from jetbridge.store import states

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEADLINE = 120.0
PART = 300


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cycles") / "data"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[jetbridge.Client]:
    with jetbridge.connect(runner="flink", home=home, parallelism=1) as opened:
        yield opened


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in request.node.name)


def kill(client: jetbridge.Client, victim: str) -> None:
    """SIGKILL a process of the cluster, or all workers; what is not there now needs no kill."""
    cluster: Any = client._session.runner._leased()
    pids = cluster.pids
    if victim == "workers":
        pool = psutil.Process(pids["worker_pool"])
        for worker in [each for each in pool.children() if each.num_threads() > 4]:
            worker.kill()
    elif victim in pids and psutil.pid_exists(pids[victim]):
        os.kill(pids[victim], signal.SIGKILL)


@pytest.mark.parametrize(
    ("kills", "victims"),
    [
        (6, ["taskmanager", "workers", "worker_pool"]),
        pytest.param(30, ["taskmanager", "workers", "worker_pool", "jobmanager"], marks=pytest.mark.full),
    ],
    ids=["some", "many"],
)
def test_kills_at_random_moments(
    client: jetbridge.Client,
    name: str,
    kills: int,
    victims: list[str],
    chance: random.Random,
    until: Callable[..., Any],
) -> None:
    stream, results = client.get_stream(f"in-{name}"), client.get_list(f"out-{name}")
    job = client.get_jet().submit(sums(name), config(name))
    done = 0
    for number in range(kills):
        stream.publish_all(range(done, done + PART))
        done += PART
        victim, moment = victims[number % len(victims)], chance.random() * 1.5
        print(f"kill {number}: {victim} after {moment:.2f} s")
        timer = threading.Timer(moment, kill, [client, victim])
        timer.start()
        timer.join()
        stream.publish_all(range(done, done + PART))
        done += PART
        if number % 2:  # else the next one comes before the job is back
            until(lambda done=done: len(results) >= done, f"the results behind kill {number}")
    until(lambda: len(results) >= done, "all results")
    assert Counter(results.get_all()) == expected(done)
    until(lambda: job.get_metrics().received_count == done, "exact metrics")
    job.cancel()


OWNER = """
import sys, time
import jetbridge
sys.path.append({folder!r})
from flink_sums import config, sums

with jetbridge.connect(runner="flink", parallelism=1) as client:
    client.get_stream("in-owned").publish_all(range(1000))
    client.get_jet().submit(sums("owned"), config("owned"))
    while True:
        time.sleep(1)
"""


def test_a_job_whose_client_was_killed_is_found_suspended_and_goes_on_exactly_once(
    client: jetbridge.Client, home: Path, start: Callable[..., Any], until: Callable[..., Any]
) -> None:
    owner = start(OWNER.format(folder=os.path.dirname(__file__)), env={"JETBRIDGE_HOME": str(home)})
    stream, results = client.get_stream("in-owned"), client.get_list("out-owned")
    until(lambda: len(results) >= 500, "results of the owned job")
    owner.kill()
    owner.wait()
    job = client.get_jet().get_job_by_name("owned")
    assert job is not None
    until(lambda: job.status is JobStatus.SUSPENDED, "the end of the job's owner to be seen")
    assert job.suspension_cause
    known = len(results)
    with pytest.raises(SnapshotError, match="at a checkpoint of its cluster"):
        job.export_snapshot("of-the-owned")
    with pytest.raises(SnapshotError, match="does not fit the pipeline"):
        client.get_jet().new_job_if_absent(sums("elsewhere"), config("owned"))
    stream.publish_all(range(1000, 2000))
    session: Any = client._session
    flink_id = session.registry.get(job.id).engine["ids"][-1]
    with contextlib.closing(session.runner._leased().rest()) as rest:
        refused = "is suspended, was started anew or has ended: this worker writes no more"
        until(lambda: any(refused in text for text in rest.exceptions(flink_id)), "a refused write")
    assert len(results) == known, "its workers, which the cluster has still, write nothing while it is suspended"
    job.resume()
    until(lambda: len(results) >= 2000, "all results")
    assert Counter(results.get_all()) == expected(2000)
    job.cancel()


class SlowSource(jetbridge.connectors.Source):
    """Two partitions: one ends at once, the other gives its last items when a file is there."""

    kind = "slow"

    def __init__(self, path: str, count: int) -> None:
        super().__init__("slow")
        self.path, self.count = path, count

    def partitions(self) -> list[str]:
        return ["short", "long"]

    def start(self, partition: str) -> int:
        return 0

    def read(self, partition: str, offset: int, limit: int) -> tuple[list[int], int | None]:
        last = self.count if partition == "short" or os.path.exists(self.path) else self.count // 2
        end = min(offset + max(1, limit), last)
        if end == offset and last < self.count:
            time.sleep(0.01)
        items = [n * 2 + (partition == "long") for n in range(offset, end)]
        return items, None if end == self.count else end


@pytest.mark.parametrize("call", ["suspend", "restart", "export"])
def test_a_bounded_job_is_disturbed_while_one_of_its_partitions_has_ended(
    client: jetbridge.Client, name: str, call: str, tmp_path: Path, until: Callable[..., Any]
) -> None:
    jet, gate = client.get_jet(), tmp_path / "gate"
    pipeline = Pipeline.create()
    numbers = pipeline.read_from(SlowSource(str(gate), 2000))
    numbers.write_to(Pipeline.to_list(f"list-{name}"))
    numbers.group_by(lambda n: n % 7).aggregate(accumulator=lambda total, n: total + n, initial=0).write_to(
        Pipeline.to_map(f"map-{name}")
    )
    job = jet.submit(pipeline, config(name))
    # Before anything was read, and when one partition has ended.
    for reached in (0, 3000):
        until(lambda reached=reached: job.get_metrics().received_count >= reached, f"{reached} items")
        until(lambda: job.status is JobStatus.RUNNING)
        if call == "suspend":
            job.suspend()
            job.resume()
        elif call == "restart":
            job.restart()
        else:
            job.export_snapshot(f"kept-{name}")
    gate.touch()
    job.join(DEADLINE)
    assert sorted(client.get_list(f"list-{name}").get_all()) == list(range(4000))
    totals = {key: sum(range(key, 4000, 7)) for key in range(7)}
    assert dict(client.get_map(f"map-{name}").entry_set()) == totals
    assert job.get_metrics().received_count == 4000


def test_a_bounded_job_ends_though_a_taskmanager_dies_that_was_asked_for_metrics(
    client: jetbridge.Client, name: str, tmp_path: Path, until: Callable[..., Any]
) -> None:
    gate = tmp_path / "gate"
    pipeline = Pipeline.create()
    pipeline.read_from(SlowSource(str(gate), 200)).write_to(Pipeline.to_list(f"list-{name}"))
    job = client.get_jet().submit(pipeline, config(name))
    until(lambda: job.get_metrics().received_count >= 300, "the items before the gate")
    cluster: Any = client._session.runner._leased()
    stopped = cluster.pids["taskmanager"]
    os.kill(stopped, signal.SIGSTOP)
    # Its metrics are asked for each half second while the job is looked after; the last question has no answer now.
    before = job.get_metrics().updated
    assert before is not None
    until(lambda: (job.get_metrics().updated or 0) > before + 1200, "two looks at the job")
    os.kill(stopped, signal.SIGKILL)
    gate.touch()
    job.join(DEADLINE)
    assert sorted(client.get_list(f"list-{name}").get_all()) == list(range(400))
    assert job.get_metrics().received_count == 400


@pytest.mark.full
def test_many_suspensions_lose_nothing_and_add_nothing_to_the_state(
    client: jetbridge.Client, name: str, until: Callable[..., Any]
) -> None:
    stream, results = client.get_stream(f"in-{name}"), client.get_list(f"out-{name}")
    job = client.get_jet().submit(sums(name), config(name))
    sizes = []
    for cycle in range(20):
        stream.publish_all(range(cycle * PART, (cycle + 1) * PART))
        until(lambda cycle=cycle: len(results) == (cycle + 1) * PART, f"the results of cycle {cycle}")
        job.suspend()
        body = states.load(client._session.db.reader(), job.id)
        assert body is not None
        sizes.append(sum(size for size, _ in body["files"].values()))
        job.resume()
    print("savepoints:", sizes)
    assert Counter(results.get_all()) == expected(20 * PART)
    assert max(sizes[10:]) < 1.2 * max(sizes[:10])
    job.cancel()


@pytest.mark.full
def test_many_bounded_jobs_lose_nothing(client: jetbridge.Client, name: str) -> None:
    for number in range(100):
        pipeline = Pipeline.create()
        numbers = pipeline.read_from(Pipeline.from_list("numbers", list(range(500))))
        numbers.write_to(Pipeline.to_list(f"list-{name}", clear=True))
        numbers.group_by(lambda n: n % 10).aggregate(accumulator=lambda count, n: count + 1, initial=0).write_to(
            Pipeline.to_map(f"map-{name}-{number}")
        )
        guarantee = list(ProcessingGuarantee)[number % 3]
        job = client.get_jet().submit(
            pipeline, JobConfig(processing_guarantee=guarantee, snapshot_interval_millis=200 + 50 * (number % 7))
        )
        job.join(DEADLINE)
        assert client.get_list(f"list-{name}").get_all() == list(range(500)), f"run {number}"
        assert dict(client.get_map(f"map-{name}-{number}").entry_set()) == dict.fromkeys(range(10), 50), f"run {number}"
        assert job.get_metrics().received_count == 500
