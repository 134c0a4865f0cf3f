"""What a job finds when it starts afresh: where "latest" is, and its initial snapshot."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest

import jetbridge
from jetbridge import JobConfig, JobFailedError, JobStatus, Pipeline, SnapshotError, StreamSource

DEADLINE = 60.0
CONFIG = {"name": "watch", "processing_guarantee": "EXACTLY_ONCE"}


def watching(position="latest", to="seen"):
    pipeline = Pipeline.create()
    pipeline.read_from(StreamSource("events", initial_position=position)).write_to(Pipeline.to_list(to))
    return pipeline


@pytest.fixture
def seen(until):
    """Wait until so many events were seen, and give them."""

    def seen(client, count):
        until(lambda: client.get_list("seen").size() >= count, f"{count} events")
        return client.get_list("seen").get_all()

    return seen


@pytest.fixture
def running(until):
    def running(job):
        until(lambda: job.status is JobStatus.RUNNING, "RUNNING")

    return running


def worker(client, job):
    return client._session.jobs.get(job.id).pid


class TestLatest:
    def test_is_when_it_was_submitted(self, client, jet, seen):
        client.get_stream("events").publish("before")
        job = jet.submit(watching())
        client.get_stream("events").publish("after")
        assert seen(client, 1) == ["after"]
        job.cancel()

    @pytest.mark.parametrize("call", ["restart", "resume"])
    def test_is_now_for_a_job_without_a_guarantee(self, client, jet, seen, call):
        job = jet.submit(watching())
        client.get_stream("events").publish("first")
        seen(client, 1)
        if call == "resume":
            job.suspend()
            client.get_stream("events").publish("while it was suspended")
        getattr(job, call)()
        client.get_stream("events").publish("second")
        assert seen(client, 2) == ["first", "second"]
        job.cancel()

    def test_is_now_when_its_worker_has_died(self, client, jet, seen, running, until):
        job = jet.submit(watching())
        client.get_stream("events").publish("first")
        seen(client, 1)
        run, pid = client._session.read(job.id).run, worker(client, job)
        os.kill(pid, signal.SIGKILL)
        until(lambda: client._session.read(job.id).run != run, "another run")
        running(job)
        client.get_stream("events").publish("second")
        assert seen(client, 2) == ["first", "second"]
        job.cancel()

    def test_is_kept_by_a_guarantee(self, client, jet, seen, running):
        client.get_stream("events").publish("before")
        job = jet.submit(watching(), JobConfig(**CONFIG))
        running(job)
        os.kill(worker(client, job), signal.SIGKILL)
        client.get_stream("events").publish("first")
        assert seen(client, 1) == ["first"]
        job.suspend()
        client.get_stream("events").publish("while it was suspended")
        job.resume()
        assert seen(client, 2) == ["first", "while it was suspended"]
        job.restart()
        client.get_stream("events").publish("last")
        assert seen(client, 3) == ["first", "while it was suspended", "last"]
        job.cancel()

    def test_is_kept_for_the_script_that_is_run_again_before_anything_was_read(self, home, seen, running):
        with contextlib.suppress(KeyError), jetbridge.connect(home=home, parallelism=1) as client:
            running(client.get_jet().new_job_if_absent(watching(), JobConfig(**CONFIG)))
            raise KeyError  # it ends at once: nothing is committed any more
        with jetbridge.connect(home=home, parallelism=1) as client:
            client.get_stream("events").publish("between the two")
            client.get_jet().new_job_if_absent(watching(), JobConfig(**CONFIG))
            assert seen(client, 1) == ["between the two"]

    def test_is_that_of_the_script_that_is_run_again_without_a_guarantee(self, home, seen, running):
        config = JobConfig(name="watch")
        with jetbridge.connect(home=home, parallelism=1) as client:
            running(client.get_jet().new_job_if_absent(watching(), config))
        with jetbridge.connect(home=home, parallelism=1) as client:
            client.get_stream("events").publish("between the two")
            client.get_jet().new_job_if_absent(watching(), config)
            client.get_stream("events").publish("after")  # at once, before it runs
            assert seen(client, 1) == ["after"]

    def test_a_job_that_has_read_nothing_may_become_another_pipeline(self, home, running):
        with contextlib.suppress(KeyError), jetbridge.connect(home=home, parallelism=1) as client:
            running(client.get_jet().new_job_if_absent(watching(), JobConfig(**CONFIG)))
            raise KeyError
        with jetbridge.connect(home=home, parallelism=1) as client:
            job = client.get_jet().new_job_if_absent(watching(to="elsewhere"), JobConfig(**CONFIG))
            running(job)


def test_a_list_is_emptied_once_though_the_worker_dies_before_its_first_commit(client, jet, running, until):
    client.get_list("seen").add("old")
    pipeline = Pipeline.create()
    pipeline.read_from(StreamSource("events")).write_to(Pipeline.to_list("seen", clear=True))
    job = jet.submit(pipeline, JobConfig(**CONFIG))
    running(job)
    os.kill(worker(client, job), signal.SIGKILL)
    client.get_stream("events").publish(1)
    until(lambda: client.get_list("seen").get_all() == [1], "an emptied list with the event")
    job.cancel()


def test_a_snapshot_of_a_job_that_has_read_nothing(client, jet, running, seen):
    client.get_stream("events").publish("before")
    job = jet.submit(watching(), JobConfig(**CONFIG))
    running(job)
    job.export_snapshot("empty")
    job.cancel()
    client.get_stream("events").publish("after")
    again = jet.submit(watching(), JobConfig(initial_snapshot_name="empty"))
    assert seen(client, 1) == ["after"], "it stands where the first one began"
    again.cancel()


class TestInitialSnapshotWithoutAGuarantee:
    """As in Jet, a job that keeps no state of its own goes back to its initial snapshot at each start."""

    @pytest.fixture
    def job(self, client, jet, summing, sums):
        client.get_stream("numbers").publish_all([1, 2])
        first = jet.submit(summing(), JobConfig(processing_guarantee="EXACTLY_ONCE"))
        sums(client, 2)
        first.cancel_and_export_snapshot("three")
        job = jet.submit(summing(), JobConfig(name="sum", initial_snapshot_name="three"))
        client.get_stream("numbers").publish(10)
        assert sums(client, 3) == [1, 3, 13]
        yield job
        if not job.is_terminal():
            job.cancel()

    def test_a_restart_and_a_resume_begin_there_again(self, client, job, sums):
        job.restart()
        assert sums(client, 4) == [1, 3, 13, 13]
        job.suspend()
        job.resume()
        client.get_stream("numbers").publish(100)
        assert sums(client, 6) == [1, 3, 13, 13, 13, 113]
        assert job.get_metrics().received_count == 2, "what the run has read itself"

    def test_the_next_worker_begins_there_again(self, client, job, sums):
        os.kill(worker(client, job), signal.SIGKILL)
        assert sums(client, 4) == [1, 3, 13, 13]

    @pytest.mark.parametrize("call", ["resume", "restart"])
    def test_it_stays_suspended_when_the_snapshot_is_gone(self, client, jet, job, summing, sums, call):
        if call == "resume":
            job.suspend()
        jet.get_job_state_snapshot("three").destroy()
        with pytest.raises(SnapshotError, match="three"):
            getattr(job, call)()
        assert job.status is JobStatus.SUSPENDED
        causes = {"resume": "a user asked for it", "restart": "it could not be restarted: there is no snapshot 'three'"}
        assert job.suspension_cause.startswith(causes[call])
        assert jet.new_job_if_absent(summing(), JobConfig(name="sum")).status is JobStatus.SUSPENDED
        assert sums(client, 3) == [1, 3, 13]

    def test_it_fails_when_the_snapshot_is_gone_and_its_worker_dies(self, client, jet, job):
        jet.get_job_state_snapshot("three").destroy()
        os.kill(worker(client, job), signal.SIGKILL)
        with pytest.raises(JobFailedError, match=r"failed: .*snapshot 'three'") as caught:
            job.join(DEADLINE)
        assert "supervision" not in str(caught.value)
