"""Jobs: cancel, retrieval, names, workers that die, what a script sees of them."""

from __future__ import annotations

import concurrent.futures
import logging
import os
import signal

import pytest

import jetbridge
from jetbridge import (
    JobAlreadyExistsError,
    JobCancelledError,
    JobConfig,
    JobFailedError,
    JobStatus,
    Pipeline,
)

DEADLINE = 30


class TestCancel:
    def test_cancel_returns_when_the_job_has_ended(self, jet, gate):
        pipeline, results = gate.pipeline(jet)
        job = jet.submit(pipeline)
        gate.wait_until_reached()
        job.cancel()
        assert job.status is JobStatus.FAILED
        assert job.is_user_cancelled
        with pytest.raises(JobCancelledError) as caught:
            job.join(timeout=DEADLINE)
        assert isinstance(caught.value, concurrent.futures.CancelledError)
        assert results.get_all() == []

    def test_cancel_at_once(self, jet, gate):
        pipeline, _ = gate.pipeline(jet)
        job = jet.submit(pipeline)
        job.cancel()
        assert job.status is JobStatus.FAILED
        assert job.is_user_cancelled

    def test_a_function_that_never_returns_is_cancelled(self, jet, until):
        def spin(item):
            while True:
                pass

        pipeline, results = Pipeline.create(), jet.list()
        pipeline.read_from(Pipeline.from_list("n", [1])).map(spin).write_to(Pipeline.to_list(results.name))
        job = jet.submit(pipeline)
        until(lambda: job.status is JobStatus.RUNNING)
        job.cancel()
        assert job.status is JobStatus.FAILED

    def test_a_waiting_join_ends(self, jet, gate):
        pipeline, _ = gate.pipeline(jet)
        job = jet.submit(pipeline)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(job.join, DEADLINE)
            gate.wait_until_reached()
            job.cancel()
            with pytest.raises(JobCancelledError):
                waiting.result(DEADLINE)

    def test_an_ended_job_cannot_be_cancelled(self, jet, simple):
        job = jet.run(simple()[0])
        with pytest.raises(jetbridge.JobStateError, match="COMPLETED"):
            job.cancel()
        assert job.status is JobStatus.COMPLETED


class TestRetrieval:
    def test_by_id(self, jet, simple):
        job = jet.run(simple()[0])
        found = jet.service.get_job(job.id)
        assert (found.id, found.status) == (job.id, JobStatus.COMPLETED)
        assert jet.service.get_job("no such id") is None

    def test_by_name_the_active_one_or_else_the_newest(self, jet, gate, simple):
        name = jet.name("job")
        assert jet.service.get_job_by_name(name) is None
        first = jet.run(simple()[0], JobConfig(name=name))
        assert jet.service.get_job_by_name(name).id == first.id
        second = jet.submit(gate.pipeline(jet)[0], JobConfig(name=name))
        assert jet.service.get_job_by_name(name).id == second.id
        gate.open()
        second.join(timeout=DEADLINE)
        assert jet.service.get_job_by_name(name).id == second.id

    def test_all_newest_first_ended_ones_included(self, jet, simple, failing):
        name = jet.name("job")
        first = jet.run(simple()[0], JobConfig(name=name))
        failed = jet.submit(failing, JobConfig(name=name))
        with pytest.raises(JobFailedError):
            failed.join(timeout=DEADLINE)
        other = jet.run(simple()[0])
        ids = [job.id for job in jet.service.get_jobs()]
        assert ids[:3] == [other.id, failed.id, first.id]
        assert [job.id for job in jet.service.get_jobs(name)] == [failed.id, first.id]
        assert jet.service.get_jobs(name="nobody") == []

    def test_a_job_found_again_can_be_joined(self, jet, gate):
        pipeline, results = gate.pipeline(jet)
        job = jet.submit(pipeline)
        found = jet.service.get_job(job.id)
        gate.open()
        found.join(timeout=DEADLINE)
        assert results.get_all() == [1]

    def test_a_failed_job_found_again_tells_why(self, jet, failing):
        job = jet.submit(failing)
        with pytest.raises(JobFailedError):
            job.join(timeout=DEADLINE)
        with pytest.raises(JobFailedError, match="ZeroDivisionError") as caught:
            jet.service.get_job(job.id).join()
        assert caught.value.stage == "map"
        assert "1 // n" in caught.value.user_traceback


