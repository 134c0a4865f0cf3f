from __future__ import annotations

import math

import pytest


def test_items_are_kept_for_which_the_predicate_is_true(jet):
    assert jet.collect([1, 5, 2, 7], lambda stage: stage.filter(lambda x: x > 2)) == [5, 7]


@pytest.mark.parametrize("items", [[], [1], [None, None]], ids=repr)
def test_all_or_nothing(jet, items):
    assert jet.collect(items, lambda stage: stage.filter(lambda x: True)) == items
    assert jet.collect(items, lambda stage: stage.filter(lambda x: False)) == []


def test_truth_is_pythons(jet):
    items = ["", "a", [], [0], 0, 0.0, math.nan, None, (), (None,)]
    results = jet.collect(items, lambda stage: stage.filter(lambda x: x))
    assert [repr(item) for item in results] == ["'a'", "[0]", "nan", "(None,)"]


def test_none_is_an_item_like_any_other(jet):
    assert jet.collect([None, 1, None], lambda stage: stage.filter(lambda x: x is None)) == [None, None]


@pytest.mark.parametrize("parallelism", [1, 2])
def test_chunks_that_become_empty_do_no_harm(jet):
    results = jet.collect(range(30_000), lambda stage: stage.filter(lambda x: x in (3, 29_998)).map(lambda x: -x))
    assert results == [-3, -29_998]


def test_several_filters(jet):
    results = jet.collect(range(20), lambda s: s.filter(lambda x: x % 2).filter(lambda x: x % 3 == 0))
    assert results == [3, 9, 15]
