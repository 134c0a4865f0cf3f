from __future__ import annotations

import operator
import threading

import pytest

from jetbridge import ServiceFactory, aggregations, windows
from jetbridge.services import non_shared_service, shared_service


class Counter:
    """A service that cannot travel, and whose methods are used as functions."""

    def __init__(self, context):
        self.lock = threading.Lock()
        self.stage = context.stage

    def named(self, item):
        with self.lock:
            return self.stage, item


TEN = shared_service(lambda context: 10)


@pytest.mark.parametrize("parallelism", [1, 2])
def test_each_item_meets_the_service(jet):
    results = jet.collect(range(20_000), lambda stage: stage.map_using_service(TEN, lambda ten, n: ten * n))
    assert results == list(range(0, 200_000, 10))


@pytest.mark.parametrize("make", [shared_service, non_shared_service, ServiceFactory])
def test_a_service_never_travels(jet, make):
    results = jet.collect([1, 2], lambda s: s.map_using_service(make(Counter), Counter.named).set_name("count"))
    assert results == [("count", 1), ("count", 2)]


def test_the_context_knows_the_job(jet):
    def about(context):
        return context.job_id, context.stage, context.home, context.logger.name

    [(job, stage, home, logger)] = jet.collect(
        [0], lambda s: s.map_using_service(shared_service(about), lambda service, _: service)
    )
    assert jet.service.get_job(job) is not None
    assert (stage, logger) == ("map_using_service", f"jetbridge.{job}")
    assert home == str(jet.client.get_list("any")._db.home)


def test_none_is_a_result_like_any_other(jet):
    assert jet.collect([1, 2], lambda s: s.map_using_service(TEN, lambda ten, n: None)) == [None, None]


def test_one_factory_for_two_stages_makes_services_of_their_own(jet):
    def build(stage):
        factory = shared_service(lambda context: context.stage)
        first = stage.map_using_service(factory, lambda name, items: [*items, name])
        return first.map_using_service(factory, lambda name, items: [*items, name])

    assert jet.collect([[]], build) == [["map_using_service", "map_using_service-2"]]


def test_after_a_stage_with_state(jet):
    def build(stage):
        counts = stage.group_by(lambda n: n % 2).aggregate(aggregations.counting())
        return counts.map_using_service(TEN, lambda ten, pair: (pair[0], ten * pair[1]))

    assert sorted(jet.collect(range(6), build)) == [(0, 30), (1, 30)]


def test_times_are_kept(jet):
    def build(stage):
        timed = stage.with_timestamps(lambda n: n * 1000).map_using_service(TEN, operator.add)
        return timed.window(windows.tumbling(2000)).aggregate(aggregations.counting()).map(lambda w: (w.start, w.value))

    assert sorted(jet.collect(range(5), build)) == [(0, 2), (2000, 2), (4000, 1)]


def test_after_group_by_the_function_gets_the_key(jet):
    def build(stage):
        return stage.group_by(lambda n: n % 3).map_using_service(TEN, lambda ten, key, n: (ten, key, n))

    assert jet.collect([4, 5], build) == [(10, 1, 4), (10, 2, 5)]


def test_an_item_that_fails_can_be_skipped(jet):
    def build(stage):
        return stage.map_using_service(TEN, lambda ten, n: ten // n).on_error("skip")

    assert jet.collect([1, 0, 5], build) == [10, 2]


def test_an_item_that_fails_is_named(fails, says):
    caught = fails([5, 0], lambda s: s.map_using_service(TEN, lambda ten, n: ten // n).set_name("ask"))
    says(caught, "map_using_service 'ask' failed on item 0: ZeroDivisionError")
    assert (caught.value.stage, caught.value.item) == ("ask", "0")
