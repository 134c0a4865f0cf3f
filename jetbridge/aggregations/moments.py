"""Variance, standard deviation and the trend of a line: from exact sums, so that nothing cancels out.

A number is an exact fraction. An accumulator has the numerators, over a common
denominator, and how many of the items were NaN or infinite.
"""

from __future__ import annotations

import math
import operator
from typing import Any

from jetbridge.aggregations.operation import AggregateOperation, Value, identity, over_values
from jetbridge.checks import described, flag, function

Moments = tuple[int, int, int, int, int]
"""``(count, of these not finite, d, sum * d, sum of squares * d²)``."""
Trend = tuple[int, int, int, int, int, int, int, int]
"""``(count, of these not finite, dx, dy, Σx * dx, Σy * dy, Σx² * dx², Σxy * dx * dy)``."""


def variance(value: Value = identity, *, sample: bool = False) -> AggregateOperation:
    """The variance of a value of each item, as a float; None without items.

    It is the float that is nearest to the exact variance, in any order of the
    items. When a value is NaN or infinite it is NaN.

    Example:
        >>> operation = variance()
        >>> operation.result(operation.fold(operation.create(), [1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16]))
        22.5

    Args:
        value: ``(item) -> number``: int, float, Decimal or Fraction.
        sample: Whether the items are a sample of more, so that the sum of
            squares is divided by one less than their number; then it is None
            for a single item, too.

    Raises:
        PipelineError: When ``value`` is no function.
    """
    return _spread("variance", value, _divided, int(flag("variance", "sample", sample)))


def stddev(value: Value = identity, *, sample: bool = False) -> AggregateOperation:
    """The standard deviation of a value of each item, as a float; None without items.

    Example:
        >>> operation = stddev(sample=True)
        >>> operation.result(operation.fold(operation.create(), [2, 4, 6]))
        2.0

    Args:
        value: As for `variance`.
        sample: As for `variance`.

    Raises:
        PipelineError: When ``value`` is no function.
    """
    return _spread("stddev", value, _root, int(flag("stddev", "sample", sample)))


def linear_trend(x: Value, y: Value) -> AggregateOperation:
    """The slope of the line that fits the points best by least squares, as a float.

    It is None with less than two different x, where Jet has NaN; it is NaN when
    a number is NaN or infinite.

    Example:
        >>> operation = linear_trend(lambda p: p[0], lambda p: p[1])
        >>> operation.result(operation.fold(operation.create(), [(0, 1), (1, 3), (2, 5)]))
        2.0

    Args:
        x: ``(item) -> number``, such as a time.
        y: ``(item) -> number``.

    Raises:
        PipelineError: When ``x`` or ``y`` is no function.
    """
    function("linear_trend", "x", x, "item")
    function("linear_trend", "y", y, "item")
    return AggregateOperation(
        create=lambda: (0, 0, 1, 1, 0, 0, 0, 0),
        accumulate=lambda acc, item: _join_trends(acc, _points([x(item)], [y(item)]), 1),
        combine=lambda left, right: _join_trends(left, right, 1),
        finish=_slope,
        deduct=lambda left, right: _join_trends(left, right, -1),
        accumulate_all=lambda acc, items: _join_trends(
            acc, _points([x(item) for item in items], [y(item) for item in items]), 1
        ),
    )


def _spread(name: str, value: Value, of_ratio: Any, less: int) -> AggregateOperation:
    function(name, "value", value, "item")

    def finish(acc: Moments) -> float | None:
        count, odd, below, total, squares = acc
        if count <= less:
            return None
        if odd:
            return math.nan
        spread: float = of_ratio(count * squares - total * total, count * (count - less) * below * below)
        return spread

    return over_values(
        value,
        lambda acc, values: _join(acc, _moments(values, name), 1),
        create=lambda: (0, 0, 1, 0, 0),
        accumulate=lambda acc, item: _join(acc, _moments([value(item)], name), 1),
        combine=lambda left, right: _join(left, right, 1),
        finish=finish,
        deduct=lambda left, right: _join(left, right, -1),
    )


