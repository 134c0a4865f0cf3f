"""Sums, means, variances and trends: the nearest float to what fractions give, in any order and in any parts."""

from __future__ import annotations

import functools
import itertools
import math
import random
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge import aggregations as agg
from jetbridge.aggregations import exact
from jetbridge.store.values import decode, encode

ints = st.one_of(st.integers(-9, 9), st.integers(-(2**80), 2**80), st.booleans())
finite = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.1, 0.5, 1e308, -1e308, 5e-324, -5e-324, 2.0**53, 1.0, -1.0, 0.0, -0.0]),
    st.floats(-1000, 1000),
)
specials = st.sampled_from([math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity")])
reals = st.one_of(ints, finite, st.fractions(max_denominator=50))


def nearest(value):
    """A fraction as a float, and infinite beyond all of them."""
    try:
        return value.numerator / value.denominator
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def sum_of(items):
    """The naive model of a sum."""
    odd = [float(item) for item in items if not math.isfinite(item)]
    if odd:
        return sum(odd)
    total = sum(map(Fraction, items), Fraction(0))
    if any(isinstance(item, float) for item in items):
        return nearest(total)
    return total if any(isinstance(item, Fraction) for item in items) else int(total)


def same(left, right):
    return type(left) is type(right) and (left == right or (left != left and right != right))


@st.composite
def split(draw, items):
    """An accumulator of items, made in parts in any order, partly one by one, and stored in between."""
    items = draw(st.permutations(items))
    cuts = sorted(draw(st.lists(st.integers(0, len(items)), max_size=4)))
    parts = [items[a:b] for a, b in itertools.pairwise([0, *cuts, len(items)])]

    def made(operation):
        acc = operation.create()
        for number, part in enumerate(parts):
            one = operation.create()
            if number % 2:
                one = operation.fold(one, part)
            else:
                for item in part:
                    one = operation.accumulate(one, item)
            acc = operation.combine(acc, decode(encode(one)))
        return acc

    return made


@given(items=st.lists(reals, max_size=12), data=st.data())
def test_sums_are_exact_and_rounded_once(items, data):
    made = data.draw(split(items))
    operation = agg.summing()
    assert same(operation.result(made(operation)), sum_of(items))
    mean, count = agg.averaging(), len(items)
    result = mean.result(made(mean))
    if not items:
        assert result is None
    elif any(isinstance(item, float) for item in items):
        assert same(result, nearest(sum(map(Fraction, items)) / count))
    else:
        assert same(result, sum_of(items) / count)


@given(items=st.lists(st.one_of(reals, specials), max_size=10), data=st.data())
def test_nan_and_infinity_are_what_they_are_in_python(items, data):
    operation = agg.summing()
    assert same(operation.result(data.draw(split(items))(operation)), sum_of(items))


@given(
    first=st.lists(st.one_of(reals, specials), max_size=8),
    second=st.lists(st.one_of(reals, specials), max_size=8),
    data=st.data(),
)
def test_what_was_added_can_be_taken_away_whatever_it_was(first, second, data):
    one, other = data.draw(split(first)), data.draw(split(second))
    for operation in (agg.summing(), agg.averaging()):
        both = operation.combine(one(operation), other(operation))
        back = operation.result(operation.deduct(both, other(operation)))
        alone = operation.result(one(operation))
        # Of Fractions that went, the result may keep the type.
        assert same(back, alone) or (isinstance(back, Fraction) and float(back) == float(alone))
        both = operation.combine(one(operation), other(operation))
        assert not operation.result(operation.deduct(operation.deduct(both, other(operation)), one(operation)))


@given(seed=st.integers(0, 2**32), size=st.integers(5, 300))
def test_long_lists_of_floats_are_as_exact(seed, size):
    numbers = random.Random(seed)
    items = [numbers.uniform(-1e6, 1e6) for _ in range(size)]
    for values in (items, [abs(item) for item in items], [round(item, 2) for item in items], [*items, 1e-300, 1e300]):
        assert exact.total(exact.add_all(exact.ZERO, values)) == math.fsum(values)


def test_sums_of_many_floats_in_many_chunks():
    numbers = [random.Random(7).uniform(-1, 1) * 10.0 ** (n % 40 - 20) for n in range(20_000)]
    operation, total = agg.summing(), agg.summing().create()
    for start in range(0, len(numbers), 777):
        total = operation.combine(operation.fold(operation.create(), numbers[start : start + 777]), total)
    assert operation.result(total) == math.fsum(numbers)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([1e308, 1e308], math.inf),
        ([-1e308] * 40, -math.inf),
        ([1e308, 1e308, -1e308], 1e308),
        ([10**400, 1], 10**400 + 1),
        ([1, 0.5], 1.5),
        ([1.0, -1.0], 0.0),
        ([True, True], 2),
        ([0.1] * 10, 1.0),
        ([Fraction(1, 3), Fraction(2, 3)], Fraction(1)),
        ([Fraction(1, 3), 0.5], 5 / 6),
        ([Decimal("0.1")] * 3, Decimal("0.3")),
        ([Decimal("1e28"), Decimal("0.1"), Decimal("-1e28"), 1], Decimal("1.1")),
        ([Decimal("1E+400"), Decimal("1E-400"), Decimal("-1E+400")], Decimal("1E-400")),
        ([Decimal("1E+99999999999"), Decimal(1)], Decimal("1E+99999999999")),
        ([Decimal(1), math.nan], math.nan),
        ([1, 2j], 1 + 2j),
        ([0.5, 2j], 0.5 + 2j),
        ([], 0),
    ],
    ids=repr,
)
@pytest.mark.parametrize("at_once", [True, False])
def test_sums_of_special_numbers(items, expected, at_once):
    operation = agg.summing()
    total = operation.create()
    if at_once:
        total = operation.fold(total, items)
    else:
        for item in items:
            total = operation.accumulate(total, item)
    assert same(operation.result(total), expected)


