"""Keys of dicts and members of sets in accumulators: NaN, which equals nothing, is one of them all the same."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any

from jetbridge.kernels.keys import canonical

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_NO_NAN = frozenset({int, str, bytes, bool, type(None), dt.datetime, dt.date, uuid.UUID})


def key_in(keys: Collection[Any], key: Any) -> Any:
    """The key that stands for an equal one in a dict or a set.

    NaN is found by its identity, which it loses where an accumulator is stored
    or sent; then it is looked for among all.

    Example:
        >>> nan = float("nan")
        >>> key_in({nan: 1}, float("nan")) is nan
        True
        >>> key_in({"a": 1}, "b")
        'b'
    """
    if key in keys:
        return key
    key = canonical(key)
    if key in keys or not _has_nan(key):
        return key
    for other in keys:
        if type(other) not in _NO_NAN:
            one = canonical(other)
            if one is key or one == key:
                return other
    return key


def add_all(members: set[Any], items: Iterable[Any]) -> set[Any]:
    """Add many members to a set."""
    new = set(items)
    if set(map(type, new)) <= _NO_NAN:
        members |= new
    else:
        for item in new:
            members.add(key_in(members, item))
    return members


def _has_nan(key: Any) -> bool:
    return any(map(_has_nan, key)) if isinstance(key, (tuple, frozenset)) else bool(key != key)
