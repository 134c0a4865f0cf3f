"""Sums without rounding, in plain values: the same for every order, and what was added can be taken away again.

A sum is ``(total, floats)``. ``total`` is the exact sum of the ints, Fractions
and Decimals. ``floats`` is 0.0 as long as there was no float; one that is not 0
is itself; a few are a tuple of them; more are ``(count, numerator, bits, NaNs,
infinities, negative infinities)``: the exact sum of ``count`` finite floats is
``numerator / 2**bits``, as every float is a fraction like that. Only the result
is rounded, once.
"""

from __future__ import annotations

import math
import numbers
from contextlib import suppress
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, InvalidOperation
from fractions import Fraction
from functools import reduce
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

Sum = tuple[Any, Any]
Floats = tuple[int, int, int, int, int, int]

ZERO: Sum = (0, 0.0)
_NO_FLOATS: Floats = (0, 0, 0, 0, 0, 0)
_AS_THEY_ARE = 4
"""As many floats are smaller, and sooner added, than their sum as a fraction."""
_DECIMALS = Context(prec=10_000, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[InvalidOperation])
"""Adds Decimals with as many digits as it takes, up to a number that no data has: 1E+999999999 + 1 is one gigabyte."""
_QUICK = frozenset({int, float, Decimal})


def add(sum_: Sum, value: Any) -> Sum:
    """Add one value.

    Ints, floats, Fractions and Decimals are added exactly, and so are numbers
    of other libraries that are registered as such (`numbers`), as numpy's are.
    Anything else is added with ``+``.

    Raises:
        TypeError: For what cannot be added, such as None, or a float to a Decimal.
    """
    total, floats = sum_
    kind = type(value)
    if type(total) is int:
        if kind is int:
            return total + value, floats
        if kind is float:
            return total, _one_more(floats, value)
    if kind is Decimal:
        if value.is_finite():
            return _fitting(_plus(total, value), floats)
        return total, _one_more(floats, float(value))
    if isinstance(value, float):
        return _fitting(total, _one_more(floats, float(value)))
    if not isinstance(value, (int, Fraction)):
        if isinstance(value, numbers.Integral):
            value = int(value)
        elif isinstance(value, numbers.Rational):
            value = Fraction(int(value.numerator), int(value.denominator))
        elif isinstance(value, numbers.Real):
            return _fitting(total, _one_more(floats, float(value)))
    return _fitting(_plus(total, value), floats)


def add_all(sum_: Sum, values: list[Any]) -> Sum:
    """Add many values: those of one type at C speed."""
    total, floats = sum_
    kind = type(values[0]) if len(values) > 1 else None
    if kind in _QUICK and type(total) in (int, kind):
        if list(map(type, values)).count(kind) == len(values):
            if kind is int:
                return total + sum(values), floats
            if kind is float:
                return total, _many_more(floats, values)
            if all(map(Decimal.is_finite, values)):
                return _fitting(reduce(_DECIMALS.add, values, total), floats)
        elif set(map(type, values)) <= {int, float, bool}:
            real = [value for value in values if type(value) is float]
            whole = sum([value for value in values if type(value) is not float])
            return total + whole, _many_more(floats, real) if real else floats
    for value in values:
        sum_ = add(sum_, value)
    return sum_


def merge(left: Sum, right: Sum) -> Sum:
    """The sum of two sums."""
    floats, others = left[1], right[1]
    if not floats or not others:
        floats = floats or others
    elif type(others) is float:
        floats = _one_more(floats, others)
    elif type(others[0]) is float:
        floats = _many_more(floats, others)
    else:
        count, numerator, bits, nans, infs, negative = _as_fraction(floats)
        numerator, bits = _together(numerator, bits, others[1], others[2])
        floats = count + others[0], numerator, bits, nans + others[3], infs + others[4], negative + others[5]
    if type(left[0]) is int is type(right[0]):
        return left[0] + right[0], floats
    return _fitting(_plus(left[0], right[0]), floats)


def subtract(left: Sum, right: Sum) -> Sum:
    """What `merge` of the result and ``right`` gave as ``left``: also NaN and infinity are taken away again."""
    total, floats = left
    if type(total) is Decimal or type(right[0]) is Decimal:
        total = _DECIMALS.subtract(total, right[0])
    else:
        total = total - right[0]
    if right[1]:
        count, numerator, bits, nans, infs, negative = _as_fraction(floats)
        less, above, below, *others = _as_fraction(right[1])
        numerator, bits = _together(numerator, bits, -above, below)
        spare = min(bits, (numerator & -numerator).bit_length() - 1) if numerator else bits
        counts = count - less, nans - others[0], infs - others[1], negative - others[2]
        floats = (counts[0], numerator >> spare, bits - spare, *counts[1:]) if any(counts) else 0.0
    return total, floats


