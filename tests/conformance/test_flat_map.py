from __future__ import annotations

import pytest


def test_each_item_becomes_any_number_of_items(jet):
    results = jet.collect(["a b", "", "c"], lambda stage: stage.flat_map(lambda line: line.split()))
    assert results == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (lambda n: [n] * n, [1, 2, 2]),
        (lambda n: (n,), [0, 1, 2]),
        (lambda n: (i for i in range(n)), [0, 0, 1]),
        (lambda n: str(n), ["0", "1", "2"]),
        (lambda n: {n: "value"}, [0, 1, 2]),
        (range, [0, 0, 1]),
        (lambda n: [None] * n, [None, None, None]),
        (lambda n: map(str, range(n)), ["0", "0", "1"]),
        (lambda n: [[n]], [[0], [1], [2]]),
    ],
    ids=["list", "tuple", "generator", "str", "dict", "range", "none", "iterator", "nested"],
)
def test_every_iterable_will_do(jet, fn, expected):
    assert jet.collect([0, 1, 2], lambda stage: stage.flat_map(fn)) == expected


@pytest.mark.parametrize("items", [[], [1], [None]], ids=repr)
def test_nothing_comes_of_nothing(jet, items):
    assert jet.collect(items, lambda stage: stage.flat_map(lambda x: [])) == []


def test_a_generator_function(jet):
    def countdown(n):
        while n:
            yield n
            n -= 1

    assert jet.collect([3, 0, 1], lambda stage: stage.flat_map(countdown)) == [3, 2, 1, 1]


@pytest.mark.parametrize("parallelism", [1, 2])
def test_one_item_may_give_more_than_many_chunks(jet):
    results = jet.collect([100_000, 3], lambda stage: stage.flat_map(range).map(lambda x: x + 1))
    assert results == [*range(1, 100_001), 1, 2, 3]


@pytest.mark.parametrize("parallelism", [1, 2])
def test_an_explosion_feeds_a_keyed_stage(jet):
    results = jet.collect(
        [50_000] * 4,
        lambda s: s.flat_map(range).group_by(lambda x: x % 7).aggregate(accumulator=lambda n, _: n + 1, initial=0),
    )
    assert sorted(results) == [(key, 4 * len(range(key, 50_000, 7))) for key in range(7)]
