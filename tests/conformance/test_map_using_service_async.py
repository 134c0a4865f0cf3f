from __future__ import annotations

import asyncio
import concurrent.futures
import operator

import pytest

from jetbridge import Pipeline, PipelineError, aggregations, windows
from jetbridge.services import shared_service

TEN = shared_service(lambda context: 10)


async def times(ten, n):
    await asyncio.sleep(n % 3 / 1000)
    return ten * n


@pytest.mark.parametrize("parallelism", [1, 2])
def test_results_in_the_order_of_items(jet):
    results = jet.collect(range(2_000), lambda s: s.map_using_service_async(TEN, times, max_concurrent=100))
    assert results == list(range(0, 20_000, 10))


def test_results_as_they_come(jet):
    def build(stage):
        return stage.map_using_service_async(TEN, times, max_concurrent=10, preserve_order=False)

    assert sorted(jet.collect(range(100), build)) == list(range(0, 1_000, 10))


def test_calls_go_on_at_the_same_time(jet):
    """Each waits for the next one: one after the other they would wait for ever."""

    async def meet(events, n):
        mine, partner = (events.setdefault(m, asyncio.Event()) for m in (n, n ^ 1))
        mine.set()
        await partner.wait()
        return n

    pairs = shared_service(lambda context: {})
    assert jet.collect([0, 1, 2, 3], lambda s: s.map_using_service_async(pairs, meet, timeout=50_000)) == [0, 1, 2, 3]


def test_futures_of_an_executor(jet):
    pool = shared_service(
        lambda context: concurrent.futures.ThreadPoolExecutor(4), concurrent.futures.ThreadPoolExecutor.shutdown
    )
    results = jet.collect(range(20), lambda s: s.map_using_service_async(pool, lambda p, n: p.submit(pow, n, 2)))
    assert results == [n * n for n in range(20)]


def test_times_are_kept(jet):
    def build(stage):
        timed = stage.with_timestamps(lambda n: n * 1000).map_using_service_async(TEN, times, preserve_order=False)
        sums = timed.window(windows.tumbling(2000)).aggregate(aggregations.summing(lambda n: n))
        return sums.map(lambda w: (w.start, w.value))

    assert sorted(jet.collect(range(3), build)) == [(0, 10), (2000, 20)]


def test_without_order_times_are_given_before():
    stage = Pipeline.create().read_from(Pipeline.from_list("n", [1]))
    unordered = stage.map_using_service_async(TEN, times, preserve_order=False)
    with pytest.raises(PipelineError, match="'map_using_service_async' does not keep it: give the times before that"):
        unordered.with_timestamps(operator.neg)
    assert stage.map_using_service_async(TEN, times).with_timestamps(operator.neg)


def test_an_item_that_fails_is_named(fails, says):
    async def divided(ten, n):
        await asyncio.sleep(0)
        return ten // n

    caught = fails([5, 0], lambda s: s.map_using_service_async(TEN, divided).set_name("ask"))
    says(caught, "map_using_service_async 'ask' failed on item 0: ZeroDivisionError")
    assert "in divided" in caught.value.user_traceback


def test_a_call_that_takes_too_long_can_be_skipped(jet):
    async def slow(ten, n):
        await asyncio.sleep(50 if n == 2 else 0)
        return n

    def build(stage):
        return stage.map_using_service_async(TEN, slow, timeout=100).on_error("skip")

    assert jet.collect([1, 2, 3], build) == [1, 3]
