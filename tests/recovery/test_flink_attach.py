"""Jobs on a Flink cluster that is not jetbridge's own run on without their client, and later ones attach to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from flink_sums import KEYS, TOTALS, config, expected, sums, totals

import jetbridge
from jetbridge import JobStatus, StreamSource
from jetbridge.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from remote_flink import RemoteFlink

DEADLINE = 120.0

CLIENT = """
import sys
sys.path[:] = {path!r}
import jetbridge
from jetbridge import JobConfig, Pipeline, ProcessingGuarantee, StreamSource

with jetbridge.connect(runner="flink", home={home!r}, parallelism=1, **{settings!r}) as client:
    pipeline = Pipeline.create()
    stage = pipeline.read_from(StreamSource("in")).set_name("events")
    sums = stage.group_by(lambda x: x % {keys}).rolling_aggregate(accumulator=lambda total, x: total + x, initial=0)
    sums.set_name("sums").write_to(Pipeline.to_list("out")).set_name("results")
    config = JobConfig(
        name="sums", processing_guarantee=ProcessingGuarantee.EXACTLY_ONCE, snapshot_interval_millis=300
    )
    client.get_jet().new_job_if_absent(pipeline, config).join()
"""


@pytest.mark.full
def test_the_job_of_a_script_that_was_killed_runs_on(
    flink: RemoteFlink,
    shared: Path,
    tmp_path: Path,
    pool: str,
    start: Callable[..., subprocess.Popen[str]],
    until: Callable[..., Any],
) -> None:
    """And the script looks after it when it is run again."""
    settings = {"flink_url": flink.url, "flink_checkpoints": str(shared), "flink_worker_pool": pool}
    script = CLIENT.format(path=sys.path, home=str(tmp_path / "data"), settings=settings, keys=KEYS)
    with jetbridge.connect(home=tmp_path / "data") as client:
        stream, results = client.get_stream("in"), client.get_list("out")
        stream.publish_all(range(1000))
        process = start(script)
        until(lambda: len(results) == 1000)
        stream.publish_all(range(1000, 1500))
        process.kill()
        process.wait()
        [left] = flink.jobs()
        stream.publish_all(range(1500, 2000))
        until(lambda: len(results) == 2000)
        job = client.get_jet().get_job_by_name("sums")
        assert job is not None
        assert job.status is JobStatus.RUNNING
        process = start(script)
        until(lambda: client._session.registry.get(job.id).owner, "the script as its owner")
        stream.publish_all(range(2000, 2500))
        until(lambda: len(results) >= 2500)
        assert flink.jobs() == [left], "the same start of it"
        assert Counter(results.get_all()) == expected(2500)
        job.cancel()
        until(lambda: not flink.jobs())


@pytest.fixture
def attach(flink: RemoteFlink, shared: Path, tmp_path: Path, pool: str) -> Iterator[Callable[[], jetbridge.Client]]:
    """A new client of a data folder and the cluster, whose workers are not its own."""
    opened = []

    def attach() -> jetbridge.Client:
        opened.append(
            jetbridge.connect(
                runner="flink",
                home=tmp_path / "data",
                parallelism=1,
                flink_url=flink.url,
                flink_checkpoints=shared,
                flink_worker_pool=pool,
            )
        )
        return opened[-1]

    yield attach
    for client in opened:
        client.shutdown()


def test_a_stream_runs_on_without_its_client_and_later_ones_look_after_it(
    flink: RemoteFlink,
    tmp_path: Path,
    attach: Callable[[], jetbridge.Client],
    until: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = attach()
    stream, folder = first.get_stream("in-s"), tmp_path / "rows"

    def written() -> list[str]:
        return [line for part in sorted(folder.glob("[!._]*")) for line in part.read_text().split()]

    pipeline = sums("s")
    pipeline.read_from(StreamSource("in-s")).set_name("again").write_to(jetbridge.sinks.json_lines(folder))
    stream.publish_all(range(500))
    job_id = first.get_jet().submit(pipeline, config("s")).id
    first.shutdown()  # at once: it is sent there before
    assert f"runs on in the cluster {flink.url}" in capsys.readouterr().err
    [left] = until(flink.jobs)

    with jetbridge.connect(home=tmp_path / "data") as other:  # of no cluster
        results, stream = other.get_list("out-s"), other.get_stream("in-s")
        until(lambda: len(results) == 500)
        stream.publish_all(range(500, 1000))
        until(lambda: len(results) == 1000)
        assert len(written()) <= 500, "what goes out of the data folder waits for a client of the cluster"
        job = other.get_jet().get_job(job_id)
        assert job is not None
        with pytest.raises(JobError, match=r"suspend: .* runs on in the cluster .* no client of that cluster"):
            job.suspend()
        with pytest.raises(JobError, match=r"export_snapshot: .* runs on in the cluster"):
            job.export_snapshot("early")
        assert job.status in (JobStatus.STARTING, JobStatus.RUNNING)

        second, third = attach(), attach()
        until(lambda: len(written()) >= 1000)
        assert job.get_metrics().received_count == 2000
        second.shutdown()
        of_third = third.get_jet().get_job(job_id)
        assert of_third is not None
        of_third.export_snapshot("middle")
        stream.publish_all(range(1000, 1500))
        until(lambda: len(results) == 1500)
        assert flink.jobs() == [left], "the same start of it, all the time"
        job.suspend()  # which the third carries out
        assert flink.jobs() == []
        assert of_third.status is JobStatus.SUSPENDED
        of_third.resume()
        stream.publish_all(range(1500, 2000))
        until(lambda: len(results) >= 2000)
        assert Counter(results.get_all()) == expected(2000)
        until(lambda: len(written()) >= 2000)
        assert Counter(map(int, written())) == Counter(range(2000))
        of_third.cancel()
        until(lambda: not flink.jobs())


@pytest.mark.full
def test_a_bounded_job_ends_when_a_client_is_there(
    flink: RemoteFlink, attach: Callable[[], jetbridge.Client], until: Callable[..., Any]
) -> None:
    first = attach()
    job_id = first.get_jet().submit(totals("b"), config("b")).id
    first.shutdown()
    assert until(flink.jobs), "it reads to its end, and stays"
    second = attach()
    job = second.get_jet().get_job(job_id)
    assert job is not None
    job.join(DEADLINE)
    assert job.status is JobStatus.COMPLETED
    assert dict(second.get_map("b").entry_set()) == TOTALS
    assert flink.jobs() == []


@pytest.mark.full
def test_the_command_steers_a_job_that_runs_on(
    flink: RemoteFlink,
    shared: Path,
    tmp_path: Path,
    pool: str,
    attach: Callable[[], jetbridge.Client],
    until: Callable[..., Any],
) -> None:
    first = attach()
    job_id = first.get_jet().submit(sums("c"), config("c")).id
    first.shutdown()
    until(flink.jobs)
    environment = {"JETBRIDGE_FLINK_CHECKPOINTS": str(shared), "JETBRIDGE_FLINK_WORKER_POOL": pool}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "jetbridge", *arguments, "--home", str(tmp_path / "data")]
        return subprocess.run(
            command, env={**os.environ, **environment}, check=True, capture_output=True, text=True, timeout=DEADLINE
        ).stdout

    assert "RUNNING" in run("list")
    run("snapshot", "c", "kept")
    assert len(flink.jobs()) == 1
    assert "SUSPENDED" in run("suspend", "c")
    assert flink.jobs() == []
    second = attach()
    second.get_jet().get_job(job_id).resume()
    second.shutdown()
    assert "FAILED" in run("cancel", "c")
    until(lambda: not flink.jobs())


@pytest.mark.full
def test_the_pool_of_a_client_stays_for_its_jobs(
    flink: RemoteFlink, shared: Path, tmp_path: Path, until: Callable[..., Any], gone: Callable[[int], None]
) -> None:
    """And when it dies the next client has another one at its place."""

    def connect() -> jetbridge.Client:
        return jetbridge.connect(
            runner="flink", home=tmp_path / "data", parallelism=1, flink_url=flink.url, flink_checkpoints=shared
        )

    def pool_of(client: jetbridge.Client) -> Any:
        return client._session.runner._remote._pool  # type: ignore[attr-defined]

    first = connect()
    stream = first.get_stream("in-p")
    stream.publish_all(range(500))
    job_id = first.get_jet().submit(sums("p"), config("p")).id
    first.shutdown()
    [left] = until(flink.jobs)
    port = pool_of(first).address.rpartition(":")[2]

    def pools() -> list[int]:
        """The processes that listen there, and their parents."""
        found = [
            psutil.Process(c.pid)
            for c in psutil.net_connections("tcp")
            if c.status == psutil.CONN_LISTEN and c.laddr.port == int(port) and c.pid is not None
        ]
        return [process.ppid() for process in found]

    second = connect()
    with second:
        results, stream = second.get_list("out-p"), second.get_stream("in-p")
        until(lambda: len(results) == 500)
        stream.publish_all(range(500, 1000))
        until(lambda: len(results) == 1000)
        [pool] = pools()
        os.kill(pool, signal.SIGKILL)
        stream.publish_all(range(1000, 1500))
        until(lambda: len(results) >= 1500)
        assert Counter(results.get_all()) == expected(1500)
        assert flink.jobs() == [left]
        [other] = pools()
        assert other != pool
        job = second.get_jet().get_job(job_id)
        assert job is not None
        job.cancel()
        until(lambda: not flink.jobs())
    gone(other)