def test_an_int_beyond_all_floats_is_no_float():
    for operation in (agg.summing(), agg.averaging()):
        total = operation.fold(operation.create(), [10**400, 1.0])
        with pytest.raises(OverflowError):
            operation.result(total)


@given(items=st.lists(st.one_of(st.decimals(allow_nan=False, allow_infinity=False), ints), max_size=8), data=st.data())
def test_sums_of_decimals_have_all_their_digits(items, data):
    operation = agg.summing()
    result = operation.result(data.draw(split(items))(operation))
    assert Fraction(result) == sum(map(Fraction, items))
    assert isinstance(result, Decimal if any(isinstance(item, Decimal) for item in items) else int)


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ([1, None], "NoneType"),
        ([1, "a"], "str"),
        ([Decimal(1), 0.5], "a Decimal and a float"),
        ([0.5, Decimal(1)], "a Decimal and a float"),
        ([0.5, 0.5, 1, Decimal(1), 0.5], "a Decimal and a float"),
        ([Decimal(1), Fraction(1)], "Fraction"),
    ],
    ids=repr,
)
def test_what_has_no_sum(items, text):
    operation = agg.summing()
    with pytest.raises(TypeError, match=text):
        operation.fold(operation.create(), items)
    with pytest.raises(TypeError, match=text):
        functools.reduce(operation.combine, [operation.accumulate(operation.create(), item) for item in items])


def test_numbers_of_numpy_are_numbers():
    np = pytest.importorskip("numpy")
    items = [np.int64(2**62), np.int64(2**62), np.float64(0.5), np.float32(0.25), np.uint8(255)]
    for values in (items, items[:2], items[2:]):
        for operation in (agg.summing(), agg.averaging(), agg.variance(), agg.stddev()):
            plain = operation.result(operation.fold(operation.create(), [value.item() for value in values]))
            assert same(operation.result(operation.fold(operation.create(), values)), plain)
    operation = agg.summing()
    assert operation.result(operation.fold(operation.create(), [np.arange(3), np.arange(3)])).tolist() == [0, 2, 4]


