"""Operations made of other operations."""

from __future__ import annotations

from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING, Any

from jetbridge.aggregations import lookup
from jetbridge.aggregations.collecting import to_list
from jetbridge.aggregations.operation import AggregateOperation, checked
from jetbridge.checks import function
from jetbridge.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Accumulators = tuple[Any, ...]
Groups = dict[Any, tuple[int, Any]]
"""``{key: (how many items, accumulator)}``: a group goes when its last item is taken away."""


def mapping(fn: Callable[[Any], Any], downstream: AggregateOperation) -> AggregateOperation:
    """Apply an operation to ``fn(item)`` of each item. None is an item like any other, other than in Jet.

    Example:
        >>> from jetbridge.aggregations import to_set
        >>> operation = mapping(str.lower, to_set())
        >>> operation.result(operation.fold(operation.create(), ["a", "A"]))
        {'a'}

    Args:
        fn: ``(item) -> other item``.
        downstream: The operation.

    Raises:
        PipelineError: When ``fn`` is no function, or ``downstream`` no operation.
    """
    function("mapping", "fn", fn, "item")
    checked("mapping", "downstream", downstream)
    return _adapted(
        downstream,
        lambda acc, item: downstream.accumulate(acc, fn(item)),
        lambda items: [fn(item) for item in items],
    )


def filtering(predicate: Callable[[Any], Any], downstream: AggregateOperation) -> AggregateOperation:
    """Apply an operation to the items for which ``predicate(item)`` is true.

    Example:
        >>> from jetbridge.aggregations import counting
        >>> operation = filtering(str.isupper, counting())
        >>> operation.result(operation.fold(operation.create(), ["a", "A"]))
        1

    Args:
        predicate: ``(item) -> bool``.
        downstream: The operation.

    Raises:
        PipelineError: When ``predicate`` is no function, or ``downstream`` no operation.
    """
    function("filtering", "predicate", predicate, "item")
    checked("filtering", "downstream", downstream)
    return _adapted(
        downstream,
        lambda acc, item: downstream.accumulate(acc, item) if predicate(item) else acc,
        lambda items: [item for item in items if predicate(item)],
    )


def flat_mapping(fn: Callable[[Any], Iterable[Any]], downstream: AggregateOperation) -> AggregateOperation:
    """Apply an operation to all items of the iterables ``fn(item)``.

    Example:
        >>> from jetbridge.aggregations import counting
        >>> operation = flat_mapping(str.split, counting())
        >>> operation.result(operation.fold(operation.create(), ["to be", "or"]))
        3

    Args:
        fn: ``(item) -> iterable of items``.
        downstream: The operation.

    Raises:
        PipelineError: When ``fn`` is no function, or ``downstream`` no operation.
    """
    function("flat_mapping", "fn", fn, "item")
    checked("flat_mapping", "downstream", downstream)
    return _adapted(
        downstream,
        lambda acc, item: downstream.fold(acc, [*fn(item)]),
        lambda items: [*chain.from_iterable([fn(item) for item in items])],
    )


def _adapted(
    downstream: AggregateOperation,
    accumulate: Callable[[Any, Any], Any],
    adapt: Callable[[Sequence[Any]], list[Any]],
) -> AggregateOperation:
    return AggregateOperation(
        create=downstream.create,
        accumulate=accumulate,
        combine=downstream.combine,
        finish=downstream.finish,
        deduct=downstream.deduct,
        accumulate_all=lambda acc, items: downstream.fold(acc, adapt(items)),
        kind=downstream.state,
    )


