"""File sinks whose job ends while no worker is there to close them: nothing hidden stays, committed rows do."""

from __future__ import annotations

import os
import signal
import time

import pytest

import jetbridge
from jetbridge import JobConfig, JobFailedError, JobStatus, Pipeline, StreamSource, sinks

DEADLINE = 60.0
GUARANTEES = ["NONE", "EXACTLY_ONCE"]


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def batch(out):
    def slow(n):
        time.sleep(0.001)
        return {"n": n}

    pipeline = Pipeline.create()
    pipeline.read_from(Pipeline.from_list("numbers", range(1_000_000))).map(slow).write_to(sinks.csv(out / "n.csv"))
    return pipeline


@pytest.fixture
def stream(out):
    pipeline = Pipeline.create()
    pipeline.read_from(StreamSource("numbers")).map(lambda n: {"n": n}).write_to(sinks.csv(out))
    return pipeline


@pytest.fixture
def begun(out, until):
    """Wait until a job has staged something."""

    def begun(job):
        until(lambda: job.get_metrics().received_count > 0, "the first commit")
        assert [name for name in os.listdir(out) if name.endswith(".staged")]

    return begun


def kill_workers(client, job, until):
    """Kill every worker of a job until it gives up."""

    def ended():
        pid = getattr(client._session.jobs.get(job.id), "pid", None)
        if pid is not None:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return False
        return job.is_terminal()

    until(ended, "the end of the job")
    with pytest.raises(JobFailedError, match="it has died"):
        job.join(DEADLINE)


@pytest.mark.parametrize("guarantee", GUARANTEES)
class TestBatch:
    def test_cancelled_while_it_runs(self, jet, batch, out, begun, guarantee):
        job = jet.submit(batch, JobConfig(processing_guarantee=guarantee))
        begun(job)
        job.cancel()
        assert os.listdir(out) == []

    def test_cancelled_while_it_is_suspended(self, jet, batch, out, begun, guarantee):
        job = jet.submit(batch, JobConfig(processing_guarantee=guarantee))
        begun(job)
        job.suspend()
        assert bool(os.listdir(out)) == (guarantee != "NONE"), "with a guarantee it goes on with what it staged"
        job.cancel()
        assert os.listdir(out) == []

    def test_its_workers_die(self, client, jet, batch, out, begun, until, guarantee):
        job = jet.submit(batch, JobConfig(processing_guarantee=guarantee))
        begun(job)
        kill_workers(client, job, until)
        assert os.listdir(out) == []

    def test_its_time_is_over(self, jet, batch, out, guarantee):
        job = jet.submit(batch, JobConfig(processing_guarantee=guarantee, timeout_millis=1_000))
        with pytest.raises(JobFailedError, match="timeout_millis"):
            job.join(DEADLINE)
        assert os.listdir(out) == []

    def test_its_client_has_died_before(self, home, begin, out, until, gone, guarantee):
        owner = begin(f"""
            def slow(n):
                time.sleep(0.001)
                return {{"n": n}}

            pipeline = Pipeline.create()
            numbers = pipeline.read_from(Pipeline.from_list("numbers", range(1_000_000)))
            numbers.map(slow).write_to(jetbridge.sinks.csv({str(out / "n.csv")!r}))
            client = jetbridge.connect()
            client.get_jet().submit(pipeline, JobConfig(name="dead", processing_guarantee="{guarantee}")).join()
            """)
        with jetbridge.connect(home=home) as client:
            job = until(lambda: client.get_jet().get_job_by_name("dead"), "the job")
            until(lambda: client._session.read(job.id).commits > 0, "the first commit")
            owner.kill()
            until(lambda: job.status is JobStatus.SUSPENDED, "the owner's end")
            assert os.listdir(out)
            job.cancel()
            assert os.listdir(out) == []

    def test_cancelled_by_another_process(self, home, begin, out, until, guarantee):
        owner = begin(f"""
            pipeline = Pipeline.create()
            numbers = pipeline.read_from(Pipeline.from_list("numbers", range(1_000_000)))
            slowly = numbers.map(lambda n: (time.sleep(0.001), {{"n": n}})[1])
            slowly.write_to(jetbridge.sinks.csv({str(out / "n.csv")!r}))
            client = jetbridge.connect()
            client.get_jet().submit(pipeline, JobConfig(name="other", processing_guarantee="{guarantee}")).join()
            """)
        with jetbridge.connect(home=home) as client:
            job = until(lambda: client.get_jet().get_job_by_name("other"), "the job")
            until(lambda: client._session.read(job.id).commits > 0, "the first commit")
            job.cancel()
            owner.communicate(timeout=DEADLINE)
            assert os.listdir(out) == []


@pytest.mark.parametrize("how", ["cancelled", "cancelled when suspended", "workers die"])
def test_committed_rows_of_a_stream_are_shown(client, jet, stream, out, begun, until, how):
    client.get_stream("numbers").publish_all(range(1000))
    job = jet.submit(stream, JobConfig(processing_guarantee="EXACTLY_ONCE"))
    begun(job)
    until(lambda: job.get_metrics().received_count == 1000, "all items")
    if how == "workers die":
        kill_workers(client, job, until)
    else:
        if how != "cancelled":
            job.suspend()
        job.cancel()
    [part] = os.listdir(out)
    assert (out / part).read_text().splitlines() == ["n", *map(str, range(1000))]


def test_what_cannot_be_tidied_up_is_told(jet, batch, out, begun, caplog):
    job = jet.submit(batch, JobConfig(processing_guarantee="EXACTLY_ONCE"))
    begun(job)
    job.suspend()
    [staged] = os.listdir(out)
    os.remove(out / staged)
    job.cancel()
    assert job.is_user_cancelled
    assert "could not be tidied up" in caplog.text
    assert staged in caplog.text
