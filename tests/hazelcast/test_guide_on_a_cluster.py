"""Every snippet of the user guide, with its imports, calls and names as they stand there, on a real cluster."""

from __future__ import annotations

import pytest

from jetbridge import TimeoutException

# isort: split
from hazelcast.jet.job import JobConfig, JobStatus, ProcessingGuarantee
from hazelcast.jet.pipeline import ListSource, Pipeline, StreamSource

SNIPPETS = {}


def snippet(fn):
    SNIPPETS[fn.__name__] = fn
    return fn


class Guide:
    """The names that the guide's snippets take for granted."""

    def __init__(self, client, until, fresh):
        self.client = client
        self.jet = client.get_jet()
        self.until = until
        self.fresh = fresh

    @property
    def results(self):
        return self.client.get_list("results").blocking().get_all()

    def run(self, build, items):
        """The guide's frame around each transformation."""
        source = Pipeline.from_list("data", items)
        sink = Pipeline.to_list("results")
        pipeline = Pipeline.create()
        build(pipeline.read_from(source)).write_to(sink)
        self.jet.submit(pipeline).join(timeout=60)
        return self.results

    def collect(self, source):
        pipeline = Pipeline.create()
        pipeline.read_from(source).write_to(Pipeline.to_list("results"))
        self.jet.submit(pipeline).join(timeout=60)
        return self.results

    def quick(self):
        """A pipeline for the snippets about jobs."""
        pipeline = Pipeline.create()
        pipeline.read_from(Pipeline.from_list("data", [1])).write_to(Pipeline.to_list("results"))
        return pipeline


@pytest.fixture
def guide(client, until, name):
    return Guide(client, until, name)


@snippet
def building_pipelines(guide):
    pipeline = Pipeline.create()
    source = Pipeline.from_list("numbers", [1, 2, 3, 4, 5])
    sink = Pipeline.to_list("results")
    pipeline.read_from(source).map(lambda x: x * 2).filter(lambda x: x > 4).write_to(sink)
    guide.jet.submit(pipeline).join()
    assert guide.results == [6, 8, 10]


@snippet
def getting_the_jet_service(guide):
    jet = guide.client.get_jet()
    assert callable(jet.submit)


@snippet
def source_from_list(guide):
    items = ["a", "b"]
    assert guide.collect(Pipeline.from_list("data", items)) == items


@snippet
def source_from_imap(guide):
    guide.client.get_map("my-map").put_all({"k": "v", "l": 1}).result()
    assert sorted(guide.collect(Pipeline.from_map("my-map"))) == [("k", "v"), ("l", 1)]


@snippet
def source_from_ilist(guide):
    guide.client.get_list("my-list").add_all([2, 1, 3]).result()
    assert guide.collect(ListSource("my-list")) == [2, 1, 3]


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
    plum = {"category": "fruit", "name": "plüm"}
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
    assert guide.client.get_map("output-map").get("a").result() == 1


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
    assert guide.results == [1]


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
    assert guide.results == [1, 1]


@snippet
def monitoring(guide):
    job = guide.jet.submit(guide.quick())
    assert str(job.status) in JobStatus.__members__
    job.join()
    assert job.is_terminal()
    metrics = job.get_metrics()
    assert metrics.received_count == 1


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
def stream_source(guide):
    events = guide.fresh("events")
    source = StreamSource(events)
    pipeline = Pipeline.create()
    pipeline.read_from(source).map(lambda x: x.upper()).write_to(Pipeline.to_list("results"))
    job = guide.jet.submit(pipeline)
    ring = guide.client.get_ringbuffer(events).blocking()
    ring.add("a")
    guide.until(lambda: guide.results == ["A"])
    ring.add_all(["b", "c"])
    guide.until(lambda: guide.results == ["A", "B", "C"])
    assert not job.is_terminal()
    job.cancel()
    assert job.status is JobStatus.FAILED


@snippet
def controlling(guide):
    controlled = guide.fresh("controlled")
    numbers = guide.client.get_reliable_topic(controlled).blocking()
    pipeline = Pipeline.create()
    sums = pipeline.read_from(StreamSource(controlled)).rolling_aggregate(lambda acc, x: acc + x, 0)
    sums.write_to(Pipeline.to_list("results"))
    config = JobConfig(processing_guarantee=ProcessingGuarantee.EXACTLY_ONCE, snapshot_interval_millis=300)
    job = guide.jet.submit(pipeline, config)
    numbers.publish(1)
    guide.until(lambda: guide.results == [1])
    job.suspend()
    assert job.status is JobStatus.SUSPENDED
    numbers.publish(10)
    job.resume()
    guide.until(lambda: guide.results == [1, 11])
    job.restart()
    assert job.status is JobStatus.RUNNING
    numbers.publish(100)
    guide.until(lambda: guide.results == [1, 11, 111])
    job.cancel()
    assert job.is_user_cancelled


@snippet
def snapshots(guide):
    exported = guide.fresh("exported")
    numbers = guide.client.get_ringbuffer(exported).blocking()
    pipeline = Pipeline.create()
    sums = pipeline.read_from(StreamSource(exported)).rolling_aggregate(lambda acc, x: acc + x, 0)
    sums.write_to(Pipeline.to_list("results"))
    job = guide.jet.submit(pipeline)
    numbers.add_all([1, 10])
    guide.until(lambda: guide.results == [1, 11])
    job.export_snapshot("checkpoint-1")
    job.cancel()
    config = JobConfig(name="recovered-job")
    config.initial_snapshot_name = "checkpoint-1"
    job = guide.jet.submit(pipeline, config)
    numbers.add(100)
    guide.until(lambda: guide.results == [1, 11, 111])
    job.cancel()
    guide.jet.get_job_state_snapshot("checkpoint-1").destroy()


@pytest.mark.parametrize("name_of", SNIPPETS)
def test_snippet(guide, name_of):
    assert SNIPPETS[name_of](guide) is None, "each asserts on its own results"


def test_a_list_is_emptied_by_each_run_when_asked(guide):
    for items in ([1, 2], [3]):
        pipeline = Pipeline.create()
        pipeline.read_from(Pipeline.from_list("data", items)).write_to(Pipeline.to_list("results", clear=True))
        guide.jet.submit(pipeline).join(timeout=60)
    assert guide.results == [3]
