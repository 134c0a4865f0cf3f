"""Counting, summing, averaging."""

from __future__ import annotations

import operator
from collections import Counter
from typing import TYPE_CHECKING, Any

from jetbridge.aggregations import exact
from jetbridge.aggregations.operation import AggregateOperation, Value, identity, over_values
from jetbridge.checks import function

if TYPE_CHECKING:
    from collections.abc import Sequence


def counting() -> AggregateOperation:
    """The number of items.

    Example:
        >>> counting().accumulate_all(0, ["a", "b"])
        2
    """
    return AggregateOperation(
        create=int,
        accumulate=lambda count, _: count + 1,
        combine=operator.add,
        deduct=operator.sub,
        accumulate_all=lambda count, items: count + len(items),
        accumulate_keys=_count_keys,
    )


def _count_keys(counts: dict[Any, Any], keys: Sequence[Any], items: Sequence[Any]) -> dict[Any, Any]:
    counter = counts if isinstance(counts, Counter) else Counter(counts)
    counter.update(keys)
    return counter


def summing(value: Value = identity) -> AggregateOperation:
    """The sum of a value of each item; 0 without items.

    It is exact for ints, Fractions and Decimals (of up to 10,000 digits). With floats among the values
    it is a float, the one that is nearest to the exact sum, so that neither the
    order nor the runner matters; NaN and infinities have the meaning that they
    have in Python. Anything else that can be added to 0 is added with ``+``,
    which may round.

    Example:
        >>> operation = summing()
        >>> operation.result(operation.fold(operation.create(), [1e100, 0.1, -1e100]))
        0.1

    Args:
        value: ``(item) -> number``.

    Raises:
        PipelineError: When ``value`` is no function.
    """
    function("summing", "value", value, "item")
    return over_values(
        value,
        exact.add_all,
        create=lambda: exact.ZERO,
        accumulate=lambda total, item: exact.add(total, value(item)),
        combine=exact.merge,
        finish=exact.total,
        deduct=exact.subtract,
    )


def averaging(value: Value = identity) -> AggregateOperation:
    """The mean of a value of each item; None without items.

    The sum is that of `summing`, and the division rounds once.

    Example:
        >>> operation = averaging()
        >>> operation.result(operation.fold(operation.create(), [1, 2, 3, 4]))
        2.5

    Args:
        value: ``(item) -> number``.

    Raises:
        PipelineError: When ``value`` is no function.
    """
    function("averaging", "value", value, "item")
    return over_values(
        value,
        lambda acc, values: (acc[0] + len(values), exact.add_all(acc[1], values)),
        create=lambda: (0, exact.ZERO),
        accumulate=lambda acc, item: (acc[0] + 1, exact.add(acc[1], value(item))),
        combine=lambda left, right: (left[0] + right[0], exact.merge(left[1], right[1])),
        finish=lambda acc: exact.mean(acc[1], acc[0]) if acc[0] else None,
        deduct=lambda left, right: (left[0] - right[0], exact.subtract(left[1], right[1])),
    )
