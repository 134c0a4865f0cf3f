"""Calls on jobs that belong to another process, which lives, is stopped, or dies meanwhile."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

import jetbridge
from jetbridge import JobConfig, JobError, JobStateError, JobStatus, Pipeline, StreamSource
from jetbridge.jobs import commands

DEADLINE = 60.0
OWNER = """
    client = jetbridge.connect()
    job = client.get_jet().submit(summing(), JobConfig(name="sum", processing_guarantee="{guarantee}"))
    print(os.getpid(), flush=True)
    job.join()
    """


@pytest.fixture
def owner(begin):
    def owner(guarantee="EXACTLY_ONCE"):
        process = begin(OWNER.format(guarantee=guarantee))
        assert process.stdout.readline().strip() == str(process.pid), process.communicate()
        return process

    return owner


@pytest.fixture
def job(owner, client):
    owner()
    return client.get_jet().get_job_by_name("sum")


@pytest.fixture
def asking(client, until):
    """Call something while the job's owner is stopped, and kill that before it answers."""

    def asking(process, call):
        os.kill(process.pid, signal.SIGSTOP)
        reader = client._session.db.reader
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(call)
            until(lambda: reader().execute("SELECT count(*) FROM commands").fetchone() == (1,), "the call")
            process.kill()
            process.wait()
            waiting.result(DEADLINE)

    return asking


def test_the_owner_carries_them_out(client, job, sums):
    client.get_stream("numbers").publish(1)
    sums(client, 1)
    owner = client._session.read(job.id).owner["pid"]
    assert owner != os.getpid()
    job.export_snapshot("one")
    assert client.get_jet().get_job_state_snapshot("one").job_id == job.id
    job.restart()
    assert job.status is JobStatus.RUNNING
    assert client._session.read(job.id).owner["pid"] == owner
    client.get_stream("numbers").publish(2)
    assert sums(client, 2) == [1, 3]
    job.suspend()
    assert job.status is JobStatus.SUSPENDED
    assert job.suspension_cause == "a user asked for it"
    job.export_snapshot("two")
    client.get_stream("numbers").publish(3)
    job.resume()
    assert client._session.read(job.id).owner["pid"] == os.getpid(), "who resumes it has it"
    assert sums(client, 3) == [1, 3, 6]
    job.cancel_and_export_snapshot("three")
    assert job.is_user_cancelled
    assert client._session.db.reader().execute("SELECT count(*) FROM commands").fetchone() == (0,)


def test_cancel_and_export_at_the_owner(client, job, sums):
    client.get_stream("numbers").publish(1)
    sums(client, 1)
    job.cancel_and_export_snapshot("end")
    assert job.status is JobStatus.FAILED
    assert job.is_user_cancelled
    assert client.get_jet().get_job_state_snapshot("end").job_name == "sum"


def test_its_errors_are_the_callers(client, owner, sums):
    owner("NONE")
    job = client.get_jet().get_job_by_name("sum")
    client.get_stream("numbers").publish(1)
    sums(client, 1)
    snapshots = client._session.db.home / "snapshots"
    snapshots.rmdir() if snapshots.exists() else None
    snapshots.touch()
    with pytest.raises(jetbridge.JetbridgeError, match="snapshot"):
        job.export_snapshot("one")
    snapshots.unlink()
    job.suspend()
    with pytest.raises(JobStateError, match="has no processing guarantee"):
        job.export_snapshot("one")
    job.cancel()


def test_an_owner_that_is_stopped_does_not_hold_up_for_ever(client, owner, monkeypatch):
    monkeypatch.setattr(commands, "_HEARING", 0.5)
    process = owner()
    job = client.get_jet().get_job_by_name("sum")
    with client._session.db.transaction():  # so that it is not stopped while it holds the lock itself
        os.kill(process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(JobError, match=f"suspend: job 'sum' .* belongs to process {process.pid}, which lives and"):
            job.suspend()
        job.cancel()
        assert job.is_user_cancelled
    finally:
        os.kill(process.pid, signal.SIGCONT)


@pytest.mark.parametrize("call", ["suspend", "export_snapshot", "cancel_and_export_snapshot"])
def test_an_owner_that_dies_meanwhile(client, owner, sums, asking, call):
    process = owner()
    job = client.get_jet().get_job_by_name("sum")
    client.get_stream("numbers").publish(1)
    sums(client, 1)
    asking(process, lambda: getattr(job, call)(*["one"][: call != "suspend"]))
    if call == "suspend":
        assert client._session.read(job.id).suspended_by == "user", "what was asked for has happened"
    else:
        assert client.get_jet().get_job_state_snapshot("one").job_id == job.id
    if call == "cancel_and_export_snapshot":
        assert job.is_user_cancelled
        return
    job.resume()
    client.get_stream("numbers").publish(2)
    assert sums(client, 2) == [1, 3]
    job.cancel()


def test_restart_of_a_job_whose_owner_dies_meanwhile(client, owner, sums, asking):
    process = owner()
    job = client.get_jet().get_job_by_name("sum")
    client.get_stream("numbers").publish(1)
    sums(client, 1)
    asking(process, job.restart)
    assert job.status is JobStatus.RUNNING
    assert client._session.read(job.id).owner["pid"] == os.getpid()
    client.get_stream("numbers").publish(2)
    assert sums(client, 2) == [1, 3]
    job.cancel()


def test_a_cancelled_job_is_stopped_in_its_owner_soon(client, owner, gone):
    process = owner()
    job = client.get_jet().get_job_by_name("sum")
    workers = psutil.Process(process.pid).children(recursive=True)
    job.cancel()
    process.wait(DEADLINE)
    for worker in workers:
        gone(worker.pid)
    assert "was cancelled" in process.communicate()[1]


def test_two_clients_of_one_process(home, until):
    pipeline = Pipeline.create()
    pipeline.read_from(StreamSource("numbers")).write_to(Pipeline.to_list("copy"))
    with jetbridge.connect(home=home, parallelism=1) as one, jetbridge.connect(home=home, parallelism=1) as two:
        job = one.get_jet().submit(pipeline, JobConfig(processing_guarantee="EXACTLY_ONCE"))
        other = two.get_jet().get_job(job.id)
        other.suspend()
        assert job.status is JobStatus.SUSPENDED
        other.resume()
        assert job.status is JobStatus.RUNNING
        job.restart()
        assert other.status is JobStatus.RUNNING
        one.get_stream("numbers").publish(1)
        until(lambda: one.get_list("copy").size() == 1)
        job.cancel()
        assert other.is_user_cancelled
