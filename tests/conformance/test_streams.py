"""Streams: pipelines that never end, over the durable streams of the embedded store."""

from __future__ import annotations

import itertools
import os
import time

import pytest

import jetbridge
from jetbridge import (
    JobConfig,
    JobStatus,
    ListSource,
    Pipeline,
    PipelineError,
    ProcessingGuarantee,
    StreamSource,
    aggregations,
    sinks,
)

GUARANTEES = list(ProcessingGuarantee)


@pytest.mark.parametrize("guarantee", GUARANTEES, ids=str)
@pytest.mark.parametrize("parallelism", [1, 2])
def test_what_is_published_arrives_in_order_while_the_job_runs(flow, guarantee):
    flow.publish(range(10)).start(guarantee=guarantee)
    assert flow.get(10) == list(range(10))
    for start in range(10, 5_000, 998):
        flow.publish(range(start, start + 998))
        assert flow.get(start + 998) == list(range(start + 998))


def test_earliest_and_latest(flow, jet, until):
    flow.publish(["old"]).start(position="latest")
    flow.publish(["new"])
    assert flow.get(1) == ["new"]


def test_latest_is_fixed_by_the_submit_and_not_by_the_start_of_the_worker(flow):
    flow.publish(["old"]).start(position="latest").publish(["at once"])
    assert flow.get(1) == ["at once"]


def test_a_stream_that_nobody_has_written_is_empty(flow, until):
    flow.start()
    until(lambda: flow.job.status is JobStatus.RUNNING)
    assert flow.publish([1]).get(1) == [1]


