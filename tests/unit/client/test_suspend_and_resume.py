"""Suspend, resume and restart, in the client that the job belongs to."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import pytest

import jetbridge
from jetbridge import JobConfig, JobFailedError, JobStateError, JobStatus, Pipeline, StreamSource, TimeoutException
from jetbridge.store import runs
from jetbridge_direct import execution

DEADLINE = 60.0
GUARDED = {"processing_guarantee": "EXACTLY_ONCE"}


@pytest.fixture
def counting():
    """A pipeline that counts a stream's items by their remainder."""

    def make(to="counts"):
        pipeline = Pipeline.create()
        keyed = pipeline.read_from(StreamSource("numbers")).group_by(lambda n: n % 2)
        keyed.rolling_aggregate(accumulator=lambda count, n: count + 1, initial=0).write_to(Pipeline.to_list(to))
        return pipeline

    return make


@pytest.fixture
def held(client, until):
    """Wait until a list holds so many items; the list's items."""

    def held(count, name="counts"):
        until(lambda: client.get_list(name).size() >= count, f"{count} items in {name}")
        return client.get_list(name).get_all()

    return held


def test_a_stream_goes_on_where_it_was(client, jet, counting, held):
    client.get_stream("numbers").publish_all([1, 2, 3])
    job = jet.submit(counting(), JobConfig(name="count", **GUARDED))
    run = jet._session.read(job.id).run
    held(3)
    job.suspend()
    assert job.status is JobStatus.SUSPENDED
    assert job.suspension_cause == "a user asked for it"
    client.get_stream("numbers").publish_all([4, 5])
    job.resume()
    assert job.status is JobStatus.RUNNING
    assert job.suspension_cause is None
    assert sorted(held(5)) == [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3)]
    assert jet._session.read(job.id).run == run
    assert job.get_metrics().received_count == 5
    job.cancel()


def test_without_a_guarantee_it_starts_afresh(client, jet, counting, held):
    client.get_stream("numbers").publish_all([1, 2, 3])
    job = jet.submit(counting())
    run = jet._session.read(job.id).run
    held(3)
    job.suspend()
    job.resume()
    assert sorted(held(6)) == [(0, 1), (0, 1), (1, 1), (1, 1), (1, 2), (1, 2)]
    assert jet._session.read(job.id).run != run
    assert job.get_metrics().received_count == 3
    job.cancel()


def test_restart_goes_on_too(client, jet, counting, held, gone):
    client.get_stream("numbers").publish_all([1, 2, 3])
    job = jet.submit(counting(), JobConfig(**GUARDED))
    held(3)
    worker = jet._session.jobs.get(job.id).pid
    job.restart()
    assert job.status is JobStatus.RUNNING
    gone(worker)
    client.get_stream("numbers").publish(4)
    assert (0, 2) in held(4)
    job.cancel()


@pytest.mark.parametrize("guarantee", ["NONE", "AT_LEAST_ONCE", "EXACTLY_ONCE"])
def test_a_batch_job(client, jet, gate, until, guarantee):
    items, slow = range(200_000), str(gate._folder)

    def wait(item):
        if item == 150_000 and not os.path.exists(f"{slow}/open"):
            gate(item)
        return item

    pipeline = Pipeline.create()
    pipeline.read_from(Pipeline.from_list("items", items)).map(wait).write_to(Pipeline.to_list("results"))
    job = jet.submit(pipeline, JobConfig(processing_guarantee=guarantee))
    gate.reached()
    gate.open()
    with contextlib.suppress(JobStateError):  # it may end first
        job.suspend()
        before = client.get_list("results").size()
        job.resume()
    job.join(DEADLINE)
    results = client.get_list("results").get_all()
    if guarantee == "NONE" and job.get_metrics().received_count < len(results):
        assert results == [*items[:before], *items]
    else:
        assert results == list(items)


def test_before_its_worker_runs(jet, counting, client, held):
    client.get_stream("numbers").publish_all([1, 2])
    job = jet.submit(counting(), JobConfig(**GUARDED))
    job.suspend()
    assert job.status is JobStatus.SUSPENDED
    job.resume()
    assert sorted(held(2)) == [(0, 1), (1, 1)]
    job.cancel()


