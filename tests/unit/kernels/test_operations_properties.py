"""Aggregate operations: however items are split, combined, stored and taken away again, the result is the same."""

from __future__ import annotations

import copy
import math
import operator
import pickle
import statistics
from collections import Counter

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge import aggregations as agg
from jetbridge.aggregations import Initial, folding
from jetbridge.errors import PipelineError
from jetbridge.store.values import decode, encode

numbers = st.one_of(st.integers(-(2**70), 2**70), st.integers(-9, 9), st.booleans())
parts_of_items = st.lists(st.lists(numbers, max_size=8), min_size=1, max_size=5)


def rank(n):
    return n % 7


def join(old, new):
    return (*old, *new)


def slope(items):
    xs, ys = [n % 5 for n in items], [n % 11 for n in items]
    return statistics.linear_regression(xs, ys).slope if len(set(xs)) > 1 else None


def quantiles(items):
    ordered = sorted(map(float, items))
    return [ordered[max(0, math.ceil(part * len(ordered)) - 1)] for part in (0, 0.5, 1)] if ordered else None


def groups(items, key_fn):
    grouped = {}
    for item in items:
        grouped.setdefault(key_fn(item), []).append(item)
    return grouped


OPERATIONS = {
    "counting": (agg.counting, len),
    "summing": (agg.summing, sum),
    "averaging": (agg.averaging, lambda items: sum(items) / len(items) if items else None),
    "variance": (
        lambda: agg.variance(rank),
        lambda items: float(statistics.pvariance([float(n % 7) for n in items])) if items else None,
    ),
    "stddev": (
        lambda: agg.stddev(rank, sample=True),
        lambda items: statistics.stdev([float(n % 7) for n in items]) if len(items) > 1 else None,
    ),
    "linear_trend": (lambda: agg.linear_trend(lambda n: n % 5, lambda n: n % 11), slope),
    "min_by": (lambda: agg.min_by(rank), lambda items: min(items, key=rank, default=None)),
    "max_by": (lambda: agg.max_by(rank), lambda items: max(items, key=rank, default=None)),
    "top_n": (lambda: agg.top_n(3, rank), lambda items: sorted(items, key=rank, reverse=True)[:3]),
    "bottom_n": (lambda: agg.bottom_n(3, rank), lambda items: sorted(items, key=rank)[:3]),
    "pick_any": (agg.pick_any, lambda items: items[0] if items else None),
    "to_list": (agg.to_list, list),
    "sorting": (lambda: agg.sorting(rank, reverse=True), lambda items: sorted(items, key=rank, reverse=True)),
    "to_set": (lambda: agg.mapping(rank, agg.to_set()), lambda items: set(map(rank, items))),
    "concatenating": (
        lambda: agg.mapping(str, agg.concatenating(", ", "<", ">")),
        lambda items: f"<{', '.join(map(str, items))}>",
    ),
    "to_dict": (
        lambda: agg.to_dict(rank, lambda n: (n,), join),
        lambda items: {k: (*v,) for k, v in groups(items, rank).items()},
    ),
    "grouping_by": (
        lambda: agg.grouping_by(rank, agg.all_of(agg.counting(), agg.summing())),
        lambda items: {key: (len(group), sum(group)) for key, group in groups(items, rank).items()},
    ),
    "grouping_by-list": (lambda: agg.grouping_by(rank), lambda items: groups(items, rank)),
    "all_of": (
        lambda: agg.all_of(count=agg.counting(), mean=agg.averaging(rank)),
        lambda items: {"count": len(items), "mean": sum(map(rank, items)) / len(items) if items else None},
    ),
    "all_of-lists": (lambda: agg.all_of(agg.to_list(), agg.pick_any()), lambda items: (items, next(iter(items), None))),
    "filtering": (lambda: agg.filtering(lambda n: n > 0, agg.summing()), lambda items: sum(n for n in items if n > 0)),
    "flat_mapping": (
        lambda: agg.flat_mapping(lambda n: [n] * (n % 3), agg.to_list()),
        lambda items: [n for n in items for _ in range(n % 3)],
    ),
    "reducing": (
        lambda: agg.reducing(0, lambda n: 2 * n, lambda a, b: a + b, lambda a, b: a - b),
        lambda i: 2 * sum(i),
    ),
    "reducing-list": (lambda: agg.reducing([], lambda n: [n], operator.add), list),
    "folding": (lambda: folding(lambda a, n: a + n, 0, operator.add, str), lambda items: str(sum(items))),
    "and_then": (lambda: agg.to_set().and_then(len), lambda items: len(set(items))),
    "approximate_distinct_count": (agg.approximate_distinct_count, lambda items: len(set(items))),
    "approximate_quantiles": (lambda: agg.approximate_quantiles([0, 0.5, 1]), quantiles),
    "heavy_hitters": (lambda: agg.heavy_hitters(3, rank), lambda items: Counter(map(rank, items)).most_common(3)),
}
DEDUCTING = [name for name, (make, _) in OPERATIONS.items() if make().deduct is not None]
every = pytest.mark.parametrize("name", OPERATIONS)


def shown(value):
    """A result as text: exact types, and no order where there is none."""
    if isinstance(value, dict):
        return f"{{{', '.join(sorted(f'{key!r}: {shown(each)}' for key, each in value.items()))}}}"
    if isinstance(value, (set, frozenset)):
        return f"{{{', '.join(sorted(map(shown, value)))}}}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}({', '.join(map(shown, value))})"
    return repr(value)


def folded(operation, items):
    acc = operation.create()
    for item in items:
        acc = operation.accumulate(acc, item)
    return acc


def at_once(operation, items):
    return operation.fold(operation.create(), items)


