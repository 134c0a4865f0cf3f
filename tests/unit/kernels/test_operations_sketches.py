"""Approximate operations: exact for few items, within their bounds for many, and stored as plain values."""

from __future__ import annotations

import bisect
import math
import random
import sys
from collections import Counter
from decimal import Decimal

import datasketches
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge import aggregations as agg
from jetbridge.aggregations.sketches import EXACT_UP_TO
from jetbridge.errors import KeyTypeError, PipelineError
from jetbridge.store.values import decode, encode


def combined(operation, items, size, one_by_one=False):
    """Parts of some size, stored between any two steps."""
    acc = operation.create()
    for start in range(0, len(items), size):
        part = operation.create()
        if one_by_one:
            for item in items[start : start + size]:
                part = operation.accumulate(part, item)
        else:
            part = operation.fold(part, items[start : start + size])
        acc = operation.combine(decode(encode(acc)), decode(encode(part)))
    return acc


def result(operation, items, size, one_by_one=False):
    return operation.result(combined(operation, items, size, one_by_one))


@given(data=st.data())
def test_few_different_values_are_counted_as_keys_are(kit, data):
    items = data.draw(st.lists(st.one_of(kit.small_keys, kit.keys), max_size=20))
    assert result(agg.approximate_distinct_count(), items, 7) == len(kit.by_key(items, lambda item: item))


@pytest.mark.parametrize("distinct", [EXACT_UP_TO, EXACT_UP_TO + 1, 3_000, 40_000])
def test_distinct_counts_depend_on_the_values_alone(distinct):
    items = [f"user {n}" for n in range(distinct)] + [f"user {n % 100}" for n in range(500)]
    operation = agg.approximate_distinct_count()
    results = set()
    for size, seed in ((len(items), 1), (1_000, 2), (70, 3)):
        random.Random(seed).shuffle(items)
        results.add(result(operation, items, size))
    results.add(result(operation, items, 1_000, one_by_one=True)) if distinct < 10_000 else None
    [count] = results
    assert abs(count - distinct) <= (0 if distinct <= EXACT_UP_TO else 4 * 0.01 * distinct)


def test_a_smaller_error_takes_a_larger_sketch():
    items = list(range(30_000))
    sizes = {}
    for error in (0.1, 0.01, 0.001):
        operation = agg.approximate_distinct_count(error=error)
        acc = combined(operation, items, 5_000)
        assert abs(operation.result(acc) - 30_000) <= 4 * error * 30_000
        sizes[error] = len(encode(acc))
    assert sizes[0.1] < 500
    assert sizes[0.01] < 8_000
    assert sizes[0.001] > sizes[0.01]


def test_a_value_that_has_no_stable_bytes_is_refused():
    operation = agg.approximate_distinct_count()
    with pytest.raises(KeyTypeError, match=r"got .* \(object\)"):
        operation.accumulate(operation.create(), object())


@given(items=st.lists(st.one_of(st.integers(-100, 100), st.floats(), st.fractions(0, 9)), max_size=60))
def test_quantiles_of_few_items_are_exact(items):
    ranks = [0, 0.25, 0.5, 0.9, 1]
    ordered = sorted(float(item) for item in items if item == item)
    expected = [ordered[max(0, math.ceil(rank * len(ordered)) - 1)] for rank in ranks] if ordered else None
    assert result(agg.approximate_quantiles(ranks), items, 7) == expected
    assert result(agg.approximate_quantiles(ranks), items, 100, one_by_one=True) == expected


@pytest.mark.parametrize("error", [0.05, 0.01])
@pytest.mark.parametrize("size", [50_000, 1_000, 130])
def test_quantiles_of_many_items_are_within_the_error(error, size):
    items = [random.Random(n).lognormvariate(0, 3) for n in range(50_000)]
    ranks = [0, 0.001, 0.1, 0.5, 0.9, 0.999, 1]
    operation = agg.approximate_quantiles(ranks, error=error)
    acc = combined(operation, items, size)
    results = operation.result(acc)
    assert operation.result(acc) == results, "the accumulator is as it was"
    assert results == sorted(results)
    ordered = sorted(items)
    assert (results[0], results[-1]) == (ordered[0], ordered[-1])
    for rank, found in zip(ranks, results, strict=True):
        # The bound holds in 99 of 100 cases; three times as much is never seen.
        assert abs(bisect.bisect_right(ordered, found) / len(ordered) - rank) <= 3 * error
    assert len(encode(acc)) < 150 / error