class TestNames:
    def test_an_active_jobs_name_is_taken(self, jet, gate, simple):
        config = JobConfig(name=jet.name("job"))
        first = jet.submit(gate.pipeline(jet)[0], config)
        with pytest.raises(JobAlreadyExistsError, match=config.name) as caught:
            jet.submit(simple()[0], config)
        assert first.id in str(caught.value)
        gate.open()
        first.join(timeout=DEADLINE)

    def test_an_ended_jobs_name_is_free_again(self, jet, simple):
        config = JobConfig(name=jet.name("job"))
        one, two = jet.run(simple()[0], config), jet.run(simple()[0], config)
        assert one.id != two.id

    def test_new_job_if_absent_gives_the_active_job(self, jet, gate):
        config = JobConfig(name=jet.name("job"))
        pipeline, results = gate.pipeline(jet)
        first = jet.submit(pipeline, config)
        second = jet.service.new_job_if_absent(pipeline, config)
        assert second.id == first.id
        gate.open()
        second.join(timeout=DEADLINE)
        assert results.get_all() == [1]

    def test_new_job_if_absent_warns_when_the_running_pipeline_is_another(self, jet, gate, log, simple):
        config = JobConfig(name=jet.name("job"))
        first = jet.submit(gate.pipeline(jet)[0], config)
        log.clear()
        other, _ = simple()
        assert jet.service.new_job_if_absent(other, config).id == first.id
        [warning] = [record for record in log.records if record.levelno == logging.WARNING]
        assert config.name in warning.getMessage()
        gate.open()
        first.join(timeout=DEADLINE)

    def test_new_job_if_absent_starts_one_where_there_is_none(self, jet, simple):
        config = JobConfig(name=jet.name("job"))
        pipeline, results = simple()
        one = jet.service.new_job_if_absent(pipeline, config)
        one.join(timeout=DEADLINE)
        two = jet.service.new_job_if_absent(pipeline, config)
        two.join(timeout=DEADLINE)
        assert one.id != two.id, "an ended job is not active"
        assert results.get_all() == [2, 4, 6, 2, 4, 6]

    def test_new_job_if_absent_without_a_name_is_submit(self, jet, simple):
        pipeline, results = simple()
        jobs = [jet.service.new_job_if_absent(pipeline, JobConfig()) for _ in range(2)]
        for job in jobs:
            job.join(timeout=DEADLINE)
        assert jobs[0].id != jobs[1].id
        assert results.size() == 6


class TestWorkersThatDie:
    def test_a_killed_worker_is_started_again(self, jet, tmp_path):
        marker = str(tmp_path / "died")

        def die_once(n):
            if n == 2 and not os.path.exists(marker):
                with open(marker, "w"):
                    pass
                os.kill(os.getpid(), signal.SIGKILL)
            return n

        assert jet.collect([1, 2, 3], lambda stage: stage.map(die_once)) == [1, 2, 3]
        assert os.path.exists(marker)

    def test_a_worker_that_dies_again_and_again_fails_the_job(self, jet):
        def die(n):
            os.kill(os.getpid(), signal.SIGKILL)

        pipeline, results = Pipeline.create(), jet.list()
        pipeline.read_from(Pipeline.from_list("n", [1])).map(die).write_to(Pipeline.to_list(results.name))
        job = jet.submit(pipeline)
        with pytest.raises(JobFailedError, match="signal 9"):
            job.join(timeout=DEADLINE)
        assert job.status is JobStatus.FAILED
        assert jet.collect([1]) == [1], "the client goes on"

    @pytest.mark.parametrize("parallelism", [1, 2])
    @pytest.mark.parametrize("status", [0, 3])
    def test_a_function_that_leaves_the_process_fails_the_job(self, jet, status, parallelism):
        pipeline, results = Pipeline.create(), jet.list()
        pipeline.read_from(Pipeline.from_list("n", [1])).map(lambda n: os._exit(status)).write_to(
            Pipeline.to_list(results.name)
        )
        with pytest.raises(JobFailedError, match=rf"(status|exit code) {status}\b"):
            jet.submit(pipeline).join(timeout=DEADLINE)

    @pytest.mark.parametrize("parallelism", [2])
    def test_a_process_of_the_pool_that_dies_is_no_end(self, jet, tmp_path, parallelism):
        marker = str(tmp_path / "died")

        def die_once(n):
            if n == 5_000 and not os.path.exists(marker):
                with open(marker, "w"):
                    pass
                os.kill(os.getpid(), signal.SIGKILL)
            return n

        assert jet.collect(range(10_000), lambda stage: stage.map(die_once)) == list(range(10_000))


