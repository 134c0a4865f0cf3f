"""Every snippet of the user guide: its calls and names as they stand there, with data of our own.

The imports are the guide's, through the alias ``jetbridge.hazelcast``.
"""

from __future__ import annotations

import time

import pytest

import jetbridge.hazelcast  # first: it makes the guide's own imports work
from jetbridge import TimeoutException

# isort: split
from hazelcast.jet.job import JobConfig, JobStatus, ProcessingGuarantee
from hazelcast.jet.pipeline import ListSource, Pipeline, StreamSource

SNIPPETS = {}
DEADLINE = 60.0

SAMPLE = 99  # every snippet of the guide, on every runner


def until(condition):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.005)


def snippet(fn):
    SNIPPETS[fn.__name__] = fn
    return fn


class Guide:
    """The names that the guide's snippets take for granted."""

    def __init__(self, jet):
        self.harness = jet
        self.client = jet.client
        self.jet = jet.service
        jet.list("results")
        jet.map("output-map")

    @property
    def results(self):
        return self.client.get_list("results").get_all()

    def run(self, build, items):
        """The guide's frame around each transformation."""
        source = Pipeline.from_list("data", items)
        sink = Pipeline.to_list("results")
        pipeline = Pipeline.create()
        build(pipeline.read_from(source)).write_to(sink)
        self.harness.run(pipeline)
        return self.results

    def quick(self):
        """A pipeline for the snippets about jobs."""
        pipeline = Pipeline.create()
        pipeline.read_from(Pipeline.from_list("data", [1])).write_to(Pipeline.to_list("results"))
        return pipeline


@pytest.fixture
def guide(jet):
    return Guide(jet)


@snippet
def getting_the_jet_service(guide):
    jet = guide.client.get_jet()
    assert jet is not None
    assert callable(jet.submit)


@snippet
def building_pipelines(guide):
    pipeline = Pipeline.create()
    source = Pipeline.from_list("numbers", [1, 2, 3, 4, 5])
    sink = Pipeline.to_list("results")
    pipeline.read_from(source).map(lambda x: x * 2).filter(lambda x: x > 4).write_to(sink)
    guide.jet.submit(pipeline).join()
    assert guide.results == [6, 8, 10]


@snippet
def source_from_list(guide):
    items = ["a", "b"]
    source = Pipeline.from_list("data", items)
    assert guide.harness.collect(source) == items


@snippet
def source_from_imap(guide):
    guide.harness.map("my-map").put("k", "v")
    source = Pipeline.from_map("my-map")
    assert guide.harness.collect(source) == [("k", "v")]


@snippet
def source_from_ilist(guide):
    guide.harness.list("my-list").add_all([1, 2])
    source = ListSource("my-list")
    assert guide.harness.collect(source) == [1, 2]


@snippet
def transformation_map(guide):
    assert guide.run(lambda stage: stage.map(lambda x: x.upper()), ["jet", "beam"]) == ["JET", "BEAM"]


@snippet
def transformation_filter(guide):
    assert guide.run(lambda stage: stage.filter(lambda x: x > 0), [-1, 0, 1, 2]) == [1, 2]


@snippet
def transformation_flat_map(guide):
    words = guide.run(lambda stage: stage.flat_map(lambda x: x.split()), ["to be or", "not"])
    assert words == ["to", "be", "or", "not"]


@snippet
def transformation_group_by(guide):
    fruit, root = {"category": "fruit", "name": "fig"}, {"category": "root", "name": "beet"}
    plum = {"category": "fruit", "name": "plum"}
    groups = guide.run(lambda stage: stage.group_by(lambda x: x["category"]), [fruit, root, plum])
    assert dict(groups) == {"fruit": [fruit, plum], "root": [root]}


@snippet
def transformation_aggregate(guide):
    results = guide.run(lambda s: s.aggregate(accumulator=lambda acc, x: acc + x, initial=0), [1, 2, 3, 4])
    assert results == [10]


@snippet
def transformation_distinct(guide):
    assert sorted(guide.run(lambda stage: stage.distinct(), [1, 2, 1, 1])) == [1, 2]


@snippet
def transformation_sort(guide):
    rows = [{"timestamp": 30}, {"timestamp": 10}, {"timestamp": 20}]
    results = guide.run(lambda stage: stage.sort(key_fn=lambda x: x["timestamp"]), rows)
    assert results == [rows[1], rows[2], rows[0]]


@snippet
def sinks(guide):
    stages = Pipeline.create()
    pairs = stages.read_from(Pipeline.from_list("data", [("a", 1)]))
    for sink in (Pipeline.to_list("results"), Pipeline.to_map("output-map"), Pipeline.to_logger()):
        pairs.write_to(sink)
    guide.jet.submit(stages).join()
    assert guide.results == [("a", 1)]
    assert guide.client.get_map("output-map").get("a") == 1


@snippet
def submitting_jobs(guide):
    job = guide.jet.submit(guide.quick())
    lines = [f"Job ID: {job.id}", f"Status: {job.status}"]
    assert lines[0] != "Job ID: "
    assert lines[1].removeprefix("Status: ") in JobStatus.__members__
    config = JobConfig(name="unique-job")
    unique = guide.jet.new_job_if_absent(guide.quick(), config)
    job.join()
    unique.join()
    assert unique.name == "unique-job"


