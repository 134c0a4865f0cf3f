from __future__ import annotations

import math
from decimal import Decimal

import pytest

from jetbridge import Pipeline


def test_each_item_comes_once(jet):
    assert sorted(jet.collect([3, 1, 3, 2, 1], lambda stage: stage.distinct())) == [1, 2, 3]


@pytest.mark.parametrize("items", [[], [1], [None], [None, None]], ids=repr)
def test_few_items(jet, items):
    assert jet.collect(items, lambda stage: stage.distinct()) == items[:1]


@pytest.mark.parametrize(
    "items",
    [
        [1, 1.0, True, Decimal(1)],
        [math.nan, float("nan")],
        [(1, math.nan), (1.0, float("nan"))],
        ["żółw", "żółw"],
        [b"a", b"a"],
        [2**300, 2**300],
        [frozenset({1, 2}), frozenset({2, 1})],
    ],
    ids=repr,
)
def test_equal_items_are_one_and_the_first_stays(jet, items):
    [result] = jet.collect(items, lambda stage: stage.distinct())
    assert repr(result) == repr(items[0])


def test_items_that_only_look_alike_stay(jet, bag):
    items = ["1", b"1", 1, (1,), None, "None", "", b"", (), 1.5]
    assert bag(jet.collect(items * 3, lambda stage: stage.distinct())) == bag(items)


def test_a_key_function_keeps_the_first_item_of_each_key(jet):
    results = jet.collect(["apple", "avocado", "banana", "blueberry"], lambda s: s.distinct(key_fn=lambda w: w[0]))
    assert sorted(results) == ["apple", "banana"]


def test_with_a_key_function_items_need_no_hash(jet):
    rows = [{"id": 1, "v": "old"}, {"id": 1, "v": "new"}, {"id": 2, "v": "other"}]
    results = jet.collect(rows, lambda stage: stage.distinct(lambda row: row["id"]))
    assert sorted(results, key=lambda row: row["id"]) == [rows[0], rows[2]]


@pytest.mark.parametrize("shards", [1, 128])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_shards_and_cores_do_not_matter(jet):
    items = [n % 3_001 for n in range(20_000)]
    assert sorted(jet.collect(items, lambda stage: stage.distinct())) == list(range(3_001))


@pytest.mark.parametrize("parallelism", [1, 2])
def test_the_first_item_is_the_first_of_the_source(jet):
    items = [(n % 10, n) for n in range(30_000)]
    assert sorted(jet.collect(items, lambda s: s.distinct(lambda pair: pair[0]))) == [(n, n) for n in range(10)]


def test_one_hot_item(jet):
    assert sorted(jet.collect(["hot"] * 30_000 + ["cold"], lambda stage: stage.distinct())) == ["cold", "hot"]


def test_across_merged_stages(jet):
    pipeline, results = Pipeline.create(), jet.list()
    left = pipeline.read_from(Pipeline.from_list("left", [1, 2, 2]))
    right = pipeline.read_from(Pipeline.from_list("right", [2, 3]))
    left.merge(right).distinct().write_to(Pipeline.to_list(results.name))
    jet.run(pipeline)
    assert sorted(results.get_all()) == [1, 2, 3]