OPERATORS = {
    "map": (lambda s: s.map(lambda n: n * 2), [n * 2 for n in range(40)]),
    "filter": (lambda s: s.filter(lambda n: n % 2), list(range(1, 40, 2))),
    "flat_map": (lambda s: s.flat_map(lambda n: [n] * (n % 3)), [n for n in range(40) for _ in range(n % 3)]),
    "peek": (lambda s: s.peek(), list(range(40))),
    "apply": (lambda s: s.apply(lambda stage: stage.map(str)), list(map(str, range(40)))),
    "distinct": (lambda s: s.distinct(lambda n: n % 7), list(range(7))),
    "group_by-distinct": (lambda s: s.group_by(lambda n: n % 7).distinct(), list(range(7))),
    "rolling": (lambda s: s.rolling_aggregate(lambda acc, n: acc + n, 0), list(itertools.accumulate(range(40)))),
    "rolling-by-key": (
        lambda s: s.group_by(lambda n: n % 3).rolling_aggregate(aggregations.counting()),
        [(n % 3, n // 3 + 1) for n in range(40)],
    ),
    "chain": (
        lambda s: (
            s.distinct(lambda n: n // 2)
            .group_by(lambda n: 0)
            .rolling_aggregate(aggregations.counting())
            .map(lambda pair: pair[1])
        ),
        list(range(1, 21)),
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator(flow, name):
    build, expected = OPERATORS[name]
    flow.start(build, guarantee=ProcessingGuarantee.EXACTLY_ONCE)
    for start in range(0, 40, 8):
        flow.publish(range(start, start + 8))
    results = flow.get(len(expected))
    assert sorted(results) == sorted(expected)
    if name in ("map", "filter", "flat_map", "peek", "apply", "rolling"):
        assert results == expected


def test_a_beam_transform_that_keeps_nothing(flow):
    import apache_beam as beam

    flow.start(lambda s: s.apply_beam(beam.Map(lambda n: n + 1))).publish([1, 2, 3])
    assert sorted(flow.get(3)) == [2, 3, 4]


def test_a_beam_transform_that_groups_is_refused_with_its_name(jet, says):
    import apache_beam as beam

    pipeline = Pipeline.create()
    stage = pipeline.read_from(StreamSource(jet.name("stream")))
    stage.apply_beam(beam.CombineGlobally(sum)).set_name("total").write_to(Pipeline.to_list(jet.list().name))
    # On Flink it is Beam that says no: there, a window of Beam's would make it possible.
    refusal = {"direct": jetbridge.UnsupportedByRunnerError, "flink": PipelineError}[jet.runner]
    before = len(jet.service.get_jobs())
    with pytest.raises(refusal, match="'total'") as caught:
        jet.submit(pipeline)
    if jet.runner == "direct":
        says(caught, "groups", "stream", "Use stages of jetbridge")
    assert len(jet.service.get_jobs()) == before, "nothing was started"


def test_several_streams_and_batch_sources_in_one_pipeline(jet, until):
    left, right, results = jet.name("left"), jet.name("right"), jet.list()
    stored = jet.list()
    stored.add_all(range(100, 110))
    pipeline = Pipeline.create()
    first = pipeline.read_from(StreamSource(left))
    second = pipeline.read_from(StreamSource(right))
    fixed = pipeline.read_from(Pipeline.from_list("fixed", range(-5, 0)))
    merged = first.merge(second, fixed, pipeline.read_from(ListSource(stored.name)))
    assert repr(merged).startswith("<StreamStage")
    merged.write_to(Pipeline.to_list(results.name))
    job = jet.submit(pipeline)
    until(lambda: results.size() == 15)
    jet.client.get_stream(left).publish_all(range(50))
    jet.client.get_stream(right).publish_all(range(50, 100))
    until(lambda: results.size() >= 115)
    found = results.get_all()
    assert sorted(found) == list(range(-5, 110))
    for part in (range(50), range(50, 100), range(-5, 0), range(100, 110)):
        assert [n for n in found if n in part] == list(part), "the order of each source is kept"
    until(lambda: job.status is not JobStatus.STARTING)  # as Flow.get
    assert job.status is JobStatus.RUNNING


def test_a_batch_stage_merged_with_a_stream_is_a_stream(jet):
    pipeline = Pipeline.create()
    batch = pipeline.read_from(Pipeline.from_list("fixed", [1]))
    merged = batch.merge(pipeline.read_from(StreamSource(jet.name("stream"))))
    with pytest.raises(PipelineError, match="rolling_aggregate"):
        merged.aggregate(aggregations.counting())


def test_a_batch_branch_beside_a_stream_comes_to_its_end(jet, until):
    """Its aggregate is emitted though the pipeline as a whole never ends."""
    totals, results = jet.list(), jet.list()
    pipeline = Pipeline.create()
    fixed = pipeline.read_from(Pipeline.from_list("fixed", range(10)))
    fixed.aggregate(aggregations.counting()).write_to(Pipeline.to_list(totals.name))
    stream = jet.name("stream")
    pipeline.read_from(StreamSource(stream)).write_to(Pipeline.to_list(results.name))
    job = jet.submit(pipeline)
    until(lambda: totals.get_all() == [10])
    jet.client.get_stream(stream).publish("x")
    until(lambda: results.get_all() == ["x"])
    until(lambda: job.status is not JobStatus.STARTING)  # as Flow.get
    assert job.status is JobStatus.RUNNING


def test_a_stream_used_twice_and_several_sinks(jet, until):
    events, plain, last = jet.name("stream"), jet.list(), jet.map()
    pipeline = Pipeline.create()
    stage = pipeline.read_from(StreamSource(events))
    stage.write_to(Pipeline.to_list(plain.name))
    stage.map(lambda n: (n % 3, n)).write_to(Pipeline.to_map(last.name))
    jet.submit(pipeline)
    jet.client.get_stream(events).publish_all(range(30))
    until(lambda: plain.size() == 30)
    assert plain.get_all() == list(range(30))
    assert dict(last.entry_set()) == {0: 27, 1: 28, 2: 29}, "one commit holds both"


def test_two_jobs_read_one_stream(jet, until):
    events, lists = jet.client.get_stream(jet.name("stream")), [jet.list(), jet.list()]
    for results in lists:
        pipeline = Pipeline.create()
        pipeline.read_from(StreamSource(events.name)).write_to(Pipeline.to_list(results.name))
        jet.submit(pipeline)
    events.publish_all(range(1_000))
    for results in lists:
        until(lambda results=results: results.size() >= 1_000)
        assert results.get_all() == list(range(1_000))


def test_published_by_other_processes(flow, script, jet):
    """Two processes append at once; each one's order is kept."""
    flow.start(guarantee=ProcessingGuarantee.EXACTLY_ONCE)
    script(
        f"""
        import multiprocessing
        import jetbridge

        def publish(who):
            with jetbridge.connect() as client:
                stream = client.get_stream({flow.stream.name!r})
                for n in range(0, 600, 20):
                    stream.publish_all([(who, k) for k in range(n, n + 20)])

        if __name__ == "__main__":
            context = multiprocessing.get_context("spawn")
            processes = [context.Process(target=publish, args=(who,)) for who in "ab"]
            for process in processes:
                process.start()
            for process in processes:
                process.join()
                assert process.exitcode == 0
        """,
        env={"JETBRIDGE_HOME": str(jet.client._session.db.home)},
    )
    results = flow.get(1_200)
    for who in "ab":
        assert [n for each, n in results if each == who] == list(range(600))


def test_an_item_reaches_the_sink_soon(flow, until):
    """No benchmark: only that nobody waits for a full chunk, a long epoch or a snapshot."""
    flow.start(guarantee=ProcessingGuarantee.EXACTLY_ONCE).publish(["first"])
    flow.get(1)
    waits = []
    for n in range(2, 12):
        started = time.monotonic()
        flow.publish([n])
        flow.get(n)
        waits.append(time.monotonic() - started)
    assert sorted(waits)[5] < 2.0


def test_a_file_sink_writes_a_directory_of_parts(jet, folder, until):
    events = jet.client.get_stream(jet.name("stream"))
    pipeline = Pipeline.create()
    out = folder / "out"
    pipeline.read_from(StreamSource(events.name)).map(str).write_to(sinks.text(str(out)))
    job = jet.submit(pipeline, JobConfig(processing_guarantee="EXACTLY_ONCE", snapshot_interval_millis=500))
    events.publish_all(range(100))

    def rows():
        return [line for part in sorted(out.glob("part-*")) for line in part.read_text().split()]

    until(lambda: len(rows()) >= 100)
    assert rows() == [str(n) for n in range(100)]
    assert job.status is JobStatus.RUNNING


def test_suspended_and_resumed(flow, until):
    flow.start(lambda s: s.rolling_aggregate(aggregations.counting()), guarantee=ProcessingGuarantee.EXACTLY_ONCE)
    flow.publish(range(10))
    assert flow.get(10) == list(range(1, 11))
    flow.job.suspend()
    assert flow.job.status is JobStatus.SUSPENDED
    flow.publish(range(5))
    flow.job.resume()
    assert flow.get(15) == list(range(1, 16))


@pytest.mark.parametrize("guarantee", GUARANTEES, ids=str)
def test_metrics_of_a_stream(flow, until, guarantee):
    flow.start(lambda s: s.filter(lambda n: n % 2).set_name("odd"), guarantee=guarantee).publish(range(100))
    flow.get(50)
    until(lambda: flow.job.get_metrics().stages["odd"].received_count == 100)
    metrics = flow.job.get_metrics()
    assert metrics.stages["odd"].emitted_count == 50
    assert metrics.received_count == 100
    assert metrics.emitted_count == 50
    assert metrics.progress is None
    assert (metrics.lag, metrics.watermark) == (0, None)


def test_cancelled(flow, until):
    flow.start().publish([1])
    flow.get(1)
    flow.job.cancel()
    assert flow.job.status is JobStatus.FAILED
    assert flow.job.is_user_cancelled


def test_a_function_that_raises_fails_the_job(flow):
    flow.start(lambda s: s.map(lambda n: 1 // n).set_name("bad")).publish([1, 0])
    with pytest.raises(jetbridge.JobFailedError, match="ZeroDivisionError") as caught:
        flow.job.join(timeout=60)
    assert caught.value.stage == "bad"


WINDOW = "with_timestamps(...).window(...)"
KEYED = "with_timestamps(...).group_by(...).window(...)"
LISTED = KEYED, "aggregate(aggregations.to_list())"
REFUSED = {
    "aggregate": (lambda s: s.aggregate(aggregations.counting()), [WINDOW, "rolling_aggregate"]),
    "sort": (lambda s: s.sort(), [WINDOW, "sorting()", "sort in a batch pipeline"]),
    "group_by.aggregate": (lambda s: s.group_by(len).aggregate(aggregations.counting()), [KEYED, "rolling_aggregate"]),
    "group_by.write_to": (lambda s: s.group_by(len).write_to(Pipeline.to_list("x")), [*LISTED, "rolling_aggregate"]),
    "group_by.collect": (lambda s: s.group_by(len).collect(), [*LISTED, "rolling_aggregate"]),
    "map.sort": (lambda s: s.map(str).sort(), [WINDOW, "sort in a batch pipeline"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_an_end_is_refused_when_it_is_built(name, says):
    build, ways_out = REFUSED[name]
    stage = Pipeline.create().read_from(StreamSource("events"))
    with pytest.raises(PipelineError) as caught:
        build(stage)
    says(caught, name.rpartition(".")[2], "stream", *ways_out)


@pytest.mark.parametrize("position", ["first", "", None, 0])
def test_an_initial_position_that_is_none(position, says):
    with pytest.raises(PipelineError) as caught:
        StreamSource("events", initial_position=position)
    says(caught, "'earliest' or 'latest'", repr(position), "events")


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_name_that_is_none(name):
    with pytest.raises(PipelineError, match="name"):
        StreamSource(name)


def test_publishing_from_a_job_is_refused(jet):
    """A stored structure does not travel; what a job writes goes through its sinks."""
    stream = jet.client.get_stream(jet.name("stream"))
    pipeline = Pipeline.create()
    pipeline.read_from(Pipeline.from_list("n", [1])).map(stream.publish).write_to(Pipeline.to_list(jet.list().name))
    with pytest.raises(jetbridge.SerializationError, match="travel"):
        jet.submit(pipeline)


def test_a_read_only_folder_refuses_what_is_published(script, tmp_path, without_rights):
    home = tmp_path / "home"
    with jetbridge.connect(home=home) as client:
        client.get_stream("events").publish(1)
    files = [home, *home.glob("jetbridge.db*")]
    for path in files:
        os.chmod(path, path.stat().st_mode & ~0o222)
    try:
        out = script(
            """
            import jetbridge
            try:
                with jetbridge.connect() as client:
                    client.get_stream("events").publish(2)
            except jetbridge.errors.StoreError as error:
                print(type(error).__name__, error)
            """,
            before=without_rights,
        ).stdout
    finally:
        for path in files:
            os.chmod(path, path.stat().st_mode | 0o200)
    assert "DataFolderError" in out
    with jetbridge.connect(home=home) as client:
        assert list(client.get_stream("events")) == [1]
