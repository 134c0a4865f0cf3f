"""The least and the greatest items, one or several, and any one of them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jetbridge.aggregations.operation import AggregateOperation, Value, identity
from jetbridge.checks import function, positive

Scored = tuple[Any, Any]
"""``(value, item)``."""
Less = Callable[[Any, Any], bool]


def min_by(value: Value = identity) -> AggregateOperation:
    """The item whose value is least, the first one of several; None without items.

    An item whose value is NaN is taken only when there is no other.

    Example:
        >>> operation = min_by(len)
        >>> operation.result(operation.fold(operation.create(), ["aa", "b", "c"]))
        'b'

    Args:
        value: ``(item) -> value``, where all values compare with each other.

    Raises:
        PipelineError: When ``value`` is no function.
    """
    return _extreme("min_by", value, min, operator.lt)


def max_by(value: Value = identity) -> AggregateOperation:
    """The item whose value is greatest, the first one of several; None without items.

    An item whose value is NaN is taken only when there is no other.

    Example:
        >>> operation = max_by(len)
        >>> operation.result(operation.fold(operation.create(), ["aa", "b", "cc"]))
        'aa'

    Args:
        value: ``(item) -> value``, where all values compare with each other.

    Raises:
        PipelineError: When ``value`` is no function.
    """
    return _extreme("max_by", value, max, operator.gt)


def top_n(n: int, value: Value = identity) -> AggregateOperation:
    """The ``n`` items with the greatest values, the greatest first; of equal ones those that came first.

    Items whose value is NaN come after all others.

    Example:
        >>> operation = top_n(2, len)
        >>> operation.result(operation.fold(operation.create(), ["a", "ccc", "bb", "dd"]))
        ['ccc', 'bb']

    Args:
        n: How many, at the most.
        value: ``(item) -> value``, where all values compare with each other.

    Raises:
        PipelineError: When ``n`` is no int of 1 or more, or ``value`` no function.
    """
    return _ranking("top_n", n, value, operator.gt, reverse=True)


def bottom_n(n: int, value: Value = identity) -> AggregateOperation:
    """The ``n`` items with the least values, the least first; of equal ones those that came first.

    Items whose value is NaN come after all others.

    Example:
        >>> operation = bottom_n(2)
        >>> operation.result(operation.fold(operation.create(), [3, 1, 2]))
        [1, 2]

    Args:
        n: How many, at the most.
        value: ``(item) -> value``, where all values compare with each other.

    Raises:
        PipelineError: When ``n`` is no int of 1 or more, or ``value`` no function.
    """
    return _ranking("bottom_n", n, value, operator.lt, reverse=False)


def pick_any() -> AggregateOperation:
    """One of the items, the first to arrive; None without items.

    Example:
        >>> operation = pick_any()
        >>> operation.result(operation.fold(operation.create(), ["a", "b"]))
        'a'
    """
    return AggregateOperation(
        create=tuple,
        accumulate=lambda found, item: found or (item,),
        combine=lambda left, right: left or right,
        finish=lambda found: found[0] if found else None,
        accumulate_all=lambda found, items: found or tuple(items[:1]),
    )


def _extreme(name: str, value: Value, pick: Callable[[list[Any]], Any], less: Less) -> AggregateOperation:
    function(name, "value", value, "item")

    def accumulate(best: Scored | None, item: Any) -> Scored:
        score = value(item)
        # As `_wins`, without a call for each item.
        if best is None or (score == score and (best[0] != best[0] or less(score, best[0]))):
            return score, item
        return best

    def combine(best: Scored | None, other: Scored | None) -> Scored | None:
        if best is None or other is None:
            return other if best is None else best
        return other if _wins(other[0], best[0], less) else best

    def accumulate_all(best: Scored | None, items: Sequence[Any]) -> Scored | None:
        scores = [value(item) for item in items]
        if _any_nan(scores):
            for scored in zip(scores, items, strict=True):
                best = combine(best, scored)
        elif scores:
            score = pick(scores)
            best = combine(best, (score, items[scores.index(score)]))
        return best

    return AggregateOperation(
        create=lambda: None,
        accumulate=accumulate,
        combine=combine,
        finish=lambda best: best and best[1],
        accumulate_all=accumulate_all,
    )


def _ranking(name: str, n: int, value: Value, less: Less, *, reverse: bool) -> AggregateOperation:
    positive(name, "n", n)
    function(name, "value", value, "item")

    def accumulate(ranked: list[Scored], item: Any) -> list[Scored]:
        score = value(item)
        if len(ranked) < n or _wins(score, ranked[-1][0], less):
            _insert(ranked, (score, item), less)
            del ranked[n:]
        return ranked

    def merge(ranked: list[Scored], others: Iterable[Scored], nan: bool) -> list[Scored]:
        if nan or (ranked and ranked[-1][0] != ranked[-1][0]):
            for scored in others:
                _insert(ranked, scored, less)
                del ranked[n:]
        else:
            if len(ranked) == n:
                worst = ranked[-1][0]
                others = [scored for scored in others if less(scored[0], worst)]
            ranked.extend(others)
            ranked.sort(key=_score, reverse=reverse)
            del ranked[n:]
        return ranked

    def accumulate_all(ranked: list[Scored], items: Sequence[Any]) -> list[Scored]:
        scores = [value(item) for item in items]
        return merge(ranked, zip(scores, items, strict=True), _any_nan(scores))

    return AggregateOperation(
        create=list,
        accumulate=accumulate,
        combine=lambda left, right: merge(left, right, _any_nan([score for score, _ in right])),
        finish=lambda ranked: [item for _, item in ranked],
        accumulate_all=accumulate_all,
        kind=lambda: f"{name} of {n}",
    )


def _wins(score: Any, other: Any, less: Less) -> bool:
    # NaN is looked for first: to compare a Decimal's is an error.
    return bool(score == score and (other != other or less(score, other)))


def _any_nan(scores: list[Any]) -> bool:
    return any(map(operator.ne, scores, scores))


_score = operator.itemgetter(0)


def _insert(ranked: list[Scored], scored: Scored, less: Less) -> None:
    """Insert behind all that it does not win against."""
    low, high = 0, len(ranked)
    while low < high:
        middle = (low + high) // 2
        if _wins(scored[0], ranked[middle][0], less):
            high = middle
        else:
            low = middle + 1
    ranked.insert(low, scored)
