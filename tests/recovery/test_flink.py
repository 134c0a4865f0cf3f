"""Jobs on a real Flink cluster: every kind of start and stop, and kills of each of its processes, exactly once."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from flink_sums import config, expected, sums
from timed_pipelines import FAR, TABLE, comparable, event, timed, timed_expected, timed_outputs

import jetbridge
from jetbridge import JobConfig, JobFailedError, JobStatus, Pipeline, ProcessingGuarantee, SnapshotError
from jetbridge.errors import UnsupportedByRunnerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEADLINE = 120.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flink") / "data"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[jetbridge.Client]:
    with jetbridge.connect(runner="flink", home=home, parallelism=1) as opened:
        yield opened


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in request.node.name)


def pids(client: jetbridge.Client) -> dict[str, int]:
    cluster: Any = client._session.runner._leased()
    found: dict[str, int] = cluster.pids
    return found


@pytest.mark.parametrize("guarantee", list(ProcessingGuarantee), ids=str)
def test_a_bounded_job_ends_by_itself_with_all_its_results(
    client: jetbridge.Client, name: str, guarantee: ProcessingGuarantee
) -> None:
    pipeline = Pipeline.create()
    numbers = pipeline.read_from(Pipeline.from_list("numbers", list(range(20_000)))).map(lambda x: x + 1)
    numbers.write_to(Pipeline.to_list(f"list-{name}"))
    numbers.group_by(lambda x: x % 10).aggregate(accumulator=lambda total, x: total + x, initial=0).write_to(
        Pipeline.to_map(f"map-{name}")
    )
    job = client.get_jet().submit(pipeline, JobConfig(processing_guarantee=guarantee, snapshot_interval_millis=500))
    job.join(DEADLINE)
    assert client.get_list(f"list-{name}").get_all() == list(range(1, 20_001))
    assert dict(client.get_map(f"map-{name}").entry_set()) == {
        key: sum(x for x in range(1, 20_001) if x % 10 == key) for key in range(10)
    }
    stages = job.get_metrics().stages
    assert (stages["map"].received_count, stages["map"].emitted_count) == (20_000, 20_000)
    assert (stages["aggregate"].received_count, stages["aggregate"].emitted_count) == (20_000, 10)


class Gate:
    """A function of a job that waits at one item until the test opens it."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __call__(self, x: int) -> int:
        if x == 500:
            with open(f"{self.folder}/pids", "a") as file:
                file.write(f"{os.getpid()}\n")
            deadline = time.monotonic() + DEADLINE
            while not os.path.exists(f"{self.folder}/open"):
                if time.monotonic() > deadline:
                    raise TimeoutError("nobody opened the gate")
                time.sleep(0.01)
        return x

    def pids(self) -> list[int]:
        try:
            with open(f"{self.folder}/pids") as file:
                return [int(line) for line in file]
        except FileNotFoundError:
            return []

    def open(self) -> None:
        with open(f"{self.folder}/open", "w"):
            pass


def test_a_batch_job_takes_no_snapshots_and_begins_anew_when_a_worker_is_lost(
    client: jetbridge.Client, name: str, tmp_path: Path, until: Callable[..., Any]
) -> None:
    gate = Gate(tmp_path)
    pipeline = Pipeline.create()
    numbers = pipeline.read_from(Pipeline.from_list("numbers", list(range(20_000)))).map(gate)
    numbers.write_to(Pipeline.to_list(f"list-{name}"))
    numbers.group_by(lambda x: x % 10).write_to(Pipeline.to_map(f"map-{name}"))
    job = client.get_jet().submit(pipeline)
    until(gate.pids, "a worker at the gate")
    until(lambda: job.status is JobStatus.RUNNING)
    with pytest.raises(UnsupportedByRunnerError, match="set a guarantee"):
        job.export_snapshot("never")
    os.kill(gate.pids()[0], signal.SIGKILL)
    until(lambda: len(gate.pids()) == 2, "another worker at the gate")
    job.suspend()
    assert job.status is JobStatus.SUSPENDED
    job.resume()
    until(lambda: len(gate.pids()) == 3, "a worker of the resumed job at the gate")
    gate.open()
    job.join(DEADLINE)
    assert client.get_list(f"list-{name}").get_all() == list(range(20_000))
    assert dict(client.get_map(f"map-{name}").entry_set()) == {key: list(range(key, 20_000, 10)) for key in range(10)}
    assert job.get_metrics().stages["map"].received_count == 20_000


