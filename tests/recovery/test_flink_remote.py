"""Jobs on Flink clusters that were started apart from jetbridge: with Beam's runner in the class path, and without."""

from __future__ import annotations

import sys
import zipfile
from collections import Counter
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from flink_sums import TOTALS, config, expected, sums, totals
from remote_flink import RemoteFlink

import jetbridge
from jetbridge import JobStatus, ProcessingGuarantee
from jetbridge.errors import ClusterError
from jetbridge_flink import jars, remote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEADLINE = 120.0
EXACTLY_ONCE = ProcessingGuarantee.EXACTLY_ONCE


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteFlink]:
    """A cluster that knows nothing of Beam."""
    cluster = RemoteFlink(tmp_path_factory.mktemp("bare") / "cluster", taskmanagers=1)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("remote") / "data"


@pytest.fixture(scope="module")
def client(flink: RemoteFlink, shared: Path, home: Path) -> Iterator[jetbridge.Client]:
    with jetbridge.connect(
        runner="flink", home=home, parallelism=2, flink_url=flink.url, flink_checkpoints=shared
    ) as opened:
        yield opened


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in request.node.name)


def check_totals(client: jetbridge.Client, name: str, guarantee: ProcessingGuarantee = EXACTLY_ONCE) -> None:
    client.get_jet().submit(totals(name), config(name, processing_guarantee=guarantee)).join(DEADLINE)
    assert dict(client.get_map(name).entry_set()) == TOTALS


def test_a_cluster_without_beam_gets_it_with_the_job(
    bare: RemoteFlink, shared: Path, tmp_path: Path, name: str, until: Callable[..., Any]
) -> None:
    with jetbridge.connect(
        runner="flink", home=tmp_path / "data", parallelism=2, flink_url=bare.url, flink_checkpoints=shared
    ) as client:
        job = client.get_jet().submit(totals(name), config(name))
        until(lambda: job.status not in (JobStatus.NOT_RUNNING, JobStatus.STARTING), "the job's start")
        assert bare.listeners() == {"127.0.0.1"}
        job.join(DEADLINE)
        assert dict(client.get_map(name).entry_set()) == TOTALS
        cluster: Any = client._session.runner._leased()
        assert len(cluster.job_jar(b"{}", b"{}")) > 50 << 20
    assert bare.jobs() == []


def test_a_cluster_with_beam_gets_small_jars(client: jetbridge.Client, flink: RemoteFlink, name: str) -> None:
    check_totals(client, name, ProcessingGuarantee.NONE)
    cluster: Any = client._session.runner._leased()
    assert len(cluster.job_jar(b"{}", b"{}")) < 1 << 20
    assert flink.jobs() == []


def test_a_stream_is_exact_over_suspend_resume_and_the_death_of_a_taskmanager(
    client: jetbridge.Client, flink: RemoteFlink, shared: Path, name: str, until: Callable[..., Any]
) -> None:
    stream, results = client.get_stream(f"in-{name}"), client.get_list(f"out-{name}")
    stream.publish_all(range(1000))
    job = client.get_jet().submit(sums(name), config(name))
    until(lambda: len(results) == 1000)
    assert flink.hosts() == {"taskmanager-0", "taskmanager-1"}
    stream.publish_all(range(1000, 1500))
    job.suspend()
    assert job.status is JobStatus.SUSPENDED
    assert flink.jobs() == []
    assert list(shared.glob("savepoints/savepoint-*/_metadata"))
    stream.publish_all(range(1500, 2000))
    job.resume()
    until(lambda: len(results) == 2000)
    assert Counter(results.get_all()) == expected(2000)

    [flink_id] = flink.jobs()
    until(lambda: list(shared.glob(f"checkpoints/{flink_id}/chk-*/_metadata")), "a checkpoint in the shared folder")
    stream.publish_all(range(2000, 2500))
    flink.kill("taskmanager-0")
    stream.publish_all(range(2500, 3000))
    until(lambda: len(results) >= 3000)
    assert Counter(results.get_all()) == expected(3000)
    until(lambda: flink.hosts() == {"taskmanager-1"})
    job.cancel()
    until(lambda: not flink.jobs())
    flink.start()