class TestOutput:
    @pytest.mark.parametrize("parallelism", [1, 2])
    def test_what_functions_log_is_logged_in_the_client(self, jet, log, parallelism):
        def warn(n):
            logging.getLogger("my.module").warning("look at %s", n)
            logging.getLogger("my.module").debug("not this")
            return n

        jet.collect([1, 2], lambda stage: stage.map(warn))
        records = [record for record in log.records if record.name == "my.module"]
        assert [record.getMessage() for record in records] == ["look at 1", "look at 2"]
        assert {record.levelno for record in records} == {logging.WARNING}

    def test_what_engines_log_at_info_is_not_shown(self, jet, log):
        jet.collect([1, 2], lambda stage: stage.map(str))
        assert [record for record in log.records if record.name.partition(".")[0] != "jetbridge"] == []

    @pytest.mark.parametrize("parallelism", [1, 2])
    def test_all_that_was_printed_is_there_when_join_returns(self, script, runner, parallelism):
        done = script(
            """
            import jetbridge
            from jetbridge import Pipeline
            with jetbridge.connect() as client:
                pipeline = Pipeline.create()
                numbers = pipeline.read_from(Pipeline.from_list("n", range(20_000)))
                numbers.map(lambda n: print("line", n)).write_to(Pipeline.to_list("r"))
                client.get_jet().submit(pipeline).join(timeout=60)
                print("joined", flush=True)
            """,
            env={"JETBRIDGE_RUNNER": runner, "JETBRIDGE_PARALLELISM": str(parallelism)},
        )
        lines = done.stdout.splitlines()
        assert lines[-1] == "joined"
        assert sorted(lines[:-1]) == sorted(f"line {n}" for n in range(20_000))

    def test_what_functions_print_is_on_the_clients_console(self, script, runner):
        done = script(
            """
            import jetbridge, sys
            from jetbridge import Pipeline

            def show(item):
                print("out", item)
                print("err", item, file=sys.stderr)
                return item

            with jetbridge.connect() as client:
                pipeline = Pipeline.create()
                pipeline.read_from(Pipeline.from_list("n", [1, 2])).map(show).write_to(Pipeline.to_list("r"))
                client.get_jet().submit(pipeline).join(timeout=60)
                print("joined")
            """,
            env={"JETBRIDGE_RUNNER": runner},
        )
        assert done.stdout.split("\n")[:3] == ["out 1", "out 2", "joined"]
        assert "err 1\nerr 2" in done.stderr

    def test_a_bounded_job_is_waited_for_when_the_script_ends(self, script, runner):
        body = """
            import jetbridge, time
            from jetbridge import Pipeline
            pipeline = Pipeline.create()
            source = pipeline.read_from(Pipeline.from_list("n", [1, 2]))
            source.map(lambda n: time.sleep(0.2) or n).write_to(Pipeline.to_list("r", clear=True))
            client = jetbridge.connect()
            job = client.get_jet().submit(pipeline)
            """
        read = """
            import jetbridge
            with jetbridge.connect() as client:
                print(client.get_list("r").get_all(), [str(job.status) for job in client.get_jet().get_jobs()])
            """
        script(body, env={"JETBRIDGE_RUNNER": runner})
        assert script(read, env={"JETBRIDGE_RUNNER": runner}).stdout.strip() == "[1, 2] ['COMPLETED']"