def test_a_users_exception_fails_the_job_with_its_traceback(client: jetbridge.Client) -> None:
    pipeline = Pipeline.create()
    numbers = pipeline.read_from(Pipeline.from_list("numbers", list(range(1000))))
    numbers.map(lambda x: 1 // (x - 500)).set_name("divide").write_to(Pipeline.to_list("never"))
    job = client.get_jet().submit(pipeline)
    with pytest.raises(JobFailedError, match="map 'divide' failed on item 500: ZeroDivisionError") as caught:
        job.join(DEADLINE)
    assert "1 // (x - 500)" in str(caught.value)
    assert len(client.get_list("never")) == 0


def test_a_stream_goes_on_exactly_once_over_every_stop_and_start(
    client: jetbridge.Client, name: str, until: Callable[..., Any]
) -> None:
    jet, stream, results = client.get_jet(), client.get_stream(f"in-{name}"), client.get_list(f"out-{name}")
    stream.publish_all(range(1000))
    job = jet.submit(sums(name), config(name))
    until(lambda: len(results) == 1000)
    stream.publish_all(range(1000, 1500))
    job.suspend()
    assert job.status is JobStatus.SUSPENDED
    stream.publish_all(range(1500, 2000))
    job.resume()
    assert job.status is JobStatus.RUNNING
    until(lambda: len(results) == 2000)
    job.restart()
    stream.publish_all(range(2000, 2500))
    until(lambda: len(results) == 2500)
    assert Counter(results.get_all()) == expected(2500)
    job.export_snapshot(f"kept-{name}")
    stream.publish_all(range(2500, 3000))
    until(lambda: len(results) == 3000)
    until(lambda: job.get_metrics().received_count == 3000)
    job.cancel()
    assert job.status is JobStatus.FAILED
    # Another job from the snapshot, with a stage more, writes what came behind the snapshot again.
    results.clear()
    job = jet.submit(sums(name, stages=2), config(f"second-{name}", initial_snapshot_name=f"kept-{name}"))
    until(lambda: len(results) == 500)
    assert Counter(results.get_all()) == expected(3000) - expected(2500)
    job.cancel()
    snapshot = jet.get_job_state_snapshot(f"kept-{name}")
    assert snapshot is not None
    snapshot.destroy()
    with pytest.raises(SnapshotError):
        jet.submit(sums(name), config(f"third-{name}", initial_snapshot_name=f"kept-{name}"))


def branching(name: str, sinks: list[str]) -> Pipeline:
    """Running sums into some lists, and the numbers themselves into others."""
    pipeline = Pipeline.create()
    numbers = pipeline.read_from(jetbridge.StreamSource(f"in-{name}")).set_name("numbers")
    grouped = numbers.group_by(lambda n: n % 3)
    summed = grouped.rolling_aggregate(accumulator=lambda total, n: total + n, initial=0).set_name("sums")
    for sink in sinks:
        stage = summed if sink.startswith("sums") else numbers
        stage.write_to(Pipeline.to_list(f"{sink}-{name}")).set_name(sink)
    return pipeline


def test_sinks_come_and_go_between_two_starts(
    client: jetbridge.Client, home: Path, name: str, until: Callable[..., Any]
) -> None:
    """Each sink's rows have numbers of their own, whichever branches there are beside it."""
    stream, done = client.get_stream(f"in-{name}"), 0
    lists = {sink: client.get_list(f"{sink}-{name}") for sink in ("sums-a", "sums-b", "all-a", "all-b")}
    expected: dict[str, list[Any]] = {sink: [] for sink in lists}
    totals = Counter[int]()
    for sinks in (["sums-b", "all-b"], ["sums-a", "sums-b", "all-a", "all-b"], ["sums-b", "all-b"]):
        with jetbridge.connect(runner="flink", home=home, parallelism=1) as script:  # its end suspends the job
            script.get_jet().new_job_if_absent(branching(name, sinks), config(name))
            for _ in range(3):
                numbers = range(done, done + 100)
                stream.publish_all(numbers)
                done += 100
                for n in numbers:
                    totals[n % 3] += n
                    for sink in sinks:
                        expected[sink].append((n % 3, totals[n % 3]) if sink.startswith("sums") else n)
                until(lambda: all(len(lists[sink]) >= len(expected[sink]) for sink in lists), f"the rows of {sinks}")
    for sink, rows in expected.items():
        assert sorted(lists[sink].get_all()) == sorted(rows), sink
    job = client.get_jet().get_job_by_name(name)
    assert job is not None
    job.cancel()


@pytest.mark.parametrize(
    "victim", ["taskmanager", "worker", "worker_pool", pytest.param("jobmanager", marks=pytest.mark.full)]
)
def test_a_stream_survives_a_kill(client: jetbridge.Client, name: str, victim: str, until: Callable[..., Any]) -> None:
    stream, results = client.get_stream(f"in-{name}"), client.get_list(f"out-{name}")
    stream.publish_all(range(1000))
    job = client.get_jet().submit(sums(name), config(name))
    until(lambda: len(results) == 1000)
    stream.publish_all(range(1000, 2000))
    if victim == "worker":
        pool = psutil.Process(pids(client)["worker_pool"])
        workers = [each for each in pool.children() if each.children() == [] and each.num_threads() > 4]
        assert workers
        for worker in workers:
            worker.kill()
    else:
        os.kill(pids(client)[victim], signal.SIGKILL)
    stream.publish_all(range(2000, 3000))
    until(lambda: len(results) >= 3000)
    assert Counter(results.get_all()) == expected(3000)
    assert job.status in (JobStatus.RUNNING, JobStatus.STARTING)
    job.cancel()


@pytest.mark.parametrize(
    "disturb",
    ["kill", pytest.param("suspend", marks=pytest.mark.full), pytest.param("snapshot", marks=pytest.mark.full)],
)
def test_windows_and_joins_are_exact_over_a_disturbance(
    client: jetbridge.Client, name: str, disturb: str, until: Callable[..., Any]
) -> None:
    count, jet, stream = 1_405, client.get_jet(), client.get_stream(name)
    client.get_map("squares").put_all({n: n * n for n in range(TABLE)})
    stream.publish_all([event(number) for number in range(500)])
    job = jet.submit(timed(name), config(name))
    until(lambda: len(client.get_list(f"{name}tumbling")) > 50)
    stream.publish_all([event(number) for number in range(500, 900)])
    if disturb == "kill":
        os.kill(pids(client)["taskmanager"], signal.SIGKILL)
    elif disturb == "suspend":
        job.suspend()
        job.resume()
    else:
        job.cancel_and_export_snapshot(name)
        job = jet.submit(timed(name), config(f"{name}-again", initial_snapshot_name=name))
    stream.publish_all([event(number) for number in range(900, count)])
    stream.publish((count, FAR))
    wanted = timed_expected(count)
    until(lambda: all(len(client.get_list(name + each)) >= len(items) for each, items in wanted.items()))
    job.suspend()
    found = comparable(timed_outputs(client, name, wanted))
    for each, items in comparable(wanted).items():
        assert found[each] == items, each
    job.cancel()
