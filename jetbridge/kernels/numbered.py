"""Numbered items: what windows keep for an operation without a combiner, so that they fold items in their order."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from jetbridge.aggregations import AggregateOperation

if TYPE_CHECKING:
    from jetbridge.kernels.fold import Folder

Numbered = list[tuple[int, Any]]
"""Items, each with a number that says when it came."""

_number = itemgetter(0)


def in_sequence() -> AggregateOperation:
    """The operation that only keeps numbered items; combining joins two lists.

    Example:
        >>> keeping = in_sequence()
        >>> keeping.combine([(2, "c")], [(1, "b"), (0, "a")])
        [(2, 'c'), (1, 'b'), (0, 'a')]
    """
    return AggregateOperation(create=list, accumulate=_keep, combine=_join)


def _keep(numbered: Numbered, pair: tuple[int, Any]) -> Numbered:
    numbered.append(pair)
    return numbered


def _join(left: Numbered, right: Numbered) -> Numbered:
    left += right
    return left


def folded(folder: Folder, numbered: Numbered) -> tuple[Any, set[int]]:
    """What items come to in their order, and the numbers of those that were left out because of an error.

    Example:
        >>> from jetbridge.aggregations import folding
        >>> from jetbridge.kernels.fold import Folder
        >>> folded(Folder("text", folding(lambda acc, item: acc + item, initial="")), [(1, "b"), (0, "a")])
        ('ab', set())
    """
    pairs = sorted(numbered, key=_number)
    acc = folder.create()
    if folder.failed is None:
        return folder.fold(acc, [item for _, item in pairs]), set()
    bad = set()
    for number, item in pairs:
        before = len(folder.failed)
        acc = folder.fold(acc, [item])
        if len(folder.failed) > before:
            bad.add(number)
    return acc, bad


def kept(numbered: Numbered, bad: set[int]) -> Numbered:
    """Items without those of some numbers."""
    return [pair for pair in numbered if pair[0] not in bad]
