"""Lists, sets, dicts and texts of all items."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from jetbridge.aggregations import lookup
from jetbridge.aggregations.operation import AggregateOperation
from jetbridge.checks import described, flag, function
from jetbridge.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


def to_list() -> AggregateOperation:
    """All items in a list, in the order in which they came.

    Example:
        >>> to_list().accumulate_all([], [3, 1])
        [3, 1]
    """
    return AggregateOperation(create=list, accumulate=_append, combine=_extend, finish=list, accumulate_all=_extend)


def sorting(key_fn: Callable[[Any], Any] | None = None, reverse: bool = False) -> AggregateOperation:
    """All items in a sorted list; equal ones in the order in which they came.

    Items whose key is NaN come last, in either direction.

    Example:
        >>> operation = sorting(len, reverse=True)
        >>> operation.result(operation.fold(operation.create(), ["a", "ccc", "bb", "dd"]))
        ['ccc', 'bb', 'dd', 'a']

    Args:
        key_fn: ``(item) -> key``, what items are compared by; None compares the items.
        reverse: Whether the greatest comes first.

    Raises:
        PipelineError: When ``key_fn`` is no function.
    """
    if key_fn is not None:
        function("sorting", "key_fn", key_fn, "item")
    flag("sorting", "reverse", reverse)

    def finish(items: list[Any]) -> list[Any]:
        keys = items if key_fn is None else [key_fn(item) for item in items]
        last: list[Any] = []
        if any(map(operator.ne, keys, keys)):
            last = [item for key, item in zip(keys, items, strict=True) if key != key]
            items = [item for key, item in zip(keys, items, strict=True) if key == key]
        return sorted(items, key=key_fn, reverse=reverse) + last

    return AggregateOperation(create=list, accumulate=_append, combine=_extend, finish=finish, accumulate_all=_extend)


def concatenating(delimiter: str = "", prefix: str = "", suffix: str = "") -> AggregateOperation:
    """All items, which are strings, as one; of no items the prefix and the suffix remain.

    Example:
        >>> operation = concatenating(", ", "[", "]")
        >>> operation.result(operation.fold(operation.create(), ["a", "b"]))
        '[a, b]'

    Args:
        delimiter: What is put between two items.
        prefix: What is put in front of all.
        suffix: What is put behind all.

    Raises:
        PipelineError: When one of these is no string.
    """
    for name, text in (("delimiter", delimiter), ("prefix", prefix), ("suffix", suffix)):
        if not isinstance(text, str):
            raise PipelineError(f"concatenating must be given a str as {name}; got {described(text)}")
    return AggregateOperation(
        create=list,
        accumulate=lambda texts, item: _append_text(texts, item),
        combine=_extend,
        finish=lambda texts: prefix + delimiter.join(texts) + suffix,
        accumulate_all=_extend_texts,
    )


def to_set() -> AggregateOperation:
    """The distinct items in a set, where items are equal as keys are: 1 and 1.0 are one, and all NaN.

    Example:
        >>> operation = to_set()
        >>> sorted(operation.result(operation.fold(operation.create(), [2, 1, 2])))
        [1, 2]
    """
    return AggregateOperation(
        create=set,
        accumulate=_add_to_set,
        combine=lookup.add_all,
        finish=set,
        accumulate_all=lookup.add_all,
    )


def to_dict(
    key_fn: Callable[[Any], Any],
    value_fn: Callable[[Any], Any],
    merge_fn: Callable[[Any, Any], Any] | None = None,
) -> AggregateOperation:
    """A dict of a key and a value of each item, as Jet's ``toMap``; keys in the order in which they came.

    Example:
        >>> operation = to_dict(lambda order: order[0], lambda order: order[1], lambda old, new: old + new)
        >>> operation.result(operation.fold(operation.create(), [("tea", 2), ("cup", 5), ("tea", 4)]))
        {'tea': 6, 'cup': 5}

    Args:
        key_fn: ``(item) -> key``.
        value_fn: ``(item) -> value``.
        merge_fn: ``(value, value) -> value``, what two values of one key
            become; it changes neither. Without it a second value of a key is
            an error, which fails the job.

    Raises:
        PipelineError: When something is no function.
        ValueError: In the job, for a second value of a key without ``merge_fn``.
    """
    function("to_dict", "key_fn", key_fn, "item")
    function("to_dict", "value_fn", value_fn, "item")
    if merge_fn is not None:
        function("to_dict", "merge_fn", merge_fn)

    def put(entries: dict[Any, Any], key: Any, value: Any) -> None:
        key = lookup.key_in(entries, key)
        if key not in entries:
            entries[key] = value
        elif merge_fn is not None:
            entries[key] = merge_fn(entries[key], value)
        else:
            raise ValueError(
                f"to_dict got two values for the key {key!r:.200}, {entries[key]!r:.200} and {value!r:.200}: "
                "give it a merge_fn, or keys that differ"
            )

    def accumulate(entries: dict[Any, Any], item: Any) -> dict[Any, Any]:
        put(entries, key_fn(item), value_fn(item))
        return entries

    def combine(left: dict[Any, Any], right: dict[Any, Any]) -> dict[Any, Any]:
        for key, value in right.items():
            put(left, key, value)
        return left

    return AggregateOperation(create=dict, accumulate=accumulate, combine=combine, finish=dict)


def _append(items: list[Any], item: Any) -> list[Any]:
    items.append(item)
    return items


def _extend(items: list[Any], more: Iterable[Any]) -> list[Any]:
    items.extend(more)
    return items


def _append_text(texts: list[str], item: Any) -> list[str]:
    if not isinstance(item, str):
        raise TypeError(f"concatenating takes strings; got {described(item)}: map items to strings first")
    texts.append(item)
    return texts


def _extend_texts(texts: list[str], items: Sequence[Any]) -> list[str]:
    if not set(map(type, items)) <= {str}:
        for item in items:
            _append_text(texts, item)
    else:
        texts.extend(items)
    return texts


def _add_to_set(items: set[Any], item: Any) -> set[Any]:
    items.add(lookup.key_in(items, item))
    return items
