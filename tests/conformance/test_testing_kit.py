from __future__ import annotations

import pytest

from jetbridge import (
    JobConfig,
    JobFailedError,
    JobStatus,
    Pipeline,
    ProcessingGuarantee,
    aggregations,
    testing,
    windows,
)


def test_a_sink_that_agrees(jet):
    pipeline = Pipeline.create()
    pipeline.read_from(testing.items(1, 2)).map(lambda n: n * n).write_to(testing.assert_ordered([1, 4]))
    jet.run(pipeline)


def test_a_sink_that_does_not_agree_fails_the_job(jet):
    pipeline = Pipeline.create()
    pipeline.read_from(testing.items(1, 2)).write_to(testing.assert_any_order([2, 3]))
    with pytest.raises(JobFailedError, match=r"missing \[3\], not expected \[1\]"):
        jet.run(pipeline)


def test_a_scripted_crash_and_a_pause_lose_and_double_nothing(jet, until):
    source = testing.scripted([1, 4, testing.CRASH, 11, testing.PAUSE, 3, 30], times=lambda item: item)
    pipeline, results = Pipeline.create(), jet.list()
    timed = pipeline.read_from(source).with_native_timestamps()
    counts = timed.window(windows.tumbling(10)).aggregate(aggregations.to_list())
    counts.map(lambda window: window.value).write_to(Pipeline.to_list(results.name))
    late = jet.list()
    counts.late_items().write_to(Pipeline.to_list(late.name))
    guarantee = ProcessingGuarantee.EXACTLY_ONCE
    job = jet.submit(pipeline, JobConfig(processing_guarantee=guarantee, snapshot_interval_millis=300))
    until(lambda: results.get_all() == [[1, 4]])
    assert job.status is JobStatus.RUNNING
    source.release()
    until(lambda: (results.get_all(), late.get_all()) == ([[1, 4], [11]], [3]))
    until(lambda: job.get_metrics().stages["window"].late_count == 1)


def test_items_at_a_rate(jet, until):
    pipeline, results = Pipeline.create(), jet.list()
    ticks = pipeline.read_from(testing.item_stream(rate=200, start=None)).with_native_timestamps()
    counts = ticks.window(windows.tumbling(100)).aggregate(aggregations.counting())
    counts.write_to(Pipeline.to_list(results.name))
    jet.submit(pipeline)
    until(lambda: len(results) >= 5)
    assert {window.value for window in results.get_all()[1:5]} == {20}


def test_an_eventual_check_of_a_stream(jet):
    def check(items):
        assert len(items) > 3

    def never(items):
        assert items == "never"

    pipeline = Pipeline.create()
    ticks = pipeline.read_from(testing.item_stream(rate=100))
    ticks.write_to(testing.assert_eventually(check, timeout=5))
    ticks.map(lambda tick: tick[1]).write_to(testing.assert_eventually(never, timeout=0.5))
    with pytest.raises(JobFailedError, match=r"did not come true within 0\.5 s"):
        jet.submit(pipeline).join(timeout=60)
