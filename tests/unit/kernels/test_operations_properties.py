"""Aggregate operations: however items are split into partial results, the result is the same."""

from __future__ import annotations

import copy
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge import aggregations
from jetbridge.aggregations import Initial, folding
from jetbridge.errors import PipelineError

numbers = st.one_of(st.integers(-(2**70), 2**70), st.booleans())
OPERATIONS = {
    "counting": aggregations.counting,
    "summing": aggregations.summing,
    "averaging": aggregations.averaging,
    "min_by": aggregations.min_by,
    "max_by": aggregations.max_by,
    "to_list": aggregations.to_list,
}


def folded(operation, items):
    acc = operation.create()
    for item in items:
        acc = operation.accumulate(acc, item)
    return acc


def at_once(operation, items):
    return (
        folded(operation, items)
        if operation.accumulate_all is None
        else operation.accumulate_all(operation.create(), items)
    )


def finished(operation, acc):
    return acc if operation.finish is None else operation.finish(acc)


@pytest.mark.parametrize("name", OPERATIONS)
@given(parts=st.lists(st.lists(numbers, max_size=8), min_size=1, max_size=5), data=st.data())
def test_parts_are_combined_to_the_whole(name, parts, data):
    operation = OPERATIONS[name]()
    whole = finished(operation, folded(operation, [item for part in parts for item in part]))
    ways = [data.draw(st.sampled_from([folded, at_once])) for _ in parts]
    left = operation.create()
    for way, part in zip(ways, parts, strict=True):
        left = operation.combine(left, way(operation, part))
    assert repr(finished(operation, left)) == repr(whole)
    right = operation.create()
    for way, part in reversed(list(zip(ways, parts, strict=True))):
        right = operation.combine(way(operation, part), right)
    assert repr(finished(operation, right)) == repr(whole), "combining is associative"


@pytest.mark.parametrize("name", OPERATIONS)
@given(first=st.lists(numbers, max_size=8), second=st.lists(numbers, max_size=8))
def test_many_at_once_is_one_after_the_other(name, first, second):
    operation = OPERATIONS[name]()
    if operation.accumulate_all is not None:
        at_once = operation.accumulate_all(operation.accumulate_all(operation.create(), first), second)
        assert repr(finished(operation, at_once)) == repr(finished(operation, folded(operation, first + second)))


@given(items=st.lists(numbers, max_size=20))
def test_sums_of_ints_are_exact(items):
    operation = aggregations.summing()
    assert finished(operation, at_once(operation, items)) == sum(items)


@given(parts=st.lists(st.lists(st.floats(-1e12, 1e12), max_size=20), max_size=5))
def test_sums_of_floats_are_as_good_as_exact_ones(parts):
    operation = aggregations.summing()
    items = [item for part in parts for item in part]
    exact = sum(map(Fraction, items))
    scale = float(sum(map(abs, map(Fraction, items)))) or 1.0
    one_by_one = finished(operation, folded(operation, items))
    acc = operation.create()
    for part in parts:
        acc = operation.combine(acc, operation.accumulate_all(operation.create(), part))
    for total in (one_by_one, finished(operation, acc)):
        assert abs(Fraction(total) - exact) <= scale * 1e-15


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([math.inf, 1.0], math.inf),
        ([math.inf, -math.inf], math.nan),
        ([math.nan, 1.0], math.nan),
        ([1e308, 1e308], math.inf),
        ([1e308, 1e308, -1e308], math.inf),
        ([10**400, 1.0], OverflowError),
        ([1, 0.5], 1.5),
        ([Fraction(1, 3), Fraction(2, 3)], 1),
    ],
    ids=repr,
)
@pytest.mark.parametrize("way", [folded, at_once])
def test_sums_of_special_numbers(way, items, expected):
    operation = aggregations.summing()
    if expected is OverflowError:
        with pytest.raises(OverflowError):
            finished(operation, way(operation, items))
        return
    result = finished(operation, way(operation, items))
    if way is at_once and items[:2] == [1e308, 1e308]:
        assert result in (math.inf, 1e308)
    else:
        assert result == expected or (math.isnan(result) and math.isnan(expected))


@given(words=st.lists(st.text(max_size=4), max_size=10))
def test_extremes_are_the_first_of_several(words):
    for make, model in ((aggregations.min_by, min), (aggregations.max_by, max)):
        operation = make(len)
        best = finished(operation, folded(operation, list(words)))
        assert best == model(words, key=len, default=None)


@pytest.mark.parametrize("falsy", [0, "", None, False, [], 0.0], ids=repr)
def test_an_extreme_may_be_falsy(falsy):
    operation = aggregations.max_by(lambda item: 1)
    assert finished(operation, folded(operation, [falsy])) is falsy


@given(items=st.lists(st.integers(), max_size=5))
def test_to_list_does_not_change_what_it_was_given(items):
    operation = aggregations.to_list()
    one, two = operation.accumulate_all(operation.create(), [1]), operation.accumulate_all(operation.create(), items)
    before = (list(one), list(two))
    operation.combine(copy.copy(one), two)
    assert (one, two) == before
    assert operation.create() is not operation.create()


@pytest.mark.parametrize("value", [0, "", None, (), (1, "a"), 2**70], ids=repr)
def test_an_initial_that_nobody_can_change_is_shared(value):
    assert Initial(value)() is value


@pytest.mark.parametrize("value", [[], {}, set(), [1], {"a": []}, ([],), [[]]], ids=repr)
def test_any_other_initial_is_copied_deeply(value):
    make = Initial(value)
    one, two = make(), make()
    assert one == two == value
    assert one is not two
    assert type(one) is type(value)
    if value == {"a": []}:
        assert one["a"] is not two["a"]
    if value == ([],):
        assert one[0] is not two[0]


def test_an_initial_of_numpy():
    np = pytest.importorskip("numpy")
    make = Initial(np.zeros(3))
    one, two = make(), make()
    assert one is not two
    operation = folding(lambda acc, n: acc + n, initial=np.zeros(3), combiner=lambda a, b: a + b)
    assert operation.combine(one, two).tolist() == [0, 0, 0]


@pytest.mark.parametrize("initial", [1, "x", [0], math.nan], ids=repr)
def test_an_initial_must_be_neutral(initial):
    with pytest.raises(PipelineError, match="neutral"):
        folding(lambda acc, item: acc, initial=initial, combiner=lambda a, b: a + b)