def test_a_function_that_hangs_is_killed(client, jet, pipeline, gate, gone, monkeypatch, caplog):
    monkeypatch.setattr(execution, "_STOPPING", 0.2)
    job = jet.submit(pipeline(gate), JobConfig(name="orders", **GUARDED))
    pid = gate.reached()
    job.suspend()
    assert job.status is JobStatus.SUSPENDED
    gone(pid)
    assert "job 'orders'" in caplog.text
    assert "does not end its epoch within 0.2 s" in caplog.text
    gate.open()
    job.resume()
    job.join(DEADLINE)
    assert client.get_list("results").get_all() == [1, 2, 3]


def test_calls_that_the_status_does_not_allow(client, jet, counting, pipeline, held):
    job = jet.submit(counting(), JobConfig(name="count", **GUARDED))
    with pytest.raises(JobStateError, match=r"resume: job 'count' \(.*\) is \w+: only a suspended job can be resumed"):
        job.resume()
    job.suspend()
    with pytest.raises(JobStateError, match=r"is SUSPENDED \(a user asked for it\): only a running job"):
        job.suspend()
    with pytest.raises(JobStateError, match=r"restart: .* is SUSPENDED .*: call resume\(\)"):
        job.restart()
    job.cancel()
    for call in (job.suspend, job.resume, job.restart, lambda: job.export_snapshot("a")):
        with pytest.raises(JobStateError, match="is FAILED, which is its end"):
            call()
    done = jet.submit(pipeline())
    done.join(DEADLINE)
    for call in (done.suspend, done.resume, done.restart, lambda: done.cancel_and_export_snapshot("a")):
        with pytest.raises(JobStateError, match="is COMPLETED, which is its end"):
            call()
    assert client.get_list("results").get_all() == [1, 2, 3]


def test_join_goes_on_over_a_suspension(jet, pipeline, gate, monkeypatch, caplog):
    monkeypatch.setattr(execution, "_STOPPING", 0.1)
    job = jet.submit(pipeline(gate), JobConfig(**GUARDED))
    gate.reached()
    job.suspend()
    with pytest.raises(TimeoutException, match=r"is SUSPENDED after 0\.1 s"):
        job.join(0.1)
    assert "waits to be resumed or cancelled" in caplog.text
    gate.open()
    job.resume()
    job.join(DEADLINE)


def test_a_suspended_job_is_cancelled(jet, counting):
    job = jet.submit(counting(), JobConfig(**GUARDED))
    job.suspend()
    job.cancel()
    assert job.is_user_cancelled
    with pytest.raises(jetbridge.JobError, match="there is no job"):
        jet._session.registry.pipeline(job.id)


