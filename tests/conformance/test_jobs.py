"""Jobs: submit, join, what they say of themselves, metrics."""

from __future__ import annotations

import concurrent.futures
import datetime as dt
import re
import threading
import time

import pytest

from jetbridge import (
    JobConfig,
    JobFailedError,
    JobStatus,
    Pipeline,
    ProcessingGuarantee,
    TimeoutException,
    UnsupportedByRunnerError,
)

DEADLINE = 30
GUARANTEES = list(ProcessingGuarantee)


class TestSubmitAndJoin:
    def test_a_job_runs_to_its_end(self, jet, simple):
        pipeline, results = simple()
        job = jet.submit(pipeline)
        assert job.join() is None
        assert job.status is JobStatus.COMPLETED
        assert job.is_terminal()
        assert results.get_all() == [2, 4, 6]

    def test_join_again_returns_at_once(self, jet, simple):
        job = jet.run(simple()[0])
        assert job.join() is None
        assert job.join(timeout=0) is None

    def test_a_pipeline_can_be_submitted_again(self, jet, simple):
        pipeline, results = simple()
        one, two = jet.run(pipeline), jet.run(pipeline)
        assert one.id != two.id
        assert results.get_all() == [2, 4, 6, 2, 4, 6]

    def test_stages_added_after_submit_do_not_matter(self, jet, gate):
        pipeline, results = gate.pipeline(jet)
        extra = jet.list()
        job = jet.submit(pipeline)
        pipeline.read_from(Pipeline.from_list("more", [9])).write_to(Pipeline.to_list(extra.name))
        gate.open()
        job.join(timeout=DEADLINE)
        assert (results.get_all(), extra.get_all()) == ([1], [])

    def test_several_jobs_at_once(self, jet, simple):
        pipelines = [simple(range(n)) for n in range(4)]
        jobs = [jet.submit(pipeline) for pipeline, _ in pipelines]
        for job in jobs:
            job.join(timeout=DEADLINE)
        assert [results.size() for _, results in pipelines] == [0, 1, 2, 3]

    def test_jobs_may_be_submitted_from_several_threads(self, jet, simple):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            prepared = [simple(range(n)) for n in range(4)]
            list(pool.map(lambda pair: jet.run(pair[0]), prepared))
        assert [results.size() for _, results in prepared] == [0, 1, 2, 3]

    def test_join_with_a_timeout(self, jet, gate):
        pipeline, results = gate.pipeline(jet)
        job = jet.submit(pipeline)
        begun = time.monotonic()
        with pytest.raises(TimeoutException) as caught:
            job.join(timeout=0.2)
        assert 0.15 < time.monotonic() - begun < 5
        assert isinstance(caught.value, TimeoutError)
        assert job.id in str(caught.value)
        assert not job.is_terminal()
        gate.open()
        job.join(timeout=DEADLINE)
        assert results.get_all() == [1], "the job went on"

    @pytest.mark.parametrize("timeout", [-1, "1", True], ids=repr)
    def test_a_timeout_must_be_a_number_of_seconds(self, jet, timeout, simple):
        job = jet.run(simple()[0])
        with pytest.raises((ValueError, TypeError), match="timeout"):
            job.join(timeout=timeout)

    def test_join_of_a_failed_job(self, jet, failing):
        job = jet.submit(failing)
        with pytest.raises(JobFailedError) as caught:
            job.join(timeout=DEADLINE)
        assert job.status is JobStatus.FAILED
        assert job.is_terminal()
        assert not job.is_user_cancelled
        assert caught.value.stage == "map"
        with pytest.raises(JobFailedError):
            job.join()

    def test_join_from_several_threads(self, jet, gate):
        pipeline, _ = gate.pipeline(jet)
        job = jet.submit(pipeline)
        threads = [threading.Thread(target=job.join, args=(DEADLINE,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        gate.open()
        for thread in threads:
            thread.join(DEADLINE)
        assert not any(thread.is_alive() for thread in threads)


class TestWhatAJobSays:
    def test_id_name_config_and_time(self, jet, simple):
        name = jet.name("job")
        before = time.time()
        job = jet.run(simple()[0], JobConfig(name=name, arguments={"a": 1}))
        after = time.time()
        assert re.fullmatch(r"[0-9A-Za-z-]+", job.id)
        assert job.name == name
        assert job.config.name == name
        assert job.config.arguments == {"a": 1}
        time_ = job.submission_time
        seconds = time_.timestamp() if isinstance(time_, dt.datetime) else time_ / 1000
        assert before - 1 < seconds < after + 1

    def test_a_job_without_a_name(self, jet, simple):
        assert jet.run(simple()[0]).name is None

    def test_later_changes_of_the_config_do_not_matter(self, jet, simple):
        config = JobConfig(name=jet.name("job"))
        job = jet.run(simple()[0], config)
        name, config.name = config.name, "another"
        assert job.config.name == job.name == name

    def test_status_while_it_runs(self, jet, gate, until):
        pipeline, _ = gate.pipeline(jet)
        job = jet.submit(pipeline)
        assert job.status in (JobStatus.NOT_RUNNING, JobStatus.STARTING, JobStatus.RUNNING)
        gate.wait_until_reached()
        until(lambda: job.status is JobStatus.RUNNING)
        assert not job.is_terminal()
        gate.open()
        job.join(timeout=DEADLINE)

    def test_status_reads_as_its_bare_name(self, jet, simple):
        job = jet.run(simple()[0])
        assert str(job.status) == f"{job.status}" == "COMPLETED"
        assert {str(status) for status in JobStatus if status.is_terminal()} == {"COMPLETED", "FAILED"}

    @pytest.mark.parametrize("guarantee", GUARANTEES, ids=str)
    def test_every_guarantee_completes(self, jet, guarantee, simple):
        pipeline, results = simple()
        job = jet.run(pipeline, JobConfig(processing_guarantee=guarantee))
        assert job.config.processing_guarantee is guarantee
        assert results.get_all() == [2, 4, 6]


class TestMetrics:
    @pytest.mark.parametrize("parallelism", [1, 2])
    def test_counts_are_exact(self, jet):
        pipeline, results, totals = Pipeline.create(), jet.list(), jet.map()
        numbers = pipeline.read_from(Pipeline.from_list("numbers", range(10_000)))
        big = numbers.filter(lambda n: n >= 1_000).set_name("big")
        big.flat_map(lambda n: [n, n]).set_name("twice").write_to(Pipeline.to_list(results.name))
        big.group_by(lambda n: n % 10).aggregate(accumulator=lambda a, n: a + n, initial=0).set_name("sum").write_to(
            Pipeline.to_map(totals.name)
        )
        metrics = jet.run(pipeline).get_metrics()
        counts = {name: (stage.received_count, stage.emitted_count) for name, stage in metrics.stages.items()}
        assert counts["numbers"][1] == 10_000
        assert counts["big"] == (10_000, 9_000)
        assert counts["twice"] == (9_000, 18_000)
        assert counts["sum"] == (9_000, 10)
        assert counts[results.name][0] == 18_000
        assert counts[totals.name][0] == 10
        assert metrics.received_count == 10_000
        assert metrics.emitted_count == 18_010
        assert all(stage.errors == 0 for stage in metrics.stages.values())

    def test_of_a_job_without_items(self, jet, simple):
        metrics = jet.run(simple([])[0]).get_metrics()
        assert (metrics.received_count, metrics.emitted_count) == (0, 0)
        assert metrics.stages["map"].received_count == 0

    def test_progress_of_an_ended_job_is_whole(self, jet, simple):
        assert jet.run(simple()[0]).get_metrics().progress == 1.0

    def test_while_the_job_runs(self, jet, gate):
        job = jet.submit(gate.pipeline(jet)[0])
        gate.wait_until_reached()
        metrics = job.get_metrics()
        assert metrics.emitted_count == 0
        gate.open()
        job.join(timeout=DEADLINE)
        assert job.get_metrics().emitted_count == 1

    def test_of_a_job_found_again(self, jet, simple):
        job = jet.run(simple()[0])
        assert jet.service.get_job(job.id).get_metrics().emitted_count == 3


class TestConfigIsHonouredOrRefused:
    """What a runner cannot honour is refused at submit, never ignored."""

    def submit_or_none(self, jet, pipeline, **fields):
        try:
            return jet.submit(pipeline, JobConfig(**fields))
        except UnsupportedByRunnerError as error:
            said = str(error)
        assert next(iter(fields)) in said
        return None

    def test_a_time_limit(self, jet, gate):
        job = self.submit_or_none(jet, gate.pipeline(jet)[0], timeout_millis=300)
        if job is not None:
            with pytest.raises(JobFailedError, match="timeout_millis"):
                job.join(timeout=DEADLINE)

    @pytest.mark.parametrize(
        "held",
        [
            lambda stage: stage.group_by(lambda n: n % 3).collect(),
            lambda stage: stage.group_by(lambda n: n).aggregate(lambda acc, n: acc + n, 0),
            lambda stage: stage.sort(),
            lambda stage: stage.distinct(),
        ],
        ids=["group_by", "aggregate", "sort", "distinct"],
    )
    def test_a_limit_on_records(self, jet, held):
        pipeline, results = Pipeline.create(), jet.list()
        stage = held(pipeline.read_from(Pipeline.from_list("numbers", range(1_000)))).set_name("held")
        stage.write_to(Pipeline.to_list(results.name))
        job = self.submit_or_none(jet, pipeline, max_processor_accumulated_records=10)
        with pytest.raises(JobFailedError, match=r"'held' holds \d+ records.*max_processor_accumulated_records of 10"):
            job.join(timeout=DEADLINE)
        assert results.size() == 0
        job = self.submit_or_none(jet, pipeline, max_processor_accumulated_records=1_000)
        job.join(timeout=DEADLINE)
        assert results.size() > 0

    @pytest.mark.parametrize("field", ["metrics_enabled", "store_metrics_after_job_completion"])
    def test_no_metrics(self, jet, simple, field):
        job = self.submit_or_none(jet, simple()[0], **{field: False})
        if job is not None:
            job.join(timeout=DEADLINE)
            assert job.get_metrics().received_count == 0

    @pytest.mark.parametrize("field", ["auto_scaling_enabled", "split_brain_protection_enabled"])
    @pytest.mark.parametrize("value", [True, False])
    def test_what_one_machine_honours_by_itself(self, jet, simple, field, value):
        pipeline, results = simple()
        jet.run(pipeline, JobConfig(**{field: value}))
        assert results.get_all() == [2, 4, 6]