def test_what_cannot_run_is_refused_before_it_is_sent(
    flink: RemoteFlink, shared: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_ROOM_SECONDS", 0.3)
    monkeypatch.chdir(tmp_path)
    wrong: list[tuple[dict[str, Any], str]] = [
        (
            {"parallelism": 5, "flink_worker_command": "never"},
            r"needs 5 slots, and the Flink cluster at \S+ has 4 of its 4 slots free .*waited 0.3 s.*parallelism",
        ),
        (
            # For each process the folder that it works in: the cluster sees another one than the client.
            {"flink_checkpoints": "/proc/self/cwd/shared", "flink_worker_command": "never"},
            r"the Flink cluster at \S+ does not see the folder of checkpoints .*flink_checkpoints",
        ),
        ({"flink_worker_pool": "127.0.0.1:1"}, r"no worker pool listens at 127.0.0.1:1 .*--stay --port 1"),
        ({"flink_worker_pool": "localhost:1"}, "no worker pool listens at localhost:1"),
    ]
    for settings, message in wrong:
        given: dict[str, Any] = {"flink_checkpoints": shared, "parallelism": 1, **settings}
        with jetbridge.connect(runner="flink", home=tmp_path / "data", flink_url=flink.url, **given) as client:
            with pytest.raises(ClusterError, match=message):
                client.get_jet().submit(totals("never"))
            assert client.get_jet().get_jobs() == []
    assert flink.jobs() == []
    assert not list(shared.glob("savepoints/probe-*"))


def worker(folder: Path, code: str) -> Path:
    """A program that a TaskManager can start for a worker."""
    path = folder / "worker"
    path.write_text(f"#!{sys.executable}\nimport sys\nsys.path[:] = {sys.path!r}\n{code}\n")
    path.chmod(0o755)
    return path


def test_workers_that_the_taskmanagers_start(
    flink: RemoteFlink, shared: Path, tmp_path: Path, name: str, until: Callable[..., Any]
) -> None:
    command = worker(tmp_path, "from jetbridge_flink.worker_boot import main; main()")
    with jetbridge.connect(
        runner="flink",
        home=tmp_path / "data",
        parallelism=1,
        flink_url=flink.url,
        flink_checkpoints=shared.as_uri(),
        flink_worker_command=str(command),
    ) as client:
        stream, results = client.get_stream(f"in-{name}"), client.get_list(f"out-{name}")
        stream.publish_all(range(1000))
        job = client.get_jet().submit(sums(name), config(name))
        until(lambda: len(results) == 1000)

        def workers() -> list[psutil.Process]:
            parents = [psutil.Process(child.identity["pid"]) for child in flink.processes.values() if child.identity]
            return [each for parent in parents for each in parent.children() if str(command) in each.cmdline()]

        before = workers()
        assert before
        for each in before:
            each.kill()
        stream.publish_all(range(1000, 2000))
        until(lambda: len(results) >= 2000)
        assert Counter(results.get_all()) == expected(2000)
        assert not {each.pid for each in before} & {each.pid for each in workers()}
        job.cancel()
        until(lambda: not workers(), "the end of the workers")


@pytest.mark.full
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "nowhere", "cannot start the program of its Python workers, .*nowhere"),
        (lambda folder: worker(folder, "sys.exit(3)"), "ended at once, with exit code 3"),
    ],
    ids=["nowhere", "ends"],
)
def test_a_program_of_workers_that_cannot_run(
    flink: RemoteFlink, shared: Path, tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    with jetbridge.connect(
        runner="flink",
        home=tmp_path / "data",
        parallelism=1,
        flink_url=flink.url,
        flink_checkpoints=shared,
        flink_worker_command=str(make(tmp_path)),
    ) as client:
        job = client.get_jet().submit(totals("never"))
        with pytest.raises(jetbridge.JobFailedError, match=message):
            job.join(DEADLINE)


@pytest.mark.full
def test_a_pool_that_was_started_by_hand(
    flink: RemoteFlink, shared: Path, tmp_path: Path, name: str, pool: str
) -> None:
    """And all free slots, where no parallelism is asked for."""
    with jetbridge.connect(
        runner="flink",
        home=tmp_path / "data",
        flink_url=flink.url,
        flink_checkpoints=shared,
        flink_worker_pool=pool,
    ) as client:
        check_totals(client, name)


@pytest.mark.full
def test_the_users_own_job_server_jar(bare: RemoteFlink, shared: Path, tmp_path: Path, name: str) -> None:
    """As Beam publishes them: one jar with the classes of the runner and of all that it needs."""
    server = tmp_path / "beam-runners-flink-1.19-job-server-2.70.0.jar"
    with zipfile.ZipFile(server, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        seen = set()
        for path in jars.fetch():
            with zipfile.ZipFile(path) as jar:
                for entry in jar.namelist():
                    if entry not in seen and not entry.startswith("META-INF/MANIFEST"):
                        seen.add(entry)
                        out.writestr(entry, jar.read(entry))
    with jetbridge.connect(
        runner="flink",
        home=tmp_path / "data",
        parallelism=1,
        flink_url=bare.url,
        flink_checkpoints=shared,
        flink_jars=server,
    ) as client:
        check_totals(client, name)