def total(sum_: Sum) -> Any:
    """The sum as a number: of the type that Python's own sum has, a float when there was a float."""
    total, floats = sum_
    if not floats:
        return total
    if type(total) is int and not total:
        if type(floats) is float:
            return floats
        if type(floats[0]) is float:
            with suppress(OverflowError, ValueError):  # beyond the floats on the way, or infinities of both signs
                return math.fsum(floats)
    return _rounded(total, floats, 1)


def mean(sum_: Sum, count: int) -> Any:
    """The sum divided by a count, rounded once."""
    return sum_[0] / count if not sum_[1] else _rounded(*sum_, count)


def _rounded(total: Any, floats: Any, count: int) -> Any:
    _, numerator, bits, nans, infs, negative = _as_fraction(floats)
    if nans or infs or negative:
        return math.nan if nans or (infs and negative) else math.inf if infs else -math.inf
    below = count << bits
    if type(total) is int:
        above = (total << bits) + numerator if total else numerator
    elif type(total) is Fraction:
        exact = total + Fraction(numerator, 1 << bits)
        above, below = exact.numerator, exact.denominator * count
    else:
        return (total + numerator / (1 << bits)) / count
    try:
        return above / below  # Python divides ints of any size, and rounds once
    except OverflowError:
        float(total)  # an int beyond all floats is an error, as in Python; a sum of floats is infinite
        return math.inf if above > 0 else -math.inf


def _as_fraction(floats: Any) -> Floats:
    if not floats:
        return _NO_FLOATS
    if type(floats) is float:
        return _with_float(_NO_FLOATS, floats)
    if type(floats[0]) is int:
        fraction: Floats = floats
        return fraction
    result = _NO_FLOATS
    for value in floats:
        result = _with_float(result, value)
    return result


def _one_more(floats: Any, value: float) -> Any:
    if type(floats) is float:
        return (floats, value) if floats else value or (value,)
    if type(floats[0]) is float:
        return (*floats, value) if len(floats) < _AS_THEY_ARE else _with_float(_as_fraction(floats), value)
    return _with_float(floats, value)


def _many_more(floats: Any, values: Sequence[float]) -> Any:
    if len(values) <= _AS_THEY_ARE:
        for value in values:
            floats = _one_more(floats, value)
        return floats
    floats = _as_fraction(floats)
    near = sum(values)
    if math.isfinite(near):
        try:
            count, numerator, bits, *odd = floats
            for part in _parts(values, near):
                above, below = part.as_integer_ratio()
                numerator, bits = _together(numerator, bits, above, below.bit_length() - 1)
            return (count + len(values), numerator, bits, *odd)
        except OverflowError:
            pass  # on the way, not in the end: each value is added by itself
    for value in values:
        floats = _with_float(floats, value)
    return floats


def _with_float(floats: Floats, value: float) -> Floats:
    count, numerator, bits, nans, infs, negative = floats
    try:
        above, below = value.as_integer_ratio()
    except (OverflowError, ValueError):
        return count, numerator, bits, nans + (value != value), infs + (value > 0), negative + (value < 0)
    more = below.bit_length() - 1
    if more <= bits:  # as `_together`, without a call for each float
        return count + 1, numerator + (above << (bits - more)), bits, nans, infs, negative
    return count + 1, (numerator << (more - bits)) + above, more, nans, infs, negative


def _parts(values: Sequence[float], near: float) -> list[float]:
    """A few floats with the same exact sum: a near one, what is left beside it, what is left beside both, and so on."""
    parts, left, least = [near], [*values, -near], min(values)
    while part := math.fsum(left):
        parts.append(part)
        if abs(part) <= least:
            break  # all values are multiples of the least one's last bit, so that a part as small as this is exact
        left.append(-part)
    return parts


def _together(numerator: int, bits: int, above: int, more: int) -> tuple[int, int]:
    if more <= bits:
        return numerator + (above << (bits - more)), bits
    return (numerator << (more - bits)) + above, more


def _plus(total: Any, value: Any) -> Any:
    if type(total) is Decimal or type(value) is Decimal:
        return _DECIMALS.add(total, value)
    return total + value


def _fitting(total: Any, floats: Any) -> Sum:
    if type(total) is Decimal and floats and _as_fraction(floats)[0]:
        raise TypeError("a Decimal and a float have no exact sum of either type: make all values one of the two")
    return total, floats
