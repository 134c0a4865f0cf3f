"""Approximate operations whose accumulators stay small, by Apache DataSketches.

They need the library ``datasketches``, which comes with the extra ``sketches``.

An accumulator is plain values: the bytes of a sketch, and beside them what was
added since, as it is. So few items give exact results, and each item costs its
part of the time in which a sketch is read, added to and written again.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING, Any

from jetbridge.aggregations.operation import AggregateOperation, Value, identity
from jetbridge.checks import described, fraction, function
from jetbridge.errors import PipelineError
from jetbridge.extras import install
from jetbridge.kernels.keys import key_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

EXACT_UP_TO = 256
"""How many different values are counted one by one; their bytes are about as many as those of a sketch."""


def require(operator: str) -> None:
    """Check that the library is installed, without loading it.

    Raises:
        PipelineError: When it is not.
    """
    if importlib.util.find_spec("datasketches") is None:
        raise PipelineError(f"{operator} needs datasketches, which is not installed: {install('sketches')}")


def approximate_distinct_count(value: Value = identity, error: float = 0.01) -> AggregateOperation:
    """About how many different values the items have, as an int: a CPC sketch.

    Up to 256 the number is exact. It depends neither on the order of the items
    nor on the runner.

    Example:
        >>> operation = approximate_distinct_count()
        >>> operation.result(operation.fold(operation.create(), ["a", "b", "a"]))
        2

    Args:
        value: ``(item) -> value``, of a type that a key may have; equal as keys are.
        error: The standard error, as a part of the number: 0.01 is 1 %, and
            takes accumulators of about 5 kB. Half of it takes four times as much.

    Raises:
        PipelineError: When ``value`` is no function, ``error`` not from 0.001
            to 0.1, or ``datasketches`` not installed.
    """
    name = "approximate_distinct_count"
    require(name)
    function(name, "value", value, "item")
    fraction(name, "error", error, 0.001, 0.1)
    lg_k = math.ceil(2 * math.log2(math.log(2) / error))  # a merged CPC sketch has the error ln 2 / √k

    def settled(acc: list[Any]) -> list[Any]:
        return acc if len(acc[1]) <= EXACT_UP_TO else [_distinct(acc, lg_k).serialize(), set()]

    def accumulate(acc: list[Any], item: Any) -> list[Any]:
        acc[1].add(key_bytes(value(item)))
        return settled(acc)

    def accumulate_all(acc: list[Any], items: Sequence[Any]) -> list[Any]:
        acc[1].update(map(key_bytes, {value(item) for item in items}))
        return settled(acc)

    def combine(left: list[Any], right: list[Any]) -> list[Any]:
        left[1] |= right[1]
        if left[0] and right[0]:
            left[0] = _distinct(left, lg_k, right[0]).serialize()
            left[1] = set()
        else:
            left[0] = left[0] or right[0]
        return settled(left)

    return AggregateOperation(
        create=lambda: [b"", set()],
        accumulate=accumulate,
        combine=combine,
        finish=lambda acc: round(_distinct(acc, lg_k).get_estimate()) if acc[0] else len(acc[1]),
        accumulate_all=accumulate_all,
        kind=lambda: f"CPC sketch of 2**{lg_k}",
    )


def _distinct(acc: list[Any], lg_k: int, other: bytes = b"") -> Any:
    """The sketch of an accumulator, and of another sketch.

    It is always the result of a union: then its estimate depends on the set of
    values alone, not on how they came.
    """
    from datasketches import cpc_sketch, cpc_union

    sketch = cpc_sketch.deserialize(acc[0]) if acc[0] else cpc_sketch(lg_k)
    deque(map(sketch.update, [value.decode("latin-1") for value in acc[1]]), 0)  # it takes no bytes
    union = cpc_union(lg_k)
    union.update(sketch)
    if other:
        union.update(cpc_sketch.deserialize(other))
    return union.get_result()


def approximate_quantiles(ranks: Sequence[float], value: Value = identity, error: float = 0.01) -> AggregateOperation:
    """About the values below which given parts of the items lie, as a list of floats: a KLL sketch.

    Of a few hundred items the quantiles are exact: the least of the values that
    has at least this part of the items at or below it. Of more they are taken
    from a random sample, and differ within the error from run to run. NaN is
    left out. Without items the result is None.

    Example:
        >>> operation = approximate_quantiles([0.5, 0.9])
        >>> operation.result(operation.fold(operation.create(), range(1, 101)))
        [50.0, 90.0]

    Args:
        ranks: Parts from 0 to 1: 0 is the least value, 0.5 the median, 1 the greatest.
        value: ``(item) -> number``, taken as a float.
        error: How far the part of the items below a result may be from its
            rank, in 99 of 100 cases; 0.01 takes accumulators of about 6 kB.

    Raises:
        PipelineError: When ``ranks`` are no such parts, ``value`` is no
            function, ``error`` not from 0.0001 to 0.2, or ``datasketches`` not installed.
    """
    name = "approximate_quantiles"
    require(name)
    if not isinstance(ranks, (list, tuple)) or not ranks:
        raise PipelineError(f"{name} must be given a list of ranks, such as [0.5, 0.99]; got {described(ranks)}")
    parts = [fraction(name, "rank", rank, 0, 1) for rank in ranks]
    function(name, "value", value, "item")
    fraction(name, "error", error, 0.0001, 0.2)
    k = math.ceil((2.296 / error) ** (1 / 0.9723))  # the library's own formula the other way round

    def settled(acc: list[Any]) -> list[Any]:
        return acc if len(acc[1]) <= k else [_values(acc, k).serialize(), []]

    def accumulate(acc: list[Any], item: Any) -> list[Any]:
        acc[1].extend(_numbers([value(item)]))
        return settled(acc)

    def accumulate_all(acc: list[Any], items: Sequence[Any]) -> list[Any]:
        acc[1].extend(_numbers([value(item) for item in items]))
        return settled(acc)

    def combine(left: list[Any], right: list[Any]) -> list[Any]:
        left[1].extend(right[1])
        if left[0] and right[0]:
            sketch = _values(left, k)
            sketch.merge(_values([right[0], []], k))
            left[:] = sketch.serialize(), []
        else:
            left[0] = left[0] or right[0]
        return settled(left)

    return AggregateOperation(
        create=lambda: [b"", []],
        accumulate=accumulate,
        combine=combine,
        finish=lambda acc: _quantiles(acc, k, parts),
        accumulate_all=accumulate_all,
        kind=lambda: f"KLL sketch of {k}",
    )


def _numbers(values: list[Any]) -> list[float]:
    return [number for number in map(float, values) if number == number]


def _values(acc: list[Any], k: int) -> Any:
    from datasketches import kll_doubles_sketch

    sketch = kll_doubles_sketch.deserialize(acc[0]) if acc[0] else kll_doubles_sketch(k)
    deque(map(sketch.update, acc[1]), 0)
    return sketch


def _quantiles(acc: list[Any], k: int, ranks: list[float]) -> list[float] | None:
    """From the sketch's sample and what is beside it: to add that to the sketch could choose another sample."""
    weighted = [(number, 1) for number in acc[1]]
    if acc[0]:
        sketch = _values([acc[0], []], k)
        # The weights that the sketch itself names are wrong after a merge that leaves its lowest level empty.
        values = sorted({number for number, _ in sketch})
        counts = [round(part * sketch.n) for part in sketch.get_cdf(values, True)]
        weighted += [(number, upto - before) for number, upto, before in zip(values, counts, [0, *counts])]  # noqa: B905
        # The extremes are kept apart from the sample, and are results for 0 and 1 alone.
        weighted += [(sketch.get_min_value(), 0), (sketch.get_max_value(), 0)]
    if not weighted:
        return None
    weighted.sort()
    at_or_below = list(itertools.accumulate(weight for _, weight in weighted))
    places = [-1 if rank == 1 else bisect_left(at_or_below, rank * at_or_below[-1]) for rank in ranks]
    return [weighted[place][0] for place in places]
