from __future__ import annotations

import pytest

from jetbridge import JobConfig, Pipeline, ProcessingGuarantee, aggregations, testing, windows


@pytest.mark.parametrize("guarantee", [ProcessingGuarantee.EXACTLY_ONCE, ProcessingGuarantee.NONE], ids=str)
def test_an_idle_partition_is_left_out_and_comes_back_at_the_others_watermark(jet, until, guarantee):
    source = testing.scripted([1, 12, 25], [2, testing.PAUSE, 3, 31, 40], times=lambda item: item)
    pipeline, results, late = Pipeline.create(), jet.list(), jet.list()
    timed = pipeline.read_from(source).with_native_timestamps(idle_timeout=500)
    counts = timed.window(windows.tumbling(10)).aggregate(aggregations.to_list())
    counts.map(lambda window: (window.start, sorted(window.value))).write_to(Pipeline.to_list(results.name))
    counts.late_items().write_to(Pipeline.to_list(late.name))
    job = jet.submit(pipeline, JobConfig(processing_guarantee=guarantee, snapshot_interval_millis=300))
    # The second partition has said nothing of what is behind 2, until it is idle.
    until(lambda: sorted(results.get_all()) == [(0, [1, 2]), (10, [12])])
    until(lambda: job.get_metrics().watermark == 25)
    source.release(1)
    until(lambda: late.get_all() == [3])
    until(lambda: job.get_metrics().stages["window"].late_count == 1)
    # Now the first one is idle.
    until(lambda: sorted(results.get_all()) == [(0, [1, 2]), (10, [12]), (20, [25]), (30, [31])])
    until(lambda: job.get_metrics().watermark == 40)


def test_a_lone_partition_waits_however_long_it_is_idle(jet, until):
    source = testing.scripted([1, 12, testing.idle(1.5), 25], times=lambda item: item)
    pipeline, results = Pipeline.create(), jet.list()
    timed = pipeline.read_from(source).with_native_timestamps(idle_timeout=100)
    counts = timed.window(windows.tumbling(10)).aggregate(aggregations.counting())
    counts.map(lambda window: window.start).write_to(Pipeline.to_list(results.name))
    jet.submit(pipeline)
    until(lambda: len(results) >= 2)
    assert results.get_all() == [0, 10]
