from __future__ import annotations

import functools
import math
import operator

import pytest

from jetbridge import Pipeline


class Scale:
    """A callable object with state of its own."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, item):
        return item * self.factor

    def times(self, item):
        return item * self.factor


@pytest.mark.parametrize(
    "items",
    [
        [],
        [1],
        [None],
        [None, 0, None],
        [1, 1, 1],
        [(1, 2), (1, 2)],
        [b"\x00\xff", b""],
        ["żółw", "🐢", "", "\udc80"],
        [2**200, -(2**200)],
        [True, 1, 1.0],
        [0.1, -0.0, math.inf],
        [[1], {"a": [2]}, {3}],
    ],
    ids=repr,
)
def test_items_of_every_kind_pass_unchanged(jet, bag, items):
    results = jet.collect(items, lambda stage: stage.map(lambda item: item))
    assert results == items
    assert bag(results) == bag(items), "1, 1.0 and True keep their types"


def test_nan_passes(jet):
    [result] = jet.collect([math.nan], lambda stage: stage.map(lambda item: item))
    assert math.isnan(result)


def test_a_function_is_applied_to_each_item(jet):
    assert jet.collect([1, 2, 3], lambda stage: stage.map(lambda item: item * 2)) == [2, 4, 6]


def test_none_is_a_result_like_any_other(jet):
    assert jet.collect([1, 2], lambda stage: stage.map(lambda item: None)) == [None, None]


def test_a_chain_is_applied_in_order(jet):
    results = jet.collect([1, 2], lambda s: s.map(lambda x: x + 1).map(lambda x: x * 10).map(str))
    assert results == ["20", "30"]


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (str, ["3", "-4"]),
        (abs, [3, 4]),
        (functools.partial(operator.add, 1), [4, -3]),
        (operator.neg, [-3, 4]),
        ((5).__add__, [8, 1]),
    ],
    ids=["type", "builtin", "partial", "operator", "bound"],
)
def test_every_sort_of_callable_is_taken(jet, fn, expected):
    assert jet.collect([3, -4], lambda stage: stage.map(fn)) == expected


def test_callable_objects_and_methods_travel_by_value(jet):
    assert jet.collect([3], lambda stage: stage.map(Scale(2)).map(Scale(5).times)) == [30]


def test_a_closure_keeps_the_value_of_the_time_of_submission(jet):
    factor = 10
    pipeline, results = Pipeline.create(), jet.list()
    pipeline.read_from(Pipeline.from_list("n", [1])).map(lambda x: x * factor).write_to(Pipeline.to_list(results.name))
    job = jet.submit(pipeline)
    factor = 1000
    job.join(timeout=60)
    assert results.get_all() == [10]


@pytest.mark.parametrize("parallelism", [1, 2])
def test_many_chunks(jet):
    count = 30_000
    assert jet.collect(range(count), lambda stage: stage.map(lambda x: x + 1)) == list(range(1, count + 1))


def test_state_of_a_function_is_of_this_process_only(jet):
    """What a function does to its captures in the worker does not come back."""
    seen = []
    jet.collect([1, 2], lambda stage: stage.map(lambda x: seen.append(x)))
    assert seen == []