@pytest.mark.parametrize("error", [0.0001, 0.0033, 0.01, 0.05, 0.2])
def test_the_size_of_a_quantile_sketch_is_the_least_that_will_do(error):
    k = int(agg.approximate_quantiles([0.5], error=error).state().rpartition(" ")[2])
    bound = datasketches.kll_doubles_sketch.get_normalized_rank_error
    assert bound(k, False) <= error * (1 + 1e-9) < bound(k - 1, False) * (1 + 2e-9)


def test_quantiles_take_numbers():
    operation = agg.approximate_quantiles([0.5])
    assert result(operation, [Decimal("1.5"), True, math.nan], 2) == [1.0]
    assert operation.result(operation.fold(operation.create(), [math.nan])) is None
    for bad in (None, "a", 10**400):
        with pytest.raises((TypeError, ValueError, OverflowError)):
            operation.accumulate(operation.create(), bad)


@given(items=st.lists(st.sampled_from(["a", "b", 1, True, None, (1, math.nan), math.nan, float("nan")]), max_size=30))
def test_frequencies_of_few_values_are_exact(kit, items):
    counts = Counter(map(kit.norm, items))
    found = result(agg.heavy_hitters(9), items, 7)
    assert {kit.norm(value): count for value, count in found} == counts
    assert [count for _, count in found] == sorted(counts.values(), reverse=True)


@pytest.mark.parametrize("size", [60_000, 1_000])
def test_frequencies_of_many_values_are_within_the_error(size):
    draw = random.Random(5)
    items = [("x", int(draw.paretovariate(0.5))) for _ in range(60_000)]
    operation = agg.heavy_hitters(40, error=0.01)
    acc = combined(operation, items, size)
    found = operation.result(acc)
    assert operation.result(acc) == found
    exact = Counter(items)
    for value, count in found:
        assert exact[value] <= count <= exact[value] + 0.01 * len(items)
    assert {value for value, count in exact.items() if count > 0.01 * len(items)} <= {value for value, _ in found}
    assert found[0][0] == exact.most_common(1)[0][0]
    assert [count for _, count in found] == sorted((count for _, count in found), reverse=True)
    assert len(encode(acc)) < 60_000


def test_nan_is_one_value_also_in_a_sketch():
    items = [math.nan if n % 3 else n for n in range(6_000)]
    operation = agg.heavy_hitters(1, error=0.05)
    [(value, count)] = result(operation, items, 500)
    assert math.isnan(value)
    assert 4_000 <= count <= 4_300


def test_values_of_a_sketch_are_released():
    class Item:
        alive = 0

        def __init__(self, n):
            self.n = n
            Item.alive += 1

        def __del__(self):
            Item.alive -= 1

        def __hash__(self):
            return hash(self.n)

        def __eq__(self, other):
            return self.n == other.n

    operation = agg.heavy_hitters(3, error=0.1)
    acc = operation.create()
    for n in range(3_000):
        acc = operation.accumulate(acc, Item(int(math.sqrt(n))))
    acc = operation.combine(acc, operation.fold(operation.create(), [Item(n) for n in range(100)]))
    assert len(operation.result(acc)) == 3
    assert 0 < Item.alive < 200
    del acc
    assert Item.alive == 0


@pytest.mark.parametrize(
    "make",
    [agg.approximate_distinct_count, lambda: agg.approximate_quantiles([0.5]), lambda: agg.heavy_hitters(3)],
)
def test_without_the_library_nothing_is_made(monkeypatch, make):
    monkeypatch.setitem(sys.modules, "datasketches", None)
    with pytest.raises(PipelineError, match=r"needs datasketches, .*: pip install '.*\[sketches\]"):
        make()


@pytest.mark.parametrize("cut", [1, 300, 4_096, 6_000, 8_191, 8_192, 8_300, 11_999])
def test_quantiles_of_parts_of_any_sizes(cut):
    """The sketch's own weights do not sum up to the number of items when a merge has emptied its lowest level."""
    operation = agg.approximate_quantiles([0.25, 0.5, 0.75])
    parts = [operation.fold(operation.create(), part) for part in (range(cut), range(cut, 12_000))]
    found = operation.result(operation.combine(*parts))
    assert found == [pytest.approx(rank * 12_000, abs=400) for rank in (0.25, 0.5, 0.75)]
