from __future__ import annotations

import pytest

from jetbridge import Pipeline, aggregations, windows
from jetbridge.services import shared_service

MODEL = shared_service(lambda context: {"weight": 3})


def predicted(model, items):
    return [model["weight"] * item for item in items]


@pytest.mark.parametrize("parallelism", [1, 2])
def test_one_result_for_each_item_in_order(jet):
    results = jet.collect(range(20_000), lambda s: s.map_using_service_batched(MODEL, predicted))
    assert results == list(range(0, 60_000, 3))


def test_a_batch_has_no_more_items_than_it_may(jet):
    def sizes(model, items):
        return [len(items)] * len(items)

    results = jet.collect(range(5_000), lambda s: s.map_using_service_batched(MODEL, sizes, max_batch=7))
    assert len(results) == 5_000
    assert max(results) == 7


def test_many_items_come_together(jet):
    def sizes(model, items):
        return [len(items)] * len(items)

    results = jet.collect(range(20_000), lambda s: s.map_using_service_batched(MODEL, sizes, max_batch=4096))
    assert max(results) > 100


def test_times_are_kept(jet):
    def build(stage):
        timed = stage.with_timestamps(lambda n: n * 1000).map_using_service_batched(MODEL, predicted)
        sums = timed.window(windows.tumbling(2000)).aggregate(aggregations.summing(lambda n: n))
        return sums.map(lambda w: (w.start, w.value))

    assert sorted(jet.collect(range(3), build)) == [(0, 3), (2000, 6)]


def test_a_wrong_number_of_results(fails, says):
    caught = fails([1, 2, 3], lambda s: s.map_using_service_batched(MODEL, lambda m, items: []).set_name("model"))
    says(caught, "map_using_service_batched 'model' failed on", "one result for each item; got 0 for")
    assert caught.value.stage == "model"


def test_items_that_fail_go_aside(jet):
    bad, good = jet.list(), jet.list()
    pipeline = Pipeline.create()
    stage = pipeline.read_from(Pipeline.from_list("n", [1, 0, 2]))
    divided = stage.map_using_service_batched(MODEL, lambda model, items: [6 // item for item in items])
    divided.on_error(Pipeline.to_list(bad.name)).write_to(Pipeline.to_list(good.name))
    jet.run(pipeline)
    assert good.get_all() == [6, 3]
    [failed] = bad.get_all()
    assert (failed.stage, failed.item) == ("map_using_service_batched", 0)
