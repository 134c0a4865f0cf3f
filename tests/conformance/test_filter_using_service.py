from __future__ import annotations

import pytest

from jetbridge import aggregations, windows
from jetbridge.services import non_shared_service, shared_service

KNOWN = shared_service(lambda context: {2, 3, 5, 7})


@pytest.mark.parametrize("parallelism", [1, 2])
def test_what_the_service_knows_is_kept_in_order(jet):
    results = jet.collect(range(20_000), lambda s: s.filter_using_service(KNOWN, lambda known, n: n % 10 in known))
    assert results == [n for n in range(20_000) if n % 10 in {2, 3, 5, 7}]


def test_anything_true_keeps_an_item(jet):
    words = non_shared_service(lambda context: {"a": 1, "b": 0})
    assert jet.collect(["a", "b", "c"], lambda s: s.filter_using_service(words, dict.get)) == ["a"]


def test_times_are_kept(jet):
    def build(stage):
        timed = stage.with_timestamps(lambda n: n * 1000).filter_using_service(KNOWN, lambda known, n: n in known)
        return timed.window(windows.tumbling(4000)).aggregate(aggregations.counting()).map(lambda w: (w.start, w.value))

    assert sorted(jet.collect(range(9), build)) == [(0, 2), (4000, 2)]


def test_after_group_by_the_function_gets_the_key(jet):
    def build(stage):
        return stage.group_by(lambda n: n // 10).filter_using_service(KNOWN, lambda known, key, n: key in known)

    assert jet.collect([15, 25, 35], build) == [25, 35]


def test_an_item_that_fails_is_named(fails, says):
    caught = fails([5, 0], lambda s: s.filter_using_service(KNOWN, lambda known, n: 1 // n).set_name("known"))
    says(caught, "filter_using_service 'known' failed on item 0: ZeroDivisionError")