def squares(items, sample):
    mean = sum(map(Fraction, items)) / len(items)
    return sum((Fraction(item) - mean) ** 2 for item in items) / (len(items) - sample)


@given(items=st.lists(st.one_of(reals, st.decimals(-1000, 1000)), max_size=10), data=st.data(), sample=st.booleans())
def test_variances_are_the_nearest_floats(items, data, sample):
    made = data.draw(split(items))
    variance, stddev = agg.variance(sample=sample), agg.stddev(sample=sample)
    result, root = variance.result(made(variance)), stddev.result(made(stddev))
    if len(items) <= sample:
        assert result is root is None
        return
    expected = squares(items, sample)
    assert same(result, nearest(expected))
    below, above = Fraction(math.nextafter(root, -1)), Fraction(math.nextafter(root, math.inf))
    half_below, half_above = (below + Fraction(root)) / 2, (above + Fraction(root)) / 2
    assert max(half_below, 0) ** 2 <= expected <= half_above**2


@given(first=st.lists(reals, max_size=6), second=st.lists(st.one_of(reals, specials), max_size=6), data=st.data())
def test_variances_go_back(first, second, data):
    one, other = data.draw(split(first)), data.draw(split(second))
    for operation in (agg.variance(), agg.stddev(sample=True)):
        both = operation.combine(one(operation), other(operation))
        if any(not math.isfinite(item) for item in second) and len(first) + len(second) > 1:
            assert math.isnan(operation.result(both))
        back = operation.result(operation.deduct(both, other(operation)))
        assert same(back, operation.result(one(operation)))


points = st.lists(st.tuples(reals, reals), max_size=8)


@given(items=points, others=points, data=st.data())
def test_trends_are_the_nearest_floats_and_go_back(items, others, data):
    operation = agg.linear_trend(lambda point: point[0], lambda point: point[1])
    acc = data.draw(split(items))(operation)
    result = operation.result(acc)
    xs, ys = [Fraction(x) for x, _ in items], [Fraction(y) for _, y in items]
    if len(set(xs)) < 2:
        assert result is None
    else:
        x, y = sum(xs) / len(xs), sum(ys) / len(ys)
        above = sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True))
        assert same(result, nearest(above / sum((a - x) ** 2 for a in xs)))
    other = operation.fold(operation.create(), others)
    back = operation.deduct(operation.combine(acc, other), other)
    assert same(operation.result(back), result)


def test_a_trend_with_a_number_that_is_none_is_none_but_only_as_long_as_it_is_there():
    operation = agg.linear_trend(lambda point: point[0], lambda point: point[1])
    line = operation.fold(operation.create(), [(0, 0.5), (1, 1.0), (2.0, 1.5)])
    odd = operation.fold(operation.create(), [(math.nan, 1), (1, math.inf)])
    assert operation.result(line) == 0.5
    assert math.isnan(operation.result(operation.combine(line, odd)))
    assert operation.result(operation.deduct(operation.combine(line, odd), odd)) == 0.5


@pytest.mark.parametrize("bad", [None, "1", 1j], ids=repr)
def test_what_has_no_variance(bad):
    for operation in (agg.variance(), agg.stddev(), agg.linear_trend(lambda n: n, lambda n: 1)):
        with pytest.raises(TypeError, match=f"takes numbers; got {bad!r}"):
            operation.accumulate(operation.create(), bad)
        with pytest.raises(TypeError, match="takes numbers"):
            operation.fold(operation.create(), [1, bad])


def test_large_numbers_have_a_standard_deviation():
    operation = agg.stddev()
    assert operation.result(operation.fold(operation.create(), [1e200, -1e200])) == 1e200
    assert operation.result(operation.fold(operation.create(), [1e-200, -1e-200])) == 1e-200
    assert agg.variance().result(operation.fold(operation.create(), [1e200, -1e200])) == math.inf
