"""Jobs that run on in a cluster, as clients see them that cannot look after them."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

import jetbridge
from jetbridge import JobConfig, JobStatus, Pipeline
from jetbridge.errors import JobError, TimeoutException
from jetbridge.jobs import ownership
from jetbridge.jobs.packing import pack
from jetbridge.store import Database
from jetbridge.store.records import JobRecord
from jetbridge.store.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def url() -> Iterator[str]:
    """An address at which nobody answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def left(tmp_path: Path, url: str) -> JobRecord:
    """A job that runs on in the cluster; its client was killed."""
    pipeline = Pipeline.create()
    pipeline.read_from(Pipeline.from_list("numbers", [1])).write_to(Pipeline.to_list("out"))
    record = JobRecord(
        id="1-2",
        name="left",
        status="RUNNING",
        config=JobConfig(name="left").model_dump(mode="json"),
        owner={**ownership.claim("gone"), "started": "another time"},
        engine={"runner": "flink", "cluster": url, "ids": ["abc"], "start": "s", "parallelism": 1},
    )
    db = Database.open(tmp_path / "data")
    Registry(db).add(record, pack(pipeline.plan(), "r"))
    db.close()
    return record


def test_a_client_of_no_cluster_sees_it_running_and_cannot_steer_it(
    tmp_path: Path, url: str, left: JobRecord, caplog: pytest.LogCaptureFixture
) -> None:
    with jetbridge.connect(home=tmp_path / "data") as client:
        job = client.get_jet().get_job_by_name("left")
        assert job is not None
        assert (job.status, job.suspension_cause) == (JobStatus.RUNNING, None)
        assert client._session.registry.get("1-2").owner is None  # type: ignore[union-attr]
        for call in (job.suspend, job.restart, lambda: job.export_snapshot("s")):
            with pytest.raises(JobError, match=f"'left' .* runs on in the cluster {url}, and no client of that"):
                call()
        with pytest.raises(TimeoutException):
            job.join(0.1)
        assert f"join: job 'left' (1-2) runs on in the cluster {url}" in caplog.text
        job.cancel()
        assert job.is_user_cancelled
        assert "its job abc is to be cancelled there" in caplog.text


def test_a_cluster_that_does_not_answer_leaves_it_as_it_was(
    tmp_path: Path, url: str, left: JobRecord, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"flink_url": url, "flink_worker_command": "never", "flink_checkpoints": tmp_path}
    with jetbridge.connect(runner="flink", home=tmp_path / "data", **given) as client:
        assert "job 'left' (1-2) runs on in a cluster and cannot be looked after: " in caplog.text
        job = client.get_jet().get_job("1-2")
        assert job is not None
        assert job.status is JobStatus.RUNNING
        assert caplog.text.count("cannot be looked after") == 1, "it is not tried at each look"
        with pytest.raises(JobError, match="no client of that cluster is here"):
            job.suspend()


def test_one_of_many_readers_lets_go_of_the_dead_owner(tmp_path: Path, left: JobRecord) -> None:
    with jetbridge.connect(home=tmp_path / "data") as client:
        threads = [threading.Thread(target=client.get_jet().get_jobs) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        [job] = client.get_jet().get_jobs()
        assert job.status is JobStatus.RUNNING


def test_who_is_slower_takes_nothing_over(tmp_path: Path, url: str, left: JobRecord) -> None:
    """Two clients see that nobody looks after the job, and one of them is first."""
    with jetbridge.connect(home=tmp_path / "data") as client:
        session = client._session
        first = ownership.claim("first")
        session.registry.update("1-2", owner=first)
        assert session.jobs.attach(left).owner == first
        assert session.registry.get("1-2").owner == first  # type: ignore[union-attr]
        session.registry.update("1-2", owner=None, status="SUSPENDED")
        assert session.jobs.attach(left).status == "SUSPENDED"


@pytest.mark.parametrize("status", ["NOT_RUNNING", "SUSPENDED", "SUSPENDED_EXPORTING_SNAPSHOT", "COMPLETED", "FAILED"])
def test_a_job_that_is_not_at_work_runs_on_nowhere(left: JobRecord, status: str) -> None:
    assert left.remote_cluster is not None
    assert left.with_status(status=status).remote_cluster is None
