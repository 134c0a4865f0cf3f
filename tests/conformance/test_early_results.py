"""Early results: what a window that is still open has so far, each period."""

from __future__ import annotations

import time

import pytest

from jetbridge import ProcessingGuarantee, aggregations, windows

RUNNERS = ("direct", "flink")
WINDOWS = {
    "tumbling": windows.tumbling(10_000),
    "sliding": windows.sliding(10_000, 5_000),
    "session": windows.session(10_000),
}


@pytest.mark.parametrize("shape", WINDOWS)
def test_an_open_window_gives_what_it_has_once_after_each_change(flow, until, shape):
    flow.start(
        lambda s: (
            s.with_timestamps(lambda at: at)
            .window(WINDOWS[shape])
            .aggregate(aggregations.counting(), early_results_period=20)
        ),
        guarantee=ProcessingGuarantee.EXACTLY_ONCE,
    )
    each = 2 if shape == "sliding" else 1
    for count in range(1, 4):
        flow.publish([7_000])
        results = flow.get(each * count)
        assert len(results) == each * count
        assert all(result.is_early and result.value == count for result in results[-each:])
    started = time.monotonic()
    until(lambda: time.monotonic() > started + 0.2)  # ten periods in which nothing changes
    assert flow.results.size() == each * 3
    flow.publish([1_000_000])
    until(lambda: sum(not result.is_early for result in flow.results) >= each)
    final = [result for result in flow.results if not result.is_early]
    assert [result.value for result in final] == [3] * each
    early = [(r.start, r.end) for r in flow.results if r.is_early and r.end < 500_000]
    assert early[:each] == [(r.start, r.end) for r in final]


def test_they_go_on_after_a_resume(flow, until):
    flow.start(
        lambda s: (
            s.with_timestamps(lambda at: at)
            .group_by(lambda at: "key")
            .window(windows.tumbling(10_000))
            .aggregate(lambda acc, at: [*acc, at], initial=[], early_results_period=50)
        ),
        guarantee=ProcessingGuarantee.EXACTLY_ONCE,
    )
    flow.publish([1])
    flow.get(1)
    flow.job.suspend()
    flow.publish([2])
    flow.job.resume()
    until(lambda: [result.value for result in flow.results] == [[1], [1, 2]])
    assert all(result.is_early for result in flow.results)