def stored(operation, items):
    """Half of the items, then a stop of the job, then the others."""
    acc = decode(encode(folded(operation, items[: len(items) // 2])))
    return operation.fold(acc, items[len(items) // 2 :])


WAYS = st.sampled_from([folded, at_once, stored])


@every
@given(parts=parts_of_items, data=st.data())
def test_parts_are_combined_to_the_whole(name, parts, data):
    operation = OPERATIONS[name][0]()
    whole = shown(operation.result(folded(operation, [item for part in parts for item in part])))
    ways = [data.draw(WAYS) for _ in parts]
    left = operation.create()
    for way, part in zip(ways, parts, strict=True):
        left = operation.combine(left, way(operation, part))
    assert shown(operation.result(left)) == whole
    right = operation.create()
    for way, part in reversed(list(zip(ways, parts, strict=True))):
        right = operation.combine(way(operation, part), right)
    assert shown(operation.result(right)) == whole, "combining is associative"


@every
@given(items=st.lists(numbers, max_size=12), way=WAYS)
def test_results_are_those_of_the_model(name, items, way):
    make, model = OPERATIONS[name]
    result, expected = make().result(way(make(), items)), model(items)
    if isinstance(expected, float):
        assert result == pytest.approx(expected, rel=1e-12, abs=1e-12)
    else:
        assert shown(result) == shown(expected)
    if isinstance(expected, dict):
        assert [*result] == [*expected], "keys come in order of arrival"


@every
@given(first=st.lists(numbers, max_size=8), second=st.lists(numbers, max_size=8))
def test_many_at_once_is_one_after_the_other(name, first, second):
    operation = OPERATIONS[name][0]()
    acc = operation.fold(operation.fold(operation.create(), first), second)
    assert shown(operation.result(acc)) == shown(operation.result(folded(operation, first + second)))


@every
@given(first=st.lists(numbers, max_size=6), second=st.lists(numbers, max_size=6), way=WAYS, other_way=WAYS)
def test_combining_never_changes_the_right_one(name, first, second, way, other_way):
    operation = OPERATIONS[name][0]()
    right = other_way(operation, second)
    before, result = copy.deepcopy(right), shown(operation.result(right))
    left = operation.combine(way(operation, first), right)
    assert right == before
    left = operation.combine(operation.fold(operation.accumulate(left, 5), [1, 2, 13]), right)
    assert right == before, "nor does what is done with the left one later"
    assert shown(operation.result(right)) == result


@every
@given(items=st.lists(numbers, min_size=1, max_size=8), way=WAYS)
def test_a_result_changes_no_accumulator_and_stays_as_it_is(name, items, way):
    operation = OPERATIONS[name][0]()
    acc = way(operation, items)
    before = copy.deepcopy(acc)
    result = operation.result(acc)
    text = shown(result)
    assert acc == before
    assert shown(operation.result(acc)) == text
    acc = operation.accumulate(operation.combine(operation.fold(acc, [3, 1]), at_once(operation, [8])), 5)
    assert shown(result) == text


@pytest.mark.parametrize("name", DEDUCTING)
@given(parts=st.lists(st.lists(numbers, max_size=6), min_size=3, max_size=3), ways=st.tuples(WAYS, WAYS, WAYS))
def test_deducting_is_the_inverse_of_combining(name, parts, ways):
    operation = OPERATIONS[name][0]()
    first, second, third = (way(operation, part) for way, part in zip(ways, parts, strict=True))
    before = copy.deepcopy(second)
    expected = shown(operation.result(first))
    both = operation.combine(operation.combine(operation.create(), first), second)
    back = operation.deduct(copy.deepcopy(both), second)
    assert shown(operation.result(back)) == expected
    assert second == before
    more = operation.deduct(operation.combine(both, third), second)
    outer = operation.combine(operation.combine(operation.create(), first), third)
    assert shown(operation.result(more)) == shown(operation.result(outer)), "in any order"


def test_what_can_be_deducted():
    assert {
        *("counting", "summing", "averaging", "variance", "stddev", "linear_trend"),
        *("grouping_by", "all_of", "filtering", "reducing"),
    } == set(DEDUCTING)


@every
@given(items=st.lists(numbers, max_size=8))
def test_accumulators_are_stored_as_they_are(name, items):
    operation = OPERATIONS[name][0]()
    acc = at_once(operation, items)
    assert decode(encode(acc)) == acc
    assert type(decode(encode(acc))) is type(acc)
    assert decode(encode(operation.result(acc))) == operation.result(acc), "and so are results"


@every
def test_each_accumulator_is_a_fresh_one(name):
    operation = OPERATIONS[name][0]()
    one = operation.fold(operation.create(), [1, 2, 3])
    assert shown(operation.result(operation.create())) == shown(OPERATIONS[name][1]([]))
    assert shown(operation.result(one)) == shown(operation.result(at_once(operation, [1, 2, 3])))


@every
def test_operations_travel_to_workers(name):
    operation = OPERATIONS[name][0]()
    other = pickle.loads(cloudpickle.dumps(operation))
    items = [3, 1, 2, 3]
    assert shown(other.result(other.fold(other.create(), items))) == shown(operation.result(at_once(operation, items)))
    assert other.state() == operation.state()


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
    operation = folding(lambda acc, n: acc + n, initial=np.zeros(3), combiner=operator.add)
    assert operation.combine(one, two).tolist() == [0, 0, 0]


@pytest.mark.parametrize("initial", [1, "x", [0], math.nan], ids=repr)
def test_an_initial_must_be_neutral(initial):
    with pytest.raises(PipelineError, match="neutral"):
        folding(lambda acc, item: acc, initial=initial, combiner=operator.add)
    with pytest.raises(PipelineError, match="reducing's empty must be neutral"):
        agg.reducing(initial, lambda item: item, operator.add)
