from __future__ import annotations

import math

import pytest

from jetbridge import Pipeline


@pytest.fixture
def written(jet):
    def run(items, **before):
        stored = jet.map()
        stored.put_all(before)
        pipeline = Pipeline.create()
        pipeline.read_from(Pipeline.from_list("items", items)).write_to(Pipeline.to_map(stored.name))
        jet.run(pipeline)
        return dict(stored.entry_set())

    return run


@pytest.mark.parametrize(
    "items",
    [
        [],
        [("a", 1)],
        [(None, None)],
        [("a", None), ("b", [1])],
        [((1, "x"), 1), (b"\xff", 2), ("żółw", 3), (2**100, 4), (frozenset({1}), 5)],
    ],
    ids=repr,
)
def test_pairs_become_entries(written, items):
    assert written(items) == dict(items)


def test_other_entries_stay(written):
    assert written([("b", 2)], a=1, b=1) == {"a": 1, "b": 2}


@pytest.mark.parametrize("parallelism", [1, 2])
def test_the_last_write_wins(written):
    assert written([(n % 10, n) for n in range(30_000)]) == {n: 29_990 + n for n in range(10)}


def test_keys_are_equal_as_in_a_dict(written):
    assert written([(1, "a"), (1.0, "b"), (True, "c")]) == {1: "c"}
    [(key, value)] = written([(math.nan, 1), (float("nan"), 2)]).items()
    assert math.isnan(key)
    assert value == 2


@pytest.mark.parametrize("parallelism", [1, 2])
def test_many_entries(written):
    assert written([(str(n), n) for n in range(15_000)]) == {str(n): n for n in range(15_000)}


def test_results_by_key(jet):
    pipeline, stored = Pipeline.create(), jet.map()
    words = pipeline.read_from(Pipeline.from_list("words", ["a", "b", "a"]))
    words.group_by(lambda w: w).aggregate(accumulator=lambda n, _: n + 1, initial=0).write_to(
        Pipeline.to_map(stored.name)
    )
    jet.run(pipeline)
    assert stored.get("a") == 2
    assert stored["b"] == 1
    assert "c" not in stored