def _moments(values: list[Any], name: str) -> Moments:
    if set(map(type, values)) == {int}:
        return len(values), 0, 1, sum(values), sum(map(operator.mul, values, values))
    ratios = [ratio for value in values if (ratio := _ratio(value, name)) is not None]
    below = math.lcm(*{each for _, each in ratios})
    parts = [above * (below // each) for above, each in ratios]
    return len(values), len(values) - len(parts), below, sum(parts), sum(map(operator.mul, parts, parts))


def _ratio(value: Any, name: str) -> tuple[int, int] | None:
    """A number as an exact fraction; None for one that is not finite."""
    try:
        above, below = value.as_integer_ratio()
    except (OverflowError, ValueError):
        return None
    except AttributeError:
        try:
            return operator.index(value), 1  # an int of numpy
        except TypeError:
            raise TypeError(f"{name} takes numbers; got {described(value)}") from None
    return above, below


def _join(left: Moments, right: Moments, sign: int) -> Moments:
    count, odd, below, total, squares = left
    more, others, base, sums, squared = right
    if below != base:
        common = math.lcm(below, base)
        mine, theirs, below = common // below, common // base, common
        total, squares, sums, squared = total * mine, squares * mine * mine, sums * theirs, squared * theirs * theirs
    return count + sign * more, odd + sign * others, below, total + sign * sums, squares + sign * squared


def _divided(above: int, below: int) -> float:
    try:
        return above / below
    except OverflowError:
        return math.inf


def _root(above: int, below: int) -> float:
    """The square root of a fraction, rounded once: also where the fraction is beyond all floats, or below."""
    shift = max(0, 64 - (above.bit_length() - below.bit_length()) // 2)
    square, rest = divmod(above << 2 * shift, below)
    root = math.isqrt(square)
    # The last bit says whether something is left, which is all that rounding needs to know of it.
    return (root << 1 | (rest > 0 or root * root < square)) / (2 << shift)


def _points(xs: list[Any], ys: list[Any]) -> Trend:
    pairs = [(_ratio(x, "linear_trend"), _ratio(y, "linear_trend")) for x, y in zip(xs, ys, strict=True)]
    finite = [(*x, *y) for x, y in pairs if x is not None and y is not None]
    dx, dy = math.lcm(*{point[1] for point in finite}), math.lcm(*{point[3] for point in finite})
    x = [point[0] * (dx // point[1]) for point in finite]
    y = [point[2] * (dy // point[3]) for point in finite]
    sums = (sum(x), sum(y), sum(map(operator.mul, x, x)), sum(map(operator.mul, x, y)))
    return (len(pairs), len(pairs) - len(finite), dx, dy, *sums)


def _join_trends(left: Trend, right: Trend, sign: int) -> Trend:
    count, odd, dx, dy, x, y, xx, xy = left
    more, others, ex, ey, u, v, uu, uv = right
    if dx != ex or dy != ey:
        wide, high = math.lcm(dx, ex), math.lcm(dy, ey)
        a, b, c, d = wide // dx, high // dy, wide // ex, high // ey
        dx, dy, x, y, xx, xy = wide, high, x * a, y * b, xx * a * a, xy * a * b
        u, v, uu, uv = u * c, v * d, uu * c * c, uv * c * d
    sums = (x + sign * u, y + sign * v, xx + sign * uu, xy + sign * uv)
    return (count + sign * more, odd + sign * others, dx, dy, *sums)


def _slope(acc: Trend) -> float | None:
    count, odd, dx, dy, x, y, xx, xy = acc
    if odd:
        return math.nan
    above, below = (count * xy - x * y) * dx, (count * xx - x * x) * dy
    if not below:
        return None
    try:
        return above / below
    except OverflowError:
        return math.inf if above > 0 else -math.inf