class TestWorkersThatDie:
    def test_a_guarded_job_goes_on_as_the_same_run(self, client, jet, counting, held):
        client.get_stream("numbers").publish_all([1, 2, 3])
        job = jet.submit(counting(), JobConfig(**GUARDED))
        run = jet._session.read(job.id).run
        held(3)
        for count in (4, 5, 6, 7, 8):  # more than three deaths: each of them after a commit
            os.kill(jet._session.jobs.get(job.id).pid, signal.SIGKILL)
            client.get_stream("numbers").publish(2 * count)
            assert (0, count - 2) in held(count)
        assert jet._session.read(job.id).run == run
        job.cancel()

    def test_deaths_without_a_commit_between_them_are_counted(self, jet, pipeline, gate):
        job = jet.submit(pipeline(gate), JobConfig(**GUARDED))
        for count in (1, 2, 3):
            os.kill(gate.reached(count), signal.SIGKILL)
        with pytest.raises(JobFailedError, match="it has died 3 times"):
            job.join(DEADLINE)

    def test_a_stream_without_a_guarantee_is_forgiven_deaths_that_lie_far_apart(self, client, jet, gate, monkeypatch):
        monkeypatch.setattr(runs, "HEALTHY_SECONDS", 0.0)
        client.get_stream("numbers").publish(1)
        pipeline = Pipeline.create()
        pipeline.read_from(StreamSource("numbers")).map(gate).write_to(Pipeline.to_list("results"))
        job = jet.submit(pipeline)
        for count in (1, 2, 3, 4):
            os.kill(gate.reached(count), signal.SIGKILL)
        gate.reached(5)
        assert job.status is JobStatus.RUNNING
        job.cancel()

    @pytest.mark.parametrize("bounded", [True, False])
    def test_other_deaths_without_a_guarantee_are_counted(self, client, jet, pipeline, gate, monkeypatch, bounded):
        client.get_stream("numbers").publish(1)
        stream = Pipeline.create()
        stream.read_from(StreamSource("numbers")).map(gate).write_to(Pipeline.to_list("results"))
        if bounded:  # it would begin anew for ever
            monkeypatch.setattr(runs, "HEALTHY_SECONDS", 0.0)
        job = jet.submit(pipeline(gate) if bounded else stream)
        for count in (1, 2, 3):
            os.kill(gate.reached(count), signal.SIGKILL)
        with pytest.raises(JobFailedError, match="it has died 3 times"):
            job.join(DEADLINE)

    def test_commits_between_deaths_without_a_guarantee_do_not_count(self, client, jet, until):
        """Each begins anew: what was committed is no step forward."""
        client.get_stream("numbers").publish_all([1, 2, 3])
        stream, results = Pipeline.create(), client.get_list("results")
        stream.read_from(StreamSource("numbers")).write_to(Pipeline.to_list("results"))
        job = jet.submit(stream)
        for count in (3, 6, 9):
            until(lambda count=count: len(results) == count)
            os.kill(jet._session.jobs.get(job.id).pid, signal.SIGKILL)
        with pytest.raises(JobFailedError, match="it has died 3 times"):
            job.join(DEADLINE)

    def test_suspended_while_it_waits_to_start_again(self, client, jet, pipeline, gate):
        job = jet.submit(pipeline(gate), JobConfig(**GUARDED))
        os.kill(gate.reached(), signal.SIGKILL)
        job.suspend()
        assert job.status is JobStatus.SUSPENDED
        gate.open()
        job.resume()
        job.join(DEADLINE)
        assert client.get_list("results").get_all() == [1, 2, 3]


class TestSuspendOnFailure:
    def test_the_cause_and_the_error_are_kept(self, client, jet, pipeline, tmp_path, until):
        marker = str(tmp_path / "repaired")

        def fail(item):
            if not os.path.exists(marker):
                raise ValueError("no milk")
            return item

        config = JobConfig(name="orders", suspend_on_failure=True, **GUARDED)
        job = jet.submit(pipeline(fail), config)
        until(lambda: job.status is JobStatus.SUSPENDED, "the suspension")
        assert "no milk" in job.suspension_cause
        assert jet._session.read(job.id).error["stage"] == "map"
        assert jet.new_job_if_absent(pipeline(fail), config).status is JobStatus.SUSPENDED
        (tmp_path / "repaired").touch()
        job.resume()
        job.join(DEADLINE)
        assert client.get_list("results").get_all() == [1, 2, 3]
        assert jet._session.read(job.id).error is None

    def test_workers_that_die_again_and_again(self, jet, pipeline, until):
        job = jet.submit(pipeline(lambda item: os._exit(7)), JobConfig(suspend_on_failure=True))
        until(lambda: job.status is JobStatus.SUSPENDED, "the suspension")
        assert "ended with exit code 7; it has died 3 times" in job.suspension_cause


class TestTimeout:
    def test_a_stream_ends(self, jet, counting):
        job = jet.submit(counting(), JobConfig(timeout_millis=500))
        with pytest.raises(JobFailedError, match="longer than its timeout_millis of 500 ms"):
            job.join(DEADLINE)

    def test_what_it_ran_before_counts_and_its_suspension_does_not(self, client, jet, counting, held):
        job = jet.submit(counting(), JobConfig(timeout_millis=20_000, **GUARDED))
        client.get_stream("numbers").publish(1)
        held(1)
        job.suspend()
        ran = jet._session.read(job.id)
        job.resume()
        resumed = jet._session.read(job.id)
        assert resumed.ran == ran.metrics["updated"] - ran.start_time
        left = jet._session.jobs.get(job.id)._deadline - time.monotonic()
        assert left <= 20 - resumed.ran / 1000
        job.cancel()