@snippet
def monitoring(guide):
    job = guide.jet.submit(guide.quick())
    assert str(job.status) in JobStatus.__members__
    job.join()
    assert job.is_terminal()
    metrics = job.get_metrics()
    assert metrics.received_count == 1


@snippet
def controlling_cancel(guide):
    pipeline = Pipeline.create()
    endless = pipeline.read_from(Pipeline.from_list("data", [1])).flat_map(lambda x: iter(int, 1))
    endless.filter(lambda x: x).write_to(Pipeline.to_list("results"))
    job = guide.jet.submit(pipeline)
    job.cancel()
    assert job.status == JobStatus.FAILED
    assert guide.results == []


@snippet
def waiting_for_completion(guide):
    job = guide.jet.submit(guide.quick())
    job.join()
    try:
        job.join(timeout=60.0)
    except TimeoutException:
        pytest.fail("Job did not complete in time")
    assert job.is_terminal()


@snippet
def retrieving_jobs(guide):
    submitted = guide.jet.submit(guide.quick(), JobConfig(name="my-job"))
    job_id = submitted.id
    assert guide.jet.get_job(job_id).id == job_id
    assert guide.jet.get_job_by_name("my-job").id == job_id
    submitted.join()
    lines = [f"{job.name}: {job.status}" for job in guide.jet.get_jobs()]
    assert lines[0] == "my-job: COMPLETED"


@snippet
def job_configuration(guide):
    config = JobConfig(
        name="my-processing-job",
        auto_scaling_enabled=True,
        processing_guarantee=ProcessingGuarantee.EXACTLY_ONCE,
        snapshot_interval_millis=10000,
    )
    job = guide.jet.submit(guide.quick(), config)
    job.join()
    assert job.name == "my-processing-job"
    assert job.config.processing_guarantee is ProcessingGuarantee.EXACTLY_ONCE
    assert guide.results == [1]


@snippet
def stream_source(guide):
    events = guide.client.get_stream("events")
    source = StreamSource("events")
    pipeline = Pipeline.create()
    pipeline.read_from(source).map(lambda x: x.upper()).write_to(Pipeline.to_list("results"))
    job = guide.jet.submit(pipeline)
    events.publish("a")
    until(lambda: guide.results == ["A"])
    events.publish_all(["b", "c"])
    until(lambda: guide.results == ["A", "B", "C"])
    assert not job.is_terminal()
    job.cancel()


@snippet
def controlling(guide):
    numbers = guide.client.get_stream("controlled")
    pipeline = Pipeline.create()
    pipeline.read_from(StreamSource("controlled")).rolling_aggregate(lambda acc, x: acc + x, 0).write_to(
        Pipeline.to_list("results")
    )
    job = guide.jet.submit(pipeline, JobConfig(processing_guarantee=ProcessingGuarantee.EXACTLY_ONCE))
    numbers.publish(1)
    until(lambda: guide.results == [1])
    job.suspend()
    assert job.status is JobStatus.SUSPENDED
    numbers.publish(10)
    job.resume()
    assert job.status is JobStatus.RUNNING
    until(lambda: guide.results == [1, 11])
    job.restart()
    assert job.status is JobStatus.RUNNING
    numbers.publish(100)
    until(lambda: guide.results == [1, 11, 111])
    job.cancel()
    assert job.status is JobStatus.FAILED
    assert job.is_user_cancelled


@snippet
def snapshots(guide):
    numbers = guide.client.get_stream("exported")
    pipeline = Pipeline.create()
    pipeline.read_from(StreamSource("exported")).rolling_aggregate(lambda acc, x: acc + x, 0).write_to(
        Pipeline.to_list("results")
    )
    job = guide.jet.submit(pipeline)
    numbers.publish_all([1, 10])
    until(lambda: guide.results == [1, 11])
    job.export_snapshot("checkpoint-1")
    job.cancel()
    config = JobConfig(name="recovered-job")
    config.initial_snapshot_name = "checkpoint-1"
    job = guide.jet.submit(pipeline, config)
    numbers.publish(100)
    until(lambda: guide.results == [1, 11, 111])
    job.cancel()
    guide.jet.get_job_state_snapshot("checkpoint-1").destroy()
    assert guide.jet.get_job_state_snapshot("checkpoint-1") is None


@pytest.mark.parametrize("name", SNIPPETS)
def test_snippet(guide, name):
    assert SNIPPETS[name](guide) is None, "each asserts on its own results"


def test_the_alias_and_jetbridge_are_one():
    import hazelcast.jet.job
    import hazelcast.jet.pipeline

    assert hazelcast.jet.pipeline.Pipeline is jetbridge.Pipeline
    assert hazelcast.jet.job.JobConfig is jetbridge.JobConfig
    assert hazelcast.jet.job.JobStatus is jetbridge.JobStatus
    assert hazelcast.jet.job.ProcessingGuarantee is jetbridge.ProcessingGuarantee
