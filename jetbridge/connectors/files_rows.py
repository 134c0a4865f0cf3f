"""What the sinks of tables share: every row must have the columns of the first one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetbridge.connectors.base import BadItem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def columns_of(items: list[Any], user: str) -> list[str]:
    """The columns of the first row; the others must have the same, in any order.

    Raises:
        BadItem: For an item that is no dict, or has other columns.
    """
    first = items[0]
    if not isinstance(first, dict):
        raise _no_row(0, first, user)
    if not first or not all(isinstance(column, str) for column in first):
        raise BadItem(0, f"{user}: a row needs at least one column, and names that are str; got {_short(first)}")
    keys = first.keys()
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise _no_row(index, item, user)
        if item.keys() != keys:
            raise BadItem(index, f"{user}: {difference(keys, item)}: the row {_short(item)}")
    return list(first)


def difference(expected: Iterable[str], got: Iterable[Any]) -> str:
    """In what two sets of columns differ."""
    expected, got = list(expected), list(got)
    missing = [column for column in expected if column not in got]
    extra = [column for column in got if column not in expected]
    parts = [f"lacks {missing}"] * bool(missing) + [f"has {extra} besides"] * bool(extra)
    return f"every row must have the columns of the first one, {expected}; this one {' and '.join(parts)}"


def transposed(items: Sequence[dict[str, Any]], columns: Sequence[str]) -> list[list[Any]]:
    """The values column by column."""
    return [[item[column] for item in items] for column in columns]


def _no_row(index: int, item: Any, user: str) -> BadItem:
    return BadItem(
        index,
        f"{user} takes dicts; got {type(item).__name__} {_short(item)}: "
        f"add a map before the sink, such as .map(lambda pair: {{'key': pair[0], 'value': pair[1]}})",
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:120] + "…"
