from __future__ import annotations

import time

from jetbridge import aggregations, windows


def test_a_stream_s_windows_end_as_time_goes_on(flow):
    before = int(time.time() * 1_000)
    flow.start(lambda s: s.with_ingestion_timestamps().window(windows.tumbling(50)).aggregate(aggregations.to_list()))
    deadline = time.monotonic() + 60
    published = 0
    while flow.results.size() < 2:
        assert time.monotonic() < deadline
        flow.publish([published])  # each moves the watermark on
        published += 1
        time.sleep(0.02)
    results = flow.get(2)
    found = [n for result in results for n in result.value]
    assert found == list(range(len(found))), "none is late"
    assert [r.start for r in results] == sorted({r.start for r in results})
    assert all(before - 50 < r.start and r.end <= int(time.time() * 1_000) + 50 for r in results)


def test_of_a_batch(jet):
    results = jet.collect(
        range(100), lambda s: s.with_ingestion_timestamps().window(windows.tumbling(60_000)).aggregate(counting())
    )
    assert sum(result.value for result in results) == 100
    assert len(results) <= 2


def counting():
    return aggregations.counting()
