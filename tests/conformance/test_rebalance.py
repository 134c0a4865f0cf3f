"""Items dealt out anew, so that the stages below work on all cores."""

from __future__ import annotations

import os
import time

import pytest

from jetbridge import (
    JobConfig,
    JobFailedError,
    Pipeline,
    PipelineError,
    ProcessingGuarantee,
    StreamSource,
    aggregations,
    windows,
)


@pytest.mark.parametrize("shards", [1, 128])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_nothing_is_lost_and_nothing_comes_twice(jet):
    found = jet.collect(range(20_000), lambda s: s.rebalance().map(lambda n: n * 2))
    assert sorted(found) == list(range(0, 40_000, 2))


@pytest.mark.parametrize("items", [[], [None], [None, {"a": [1]}]], ids=repr)
def test_few_items(jet, items, bag):
    assert bag(jet.collect(items, lambda s: s.rebalance())) == bag(items)


@pytest.mark.parametrize("parallelism", [1, 2])
def test_items_of_one_key_stay_in_their_order_in_one_place(jet):
    found = jet.collect(range(20_000), lambda s: s.rebalance(lambda n: n % 9).map(lambda n: (n, os.getpid())))
    for key in range(9):
        assert [n for n, _ in found if n % 9 == key] == list(range(key, 20_000, 9))
    assert len({(n % 9, pid) for n, pid in found}) == 9


@pytest.mark.parametrize("parallelism", [2])
def test_stages_below_a_stage_with_state_work_in_several_processes(jet):
    def slowly(pair):
        time.sleep(0.01)
        return os.getpid()

    counted = lambda s: s.group_by(lambda n: n % 64).aggregate(aggregations.counting())  # noqa: E731
    # Flink may give both halves of the stage to one of a TaskManager's two workers: Beam deals them out as they start.
    tries = range(10 if jet.runner == "flink" else 1)
    assert any(len(set(jet.collect(range(64), lambda s: counted(s).rebalance().map(slowly)))) == 2 for _ in tries)


@pytest.mark.parametrize("parallelism", [1, 2])
def test_every_kind_of_stage_below(jet):
    """Folds that are combined before they travel, branches, what has state, another rebalance, several sinks."""
    lists = [jet.list() for _ in range(4)]
    pipeline = Pipeline.create()
    dealt = pipeline.read_from(Pipeline.from_list("n", range(5_000))).rebalance().flat_map(lambda n: [n, n])
    dealt.write_to(Pipeline.to_list(lists[0].name))
    dealt.group_by(lambda n: n % 3).aggregate(aggregations.counting()).write_to(Pipeline.to_list(lists[1].name))
    dealt.distinct().rebalance(lambda n: n % 10).filter(lambda n: n % 2).write_to(Pipeline.to_list(lists[2].name))
    dealt.rebalance().aggregate(lambda acc, n: acc + n, 0).write_to(Pipeline.to_list(lists[3].name))
    job = jet.run(pipeline)
    found = [each.get_all() for each in lists]
    assert sorted(found[0]) == sorted([*range(5_000)] * 2)
    assert sorted(found[1]) == [(0, 3_334), (1, 3_334), (2, 3_332)]
    assert sorted(found[2]) == list(range(1, 5_000, 2))
    assert found[3] == [sum(range(5_000)) * 2]
    stages = job.get_metrics().stages
    counts = {name: (stages[name].received_count, stages[name].emitted_count) for name in ("rebalance", "flat_map")}
    assert counts == {"rebalance": (5_000, 5_000), "flat_map": (5_000, 10_000)}
    assert stages["filter"].received_count == 5_000


@pytest.mark.parametrize("parallelism", [1, 2])
def test_items_keep_their_times(jet):
    found = jet.collect(
        range(100),
        lambda s: (
            s.with_timestamps(lambda n: n)
            .rebalance()
            .map(lambda n: n)
            .window(windows.tumbling(10))
            .aggregate(aggregations.counting())
        ),
    )
    assert sorted((window.start, window.value) for window in found) == [(start, 10) for start in range(0, 100, 10)]


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_stream_with_windows_goes_on_after_suspend_and_resume(jet, until):
    """The watermark comes through, and not before the items."""
    stream, results = jet.client.get_stream(jet.name("stream")), jet.list()
    pipeline = Pipeline.create()
    dealt = pipeline.read_from(StreamSource(stream.name)).with_timestamps(lambda n: n).rebalance().map(lambda n: n)
    counts = dealt.window(windows.tumbling(10)).aggregate(aggregations.counting())
    counts.write_to(Pipeline.to_list(results.name))
    guarantee = ProcessingGuarantee.EXACTLY_ONCE
    job = jet.submit(pipeline, JobConfig(processing_guarantee=guarantee, snapshot_interval_millis=500))
    stream.publish_all(range(105))
    until(lambda: results.size() == 10)
    job.suspend()
    stream.publish_all(range(105, 201))
    job.resume()
    until(lambda: results.size() == 20)
    found = [(window.start, window.value) for window in results.get_all()]
    assert found == [(start, 10) for start in range(0, 200, 10)]


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_function_below_that_raises_fails_the_job_and_names_the_item(jet):
    pipeline = Pipeline.create()
    stage = pipeline.read_from(Pipeline.from_list("n", [1, 0])).rebalance().map(lambda n: 1 // n).set_name("inverse")
    stage.write_to(Pipeline.to_list(jet.list().name))
    with pytest.raises(JobFailedError, match="map 'inverse' failed on item 0: ZeroDivisionError") as caught:
        jet.run(pipeline)
    assert caught.value.stage == "inverse"


@pytest.mark.parametrize("parallelism", [1, 2])
def test_items_that_fail_below_go_to_a_sink(jet):
    bad, results = jet.list(), jet.list()
    pipeline = Pipeline.create()
    stage = pipeline.read_from(Pipeline.from_list("n", [1, 0, 1])).rebalance().map(lambda n: 1 // n)
    stage.on_error(Pipeline.to_list(bad.name)).write_to(Pipeline.to_list(results.name))
    jet.run(pipeline)
    assert results.get_all() == [1, 1]
    assert [failed.item for failed in bad.get_all()] == [0]


def test_timestamps_below_it_are_refused():
    stage = Pipeline.create().read_from(StreamSource("events")).rebalance()
    with pytest.raises(PipelineError, match="'rebalance' does not keep it"):
        stage.with_timestamps(lambda n: n)


def test_what_is_no_function_is_refused():
    stage = Pipeline.create().read_from(Pipeline.from_list("n", [1]))
    with pytest.raises(PipelineError, match="rebalance must be given a callable as key_fn; got 3"):
        stage.rebalance(3)
