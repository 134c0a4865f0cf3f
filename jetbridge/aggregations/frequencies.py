"""The most frequent values, by the frequent items sketch of Apache DataSketches."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from jetbridge.aggregations import lookup
from jetbridge.aggregations.operation import AggregateOperation, Value, identity
from jetbridge.aggregations.sketches import require
from jetbridge.checks import fraction, function, positive
from jetbridge.kernels.keys import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Accumulator = list[Any]
    """``[bytes of a sketch, its values, {value: count} of what is not in it yet]``."""


def heavy_hitters(n: int, value: Value = identity, error: float = 0.001) -> AggregateOperation:
    """The ``n`` most frequent values with about how often they came, the most frequent first.

    The result is a list of ``(value, count)``. Counts are exact while there are
    few different values. Else a count may be too high, by at most ``error``
    times the number of items, and a value that came less often than that may be
    missing.

    Example:
        >>> operation = heavy_hitters(2)
        >>> operation.result(operation.fold(operation.create(), "abracadabra"))
        [('a', 5), ('b', 2)]

    Args:
        n: How many, at the most.
        value: ``(item) -> value``, hashable; equal as keys are.
        error: How far a count may be off, as a part of the number of items;
            0.001 keeps up to 3,072 values.

    Raises:
        PipelineError: When ``n`` is no int of 1 or more, ``value`` is no
            function, ``error`` not from 0.00001 to 0.4, or ``datasketches`` not installed.
    """
    require("heavy_hitters")
    positive("heavy_hitters", "n", n)
    function("heavy_hitters", "value", value, "item")
    fraction("heavy_hitters", "error", error, 0.00001, 0.4)
    lg_size = math.ceil(math.log2(3.5 / error))  # the library's bound is 3.5 / size
    capacity = 3 * 2**lg_size // 4

    def add(acc: Accumulator, counts: Iterable[tuple[Any, int]]) -> Accumulator:
        own = acc[2]
        for each, count in counts:
            key = lookup.key_in(own, each)
            own[key] = own.get(key, 0) + count
        return acc if len(own) <= capacity else [*_written(_sketch(acc, lg_size)), {}]

    def accumulate_all(acc: Accumulator, items: Sequence[Any]) -> Accumulator:
        counts: dict[Any, int] = {}
        for key in [value(item) for item in items]:
            counts[key] = counts.get(key, 0) + 1
        return add(acc, counts.items())

    def combine(left: Accumulator, right: Accumulator) -> Accumulator:
        if left[0] and right[0]:
            sketch = _sketch(left, lg_size)
            sketch.merge(_sketch([right[0], right[1], {}], lg_size))
            left = [*_written(sketch), {}]
        elif right[0]:
            left[:2] = right[:2]
        return add(left, right[2].items())

    def finish(acc: Accumulator) -> list[tuple[Any, int]]:
        counts = _estimates(_sketch(acc, lg_size)) if acc[0] else acc[2].items()
        return sorted(counts, key=lambda pair: pair[1], reverse=True)[:n]

    return AggregateOperation(
        create=lambda: [b"", [], {}],
        accumulate=lambda acc, item: add(acc, [(value(item), 1)]),
        combine=combine,
        finish=finish,
        accumulate_all=accumulate_all,
        kind=lambda: f"frequent items sketch of 2**{lg_size}",
    )


def _sketch(acc: Accumulator, lg_size: int) -> Any:
    from datasketches import frequent_items_sketch

    data, values, counts = acc
    if data:
        sketch = frequent_items_sketch.deserialize(data, _places()(list(map(canonical, values))))
    else:
        sketch = frequent_items_sketch(lg_size)
    for value, count in counts.items():
        sketch.update(canonical(value), count)
    return sketch


def _written(sketch: Any) -> tuple[bytes, list[Any]]:
    values: list[Any] = []
    return sketch.serialize(_places()(values)), values


def _estimates(sketch: Any) -> list[tuple[Any, int]]:
    from datasketches import frequent_items_error_type

    rows = sketch.get_frequent_items(frequent_items_error_type.NO_FALSE_NEGATIVES, 0)
    return [(value, estimate) for value, estimate, _, _ in rows]


@functools.cache
def _places() -> Any:
    """The class that stores a value as its place in a list; values themselves are stored as all state is."""
    from datasketches import PyObjectSerDe

    class Places(PyObjectSerDe):  # type: ignore[misc]  # the library has no types
        def __init__(self, values: list[Any]) -> None:
            super().__init__()
            self.values = values

        def get_size(self, item: Any) -> int:
            return 4

        def to_bytes(self, item: Any) -> bytes:
            self.values.append(item)
            return (len(self.values) - 1).to_bytes(4, "little")

        def from_bytes(self, data: bytes, offset: int) -> tuple[Any, int]:
            return self.values[int.from_bytes(data[offset : offset + 4], "little")], 4

    return Places
