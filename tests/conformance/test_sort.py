from __future__ import annotations

import datetime as dt
import math
import random

import pytest

from jetbridge import Pipeline


@pytest.mark.parametrize(
    "items",
    [
        [],
        [1],
        [None],
        [3, 1, 2],
        [2, 1, 2, 1],
        ["b", "ą", "a", ""],
        [b"\xff", b"", b"a"],
        [(2, "a"), (1, "b"), (1, "a")],
        [2**100, -(2**100), 0],
        [1.5, -math.inf, 1, True, math.inf],
        [[2], [1, 5], []],
        [dt.date(2024, 2, 1), dt.date(2023, 1, 1)],
    ],
    ids=repr,
)
def test_as_sorted_does(jet, bag, items):
    assert list(map(repr, jet.collect(items, lambda stage: stage.sort()))) == list(map(repr, sorted(items)))
    reverse = jet.collect(items, lambda stage: stage.sort(reverse=True))
    assert list(map(repr, reverse)) == list(map(repr, sorted(items, reverse=True)))


def test_by_a_key(jet):
    rows = [{"timestamp": 3}, {"timestamp": 1}, {"timestamp": 2}]
    assert jet.collect(rows, lambda s: s.sort(key_fn=lambda row: row["timestamp"])) == [rows[1], rows[2], rows[0]]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_items_with_equal_keys_keep_their_order(jet, reverse):
    items = [(n % 3, n) for n in range(12_000)]
    results = jet.collect(items, lambda stage: stage.sort(key_fn=lambda item: item[0], reverse=reverse))
    assert results == sorted(items, key=lambda item: item[0], reverse=reverse)


@pytest.mark.parametrize("shards", [1, 128])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_many_chunks(jet):
    items = list(range(40_000))
    random.Random(1).shuffle(items)
    assert jet.collect(items, lambda stage: stage.sort()) == list(range(40_000))


def test_the_order_stays_in_stateless_stages_after_it(jet):
    results = jet.collect([3, 1, 2], lambda s: s.sort(reverse=True).map(str).filter(lambda x: x != "2"))
    assert results == ["3", "1"]


def test_sort_after_a_keyed_stage(jet):
    results = jet.collect(
        ["b", "a", "b", "c", "b", "c"],
        lambda s: (
            s.group_by(lambda w: w)
            .aggregate(accumulator=lambda n, _: n + 1, initial=0)
            .sort(key_fn=lambda pair: pair[1], reverse=True)
        ),
    )
    assert results == [("b", 3), ("c", 2), ("a", 1)]


def test_sort_of_a_sort(jet):
    items = [(2, "a"), (1, "b"), (1, "a"), (2, "b")]
    results = jet.collect(items, lambda s: s.sort(key_fn=lambda i: i[1]).sort(key_fn=lambda i: i[0]))
    assert results == sorted(items)


def test_nan_among_floats_loses_nothing(jet, bag):
    items = [3.0, math.nan, 1.0, math.nan, 2.0]
    assert bag(jet.collect(items, lambda stage: stage.sort())) == bag(items)


@pytest.mark.parametrize("parallelism", [1, 2])
def test_merged_stages_are_sorted_together(jet):
    pipeline, results = Pipeline.create(), jet.list()
    evens = pipeline.read_from(Pipeline.from_list("evens", range(0, 10_000, 2)))
    odds = pipeline.read_from(Pipeline.from_list("odds", range(1, 10_000, 2)))
    evens.merge(odds).sort().write_to(Pipeline.to_list(results.name))
    jet.run(pipeline)
    assert results.get_all() == list(range(10_000))
