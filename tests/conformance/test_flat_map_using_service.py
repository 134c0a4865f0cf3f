from __future__ import annotations

import pytest

from jetbridge import aggregations, windows
from jetbridge.services import non_shared_service, shared_service

TWICE = shared_service(lambda context: 2)


@pytest.mark.parametrize("parallelism", [1, 2])
def test_all_results_in_order(jet):
    results = jet.collect(range(5_000), lambda s: s.flat_map_using_service(TWICE, lambda times, n: [n] * times))
    assert results == [n for n in range(5_000) for _ in range(2)]


@pytest.mark.parametrize("make", [shared_service, non_shared_service])
def test_a_generator_uses_the_service_as_it_goes(jet, make):
    def drawn(state, n):
        for m in range(n):
            state["drawn"] += 1
            yield m

    results = jet.collect([10_000, 0, 3], lambda s: s.flat_map_using_service(make(lambda context: {"drawn": 0}), drawn))
    assert results == [*range(10_000), 0, 1, 2]


def test_times_are_kept(jet):
    def build(stage):
        timed = stage.with_timestamps(lambda n: n * 1000).flat_map_using_service(TWICE, lambda times, n: [n] * times)
        return timed.window(windows.tumbling(2000)).aggregate(aggregations.counting()).map(lambda w: (w.start, w.value))

    assert sorted(jet.collect(range(3), build)) == [(0, 4), (2000, 2)]


def test_after_group_by_the_function_gets_the_key(jet):
    def build(stage):
        return stage.group_by(lambda n: n % 2).flat_map_using_service(TWICE, lambda times, key, n: [(key, n)] * times)

    assert jet.collect([4, 5], build) == [(0, 4), (0, 4), (1, 5), (1, 5)]


def test_what_is_no_iterable_is_named(fails, says):
    caught = fails([5], lambda s: s.flat_map_using_service(TWICE, lambda times, n: n).set_name("spread"))
    says(caught, "flat_map_using_service 'spread' failed on item 5", "must return an iterable")
