"""Jobs of one client: from submit to the end, cancel, workers that die."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import psutil
import pytest

import jetbridge
from jetbridge import (
    JobAlreadyExistsError,
    JobCancelledError,
    JobConfig,
    JobFailedError,
    JobStateError,
    JobStatus,
    Pipeline,
    PipelineError,
    TimeoutException,
)

DEADLINE = 60.0


class TestSubmit:
    def test_what_is_no_pipeline_is_refused(self, jet):
        with pytest.raises(PipelineError, match=r"submit must be given a Pipeline.*got 5"):
            jet.submit(5)

    def test_what_is_no_config_is_refused(self, jet, pipeline):
        with pytest.raises(jetbridge.ConfigError, match=r"the config must be a JobConfig.*got 'name'"):
            jet.submit(pipeline(), "name")

    def test_sources_and_sinks_are_checked_before_anything_starts(self, jet):
        class Never(jetbridge.connectors.Source):
            def partitions(self):
                return ["0"]

            def read(self, partition, offset, limit):
                return [], None

            def check(self):
                raise OSError("no such queue")

        pipeline = Pipeline.create()
        pipeline.read_from(Never("queue")).write_to(Pipeline.to_list("results"))
        with pytest.raises(jetbridge.SourceError, match="source 'queue': its check failed: OSError: no such queue"):
            jet.submit(pipeline)
        assert jet.get_jobs() == []

    def test_submit_does_not_wait_for_the_worker(self, jet, pipeline, gate):
        begun = time.monotonic()
        job = jet.submit(pipeline(gate))
        assert time.monotonic() - begun < 1
        assert not job.is_terminal()
        gate.open()
        job.join(DEADLINE)

    def test_an_unknown_snapshot_is_refused(self, jet, pipeline):
        with pytest.raises(jetbridge.SnapshotError, match="there is no snapshot 'a'"):
            jet.submit(pipeline(), JobConfig(initial_snapshot_name="a"))
        assert jet.get_jobs() == []

    def test_what_is_true_of_one_process_or_never_refused_is_accepted(self, jet, pipeline):
        config = JobConfig(split_brain_protection_enabled=True, auto_scaling_enabled=False)
        jet.submit(pipeline(), config).join(DEADLINE)


class TestNames:
    def test_a_taken_name_is_told_with_its_job(self, jet, pipeline, gate):
        first = jet.submit(pipeline(gate), JobConfig(name="orders"))
        gate.reached()
        with pytest.raises(JobAlreadyExistsError, match=f"'orders' is taken by job {first.id}, which is RUNNING:"):
            jet.submit(pipeline(), JobConfig(name="orders"))
        assert jet.new_job_if_absent(pipeline(gate), JobConfig(name="orders")).id == first.id
        gate.open()
        first.join(DEADLINE)

    def test_a_suspended_jobs_name_is_taken(self, home, pipeline, gate):
        with contextlib.suppress(KeyError), jetbridge.connect(home=home) as client:
            client.get_jet().submit(pipeline(gate), JobConfig(name="orders"))
            raise KeyError
        with jetbridge.connect(home=home) as client:
            jet = client.get_jet()
            with pytest.raises(
                JobAlreadyExistsError, match=r"which is SUSPENDED \(its client ended with KeyEr"
            ) as error:
                jet.submit(pipeline(), JobConfig(name="orders"))
            assert "`jetbridge resume orders` starts it again, `jetbridge cancel orders` ends it" in str(error.value)
            assert "new_job_if_absent, which resumes it" in str(error.value)
            assert "join" not in str(error.value)
            assert error.value.__suppress_context__, "SQLite's error is of no use to a user"
            jet.get_job_by_name("orders").cancel()
            jet.submit(pipeline(), JobConfig(name="orders")).join(DEADLINE)


class TestCancel:
    def test_the_worker_and_what_it_started_are_killed(self, jet, pipeline, gate, gone):
        job = jet.submit(pipeline(gate))
        pid = gate.reached()
        job.cancel()
        assert job.status is JobStatus.FAILED
        assert job.is_user_cancelled
        gone(pid)
        with pytest.raises(JobCancelledError, match=f"job {job.id} was cancelled"):
            job.join(DEADLINE)

    def test_twice_is_an_error_that_names_the_status(self, jet, pipeline, gate):
        job = jet.submit(pipeline(gate), JobConfig(name="orders"))
        job.cancel()
        with pytest.raises(JobStateError, match=r"cancel: job 'orders' \(.*\) is FAILED, which is its end"):
            job.cancel()

    def test_another_handle_cancels_it_too(self, jet, pipeline, gate):
        job = jet.submit(pipeline(gate))
        gate.reached()
        jet.get_job(job.id).cancel()
        assert job.is_user_cancelled

    def test_from_another_process(self, jet, pipeline, gate, begin, gone):
        job = jet.submit(pipeline(gate), JobConfig(name="orders"))
        pid = gate.reached()
        other = begin("""
            with jetbridge.connect() as client:
                job = client.get_jet().get_job_by_name("orders")
                print(job.status)
                job.cancel()
                print(job.status, job.is_user_cancelled)
            """)
        out, err = other.communicate(timeout=DEADLINE)
        assert out.split() == ["RUNNING", "FAILED", "True"], err
        gone(pid)
        with pytest.raises(JobCancelledError):
            job.join(DEADLINE)


class TestWorkersThatDie:
    def test_killed_once_it_runs_again_as_a_new_run(self, jet, pipeline, gate, until, caplog):
        job = jet.submit(pipeline(gate), JobConfig(name="orders"))
        first = gate.reached()
        run = jet._session.read(job.id).run
        os.kill(first, signal.SIGKILL)
        second = gate.reached(2)
        assert second != first
        assert jet._session.read(job.id).run != run
        gate.open()
        job.join(DEADLINE)
        assert "job 'orders'" in caplog.text
        assert "was killed by signal 9 (SIGKILL)" in caplog.text
        assert "is started again (2 of 3)" in caplog.text

    def test_killed_three_times_it_has_failed_with_the_cause(self, jet, pipeline, gate):
        job = jet.submit(pipeline(gate))
        for count in (1, 2, 3):
            os.kill(gate.reached(count), signal.SIGKILL)
        with pytest.raises(JobFailedError, match=r"was killed by signal 9 \(SIGKILL\).*; it has died 3 times"):
            job.join(DEADLINE)
        assert job.status is JobStatus.FAILED
        assert not job.is_user_cancelled
        assert len(gate.pids) == 3

    def test_an_exit_code_is_told(self, jet, pipeline):
        job = jet.submit(pipeline(lambda item: os._exit(7)))
        with pytest.raises(JobFailedError, match="ended with exit code 7"):
            job.join(DEADLINE)

    def test_cancel_while_it_waits_to_start_again(self, jet, pipeline, gate):
        job = jet.submit(pipeline(gate))
        os.kill(gate.reached(), signal.SIGKILL)
        job.cancel()
        with pytest.raises(JobCancelledError):
            job.join(DEADLINE)
        assert jet._session.jobs.get(job.id).wait(0)

    def test_an_exception_is_no_death(self, jet, pipeline, tmp_path):
        path = str(tmp_path / "calls")

        def fail(item):
            with open(path, "a") as file:
                file.write("x")
            raise ValueError(f"no {item}")

        job = jet.submit(pipeline(fail, items=["milk"]), JobConfig(name="orders"))
        with pytest.raises(JobFailedError, match=r"job 'orders' \(.*\) failed: .*ValueError: no milk") as caught:
            job.join(DEADLINE)
        assert (caught.value.stage, caught.value.item) == ("map", "'milk'")
        assert "in fail" in str(caught.value), "the message shows the user's own lines"
        assert (tmp_path / "calls").read_text() == "x"


class TestTimes:
    def test_timeout_millis_ends_a_job_that_runs_longer(self, jet, pipeline, gate, gone):
        job = jet.submit(pipeline(gate), JobConfig(timeout_millis=1500))
        pid = gate.reached()
        with pytest.raises(JobFailedError, match="longer than its timeout_millis of 1500 ms"):
            job.join(DEADLINE)
        gone(pid)

    def test_join_says_how_long_it_waited(self, jet, pipeline, gate):
        job = jet.submit(pipeline(gate), JobConfig(name="orders"))
        gate.reached()
        with pytest.raises(TimeoutException, match=r"job 'orders' .* is RUNNING after 0.05 s; it goes on"):
            job.join(timeout=0.05)
        with pytest.raises(TimeoutException):
            job.join(timeout=0)
        gate.open()
        job.join(DEADLINE)

    def test_join_says_of_a_suspended_job_that_it_does_not_go_on(self, jet, pipeline, gate):
        job = jet.submit(pipeline(gate), JobConfig(name="orders"))
        gate.reached()
        job.suspend()
        message = rf"job 'orders' .* is SUSPENDED after 0.05 s \({job.suspension_cause}\); resume\(\) goes on with it"
        with pytest.raises(TimeoutException, match=message):
            job.join(timeout=0.05)

    @pytest.mark.parametrize("timeout", [-1, -0.001, float("nan"), "1", True], ids=repr)
    def test_a_timeout_that_is_none(self, jet, pipeline, timeout):
        job = jet.submit(pipeline())
        with pytest.raises(jetbridge.ConfigError, match="timeout must be a number of seconds from 0 on"):
            job.join(timeout=timeout)

    def test_a_very_long_timeout(self, jet, pipeline):
        assert jet.submit(pipeline()).join(timeout=float("inf")) is None


class TestHandles:
    def test_repr(self, client, jet, pipeline):
        job = jet.submit(pipeline(), JobConfig(name="orders"))
        job.join(DEADLINE)
        assert repr(job) == f"<Job {job.id} 'orders' COMPLETED>"
        assert repr(jet) == "<JetService runner='direct'>"
        assert repr(client) == f"<Client runner='direct' home='{client.settings.home}'>"

    def test_no_metrics_when_the_config_wants_none(self, jet, pipeline):
        for config in (JobConfig(metrics_enabled=False), JobConfig(store_metrics_after_job_completion=False)):
            job = jet.submit(pipeline(), config)
            job.join(DEADLINE)
            assert job.get_metrics() == jetbridge.JobMetrics()

    def test_metrics_know_the_stages_before_the_first_commit(self, jet, pipeline, gate):
        job = jet.submit(pipeline(gate))
        assert set(job.get_metrics().stages) == {"items", "map", "results"}
        gate.open()
        job.join(DEADLINE)

    def test_suspension_cause_is_none_while_it_runs(self, jet, pipeline):
        job = jet.submit(pipeline())
        assert job.suspension_cause is None
        job.join(DEADLINE)


def test_nothing_is_left_open_in_the_client(jet, pipeline, until):
    jet.submit(pipeline()).join(DEADLINE)
    process = psutil.Process()
    before = (process.num_fds(), process.num_threads())
    for _ in range(5):
        jet.submit(pipeline()).join(DEADLINE)
    jet.submit(pipeline()).join(DEADLINE)

    def settled():  # connections of threads that have ended are closed when the next one opens its own
        return process.num_fds() <= before[0] + 6 and process.num_threads() <= before[1] + 1

    until(settled)


def test_a_worker_holds_no_descriptors_of_others(jet, pipeline, gate):
    job = jet.submit(pipeline(gate))
    first = gate.reached()
    other = jet.submit(pipeline(gate, to="others"))
    second = gate.reached(2)
    ours = set(os.listdir(f"/proc/{first}/fd")) if os.path.exists("/proc") else set()
    theirs = set(os.listdir(f"/proc/{second}/fd")) if os.path.exists("/proc") else set()
    assert len(ours) == len(theirs)
    gate.open()
    job.join(DEADLINE)
    other.join(DEADLINE)