def all_of(*operations: AggregateOperation, **named: AggregateOperation) -> AggregateOperation:
    """Apply several operations to the same items.

    Example:
        >>> from jetbridge.aggregations import counting, summing
        >>> operation = all_of(count=counting(), total=summing())
        >>> operation.result(operation.fold(operation.create(), [3, 4]))
        {'count': 2, 'total': 7}
        >>> operation = all_of(counting(), summing())
        >>> operation.result(operation.fold(operation.create(), [3, 4]))
        (2, 7)

    Args:
        operations: Operations whose results become a tuple.
        named: Operations whose results become a dict with these names; the one or the other.

    Raises:
        PipelineError: When something is no operation, or none is given, or both forms are.
    """
    if bool(operations) == bool(named):
        given = "both" if named else "none"
        raise PipelineError(
            f"all_of must be given operations, all with a name or all without; got {given}: "
            "all_of(count=counting(), total=summing()) gives a dict, all_of(counting(), summing()) a tuple"
        )
    for place, operation in enumerate(operations, 1):
        checked("all_of", f"argument {place}", operation)
    for name, operation in named.items():
        checked("all_of", name, operation)
    parts = operations or tuple(named.values())
    combines = [part.combine for part in parts if part.combine is not None]
    deducts = [part.deduct for part in parts if part.deduct is not None]

    def both(functions: list[Callable[[Any, Any], Any]]) -> Callable[[Accumulators, Accumulators], Accumulators]:
        return lambda left, right: tuple([fn(a, b) for fn, a, b in zip(functions, left, right, strict=True)])

    def finish(accs: Accumulators) -> Any:
        results = [part.result(acc) for part, acc in zip(parts, accs, strict=True)]
        return dict(zip(named, results, strict=True)) if named else tuple(results)

    def kind() -> str:
        states = [part.state() for part in parts]
        return f"({', '.join(map(': '.join, zip(named, states, strict=True)) if named else states)})"

    return AggregateOperation(
        create=lambda: tuple([part.create() for part in parts]),
        accumulate=lambda accs, item: tuple(
            [part.accumulate(acc, item) for part, acc in zip(parts, accs, strict=True)]
        ),
        combine=both(combines) if len(combines) == len(parts) else None,
        finish=finish,
        deduct=both(deducts) if len(deducts) == len(parts) else None,
        accumulate_all=lambda accs, items: tuple(
            [part.fold(acc, items) for part, acc in zip(parts, accs, strict=True)]
        ),
        kind=kind,
    )


def grouping_by(key_fn: Callable[[Any], Any], downstream: AggregateOperation | None = None) -> AggregateOperation:
    """Apply an operation to the items of each key: a dict of its results, keys in the order in which they came.

    Keys are equal as in a dict, and all NaN are one. All groups are held in one
    accumulator: for many keys, ``group_by`` before ``aggregate`` is the way.

    Example:
        >>> from jetbridge.aggregations import counting
        >>> operation = grouping_by(len, counting())
        >>> operation.result(operation.fold(operation.create(), ["a", "bb", "c"]))
        {1: 2, 2: 1}

    Args:
        key_fn: ``(item) -> key``.
        downstream: The operation; None lists the items.

    Raises:
        PipelineError: When ``key_fn`` is no function, or ``downstream`` no operation.
    """
    function("grouping_by", "key_fn", key_fn, "item")
    inner = to_list() if downstream is None else checked("grouping_by", "downstream", downstream)
    join, take = inner.combine, inner.deduct

    def accumulate(groups: Groups, item: Any) -> Groups:
        key = lookup.key_in(groups, key_fn(item))
        count, acc = groups[key] if key in groups else (0, inner.create())
        groups[key] = count + 1, inner.accumulate(acc, item)
        return groups

    def accumulate_all(groups: Groups, items: Sequence[Any]) -> Groups:
        gathered: dict[Any, list[Any]] = defaultdict(list)
        for key, item in zip([key_fn(item) for item in items], items, strict=True):
            gathered[key].append(item)
        for key, group in gathered.items():
            key = lookup.key_in(groups, key)
            count, acc = groups[key] if key in groups else (0, inner.create())
            groups[key] = count + len(group), inner.fold(acc, group)
        return groups

    def combine(left: Groups, right: Groups) -> Groups:
        assert join is not None
        for key, (more, other) in right.items():
            key = lookup.key_in(left, key)
            # The right one is combined into an empty one, never taken over: the left one may change it later.
            count, acc = left[key] if key in left else (0, inner.create())
            left[key] = count + more, join(acc, other)
        return left

    def deduct(left: Groups, right: Groups) -> Groups:
        assert take is not None
        for key, (less, other) in right.items():
            key = lookup.key_in(left, key)
            count, acc = left[key] if key in left else (0, inner.create())
            if count == less:
                del left[key]
            else:
                left[key] = count - less, take(acc, other)
        return left

    return AggregateOperation(
        create=dict,
        accumulate=accumulate,
        combine=None if join is None else combine,
        finish=lambda groups: {key: inner.result(acc) for key, (_, acc) in groups.items()},
        deduct=None if take is None else deduct,
        accumulate_all=accumulate_all,
        kind=lambda: f"dict of {inner.state()}",
    )
