"""A check that every custom kernel must pass; run it on your own.

It raises an AssertionError that says what is wrong::

    from jetbridge.custom_conformance import check_kernel

    def test_payments():
        found = check_kernel(Payments, events, key_fn=lambda event: event["id"], time_fn=lambda event: event["at"])
        assert found["a"] == [...]
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from jetbridge.errors import SerializationError
from jetbridge.kernels.custom import CustomKernel, CustomKeyedKernel
from jetbridge.plan.stateful import CustomNode
from jetbridge.store import values
from jetbridge.times import TimedItems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SIZES = (1, 2, 7, 1_000_000)


def check_kernel(
    kernel_factory: Callable[[], CustomKernel],
    items: Sequence[Any],
    key_fn: Callable[[Any], Any] | None = None,
    time_fn: Callable[[Any], int] | None = None,
) -> dict[Any, list[Any]]:
    """Check that a kernel gives the same results however it is run.

    It is run with items one by one and all at once; with one instance for all,
    and with a new one and stored state for each step; told of the watermark
    after each step, and only at the end.

    >>> from jetbridge import CustomKernel
    >>> class Doubles(CustomKernel):
    ...     def process(self, state, key, items, times):
    ...         return [item * 2 for item in items]
    >>> check_kernel(Doubles, [1, 2, 3], key_fn=lambda n: n % 2)
    {1: [2, 6], 0: [4]}

    Args:
        kernel_factory: What ``custom`` is given.
        items: Some items, in order.
        key_fn: What ``group_by`` is given; None for the whole stage.
        time_fn: The time of an item in milliseconds; None for items without times.

    Returns:
        The results of each key, with those of the watermark at the end; with
        their times for a kernel that gives them.

    Raises:
        AssertionError: When a run differs from the others, or state cannot be stored.
    """
    kernel = kernel_factory()
    assert isinstance(kernel, CustomKernel), f"the factory must make a CustomKernel; got {kernel!r}"
    assert type(kernel.gives_times) is bool, f"gives_times must be a bool; got {kernel.gives_times!r}"
    assert time_fn is not None or not kernel.gives_times, "a kernel that gives times needs items with times"
    node = CustomNode(
        *(0, "checked", True, (), key_fn),
        kernel=kernel_factory,
        gives_times=kernel.gives_times,
        late=kernel.drops_late,
    )
    groups: dict[Any, list[Any]] = {}
    for item in items:
        groups.setdefault(None if key_fn is None else key_fn(item), []).append(item)
    found: dict[Any, list[Any]] = {}
    for key, group in groups.items():
        runs = itertools.product(_SIZES[::-1], (False, True), (False, True))
        first: list[Any] | None = None
        for size, stored, told in runs:
            results = list(_run(node, group, time_fn, size, stored=stored, told=told))
            if first is None:
                first = found[key] = results
            how = (
                f"{'all items at once' if size == _SIZES[-1] else f'{size} at a time'}"
                f"{', stored and read back by a new instance' if stored else ''}"
                f"{', the watermark told after each' if told else ''}"
            )
            assert sorted(map(repr, results)) == sorted(map(repr, first)), (
                f"key {key!r}: with {how} it gives {results!r:.300}; with all items at once {first!r:.300}"
            )
    return found


def _run(
    node: CustomNode,
    items: list[Any],
    time_fn: Callable[[Any], int] | None,
    size: int,
    *,
    stored: bool,
    told: bool,
) -> Iterator[Any]:
    kernel = CustomKeyedKernel(node)
    state = kernel.new_state()
    for at in range(0, len(items), size):
        part = items[at : at + size]
        splitter = kernel.splitter(1)
        splitter.add(part if time_fn is None else TimedItems(part, list(map(time_fn, part))))
        for _, payload in splitter.flush():
            yield from _given(node, kernel.process(state, payload))
        rest = items[at + size :]
        if told and time_fn is not None and rest:
            yield from _given(node, kernel.on_watermark(state, min(map(time_fn, rest))))
        if stored:
            names, entries = kernel.entries(state)
            kernel = CustomKeyedKernel(node)
            state = kernel.new_state()
            kernel.add(state, *_again((names, entries)))
    yield from _given(node, kernel.on_end(state))


def _given(node: CustomNode, chunks: Iterator[list[Any]]) -> Iterator[Any]:
    for chunk in chunks:
        if node.gives_times:
            assert isinstance(chunk, TimedItems)
            yield from zip(chunk.times, chunk, strict=True)
        else:
            yield from chunk


def _again(content: Any) -> Any:
    try:
        return values.decode(values.encode(content))
    except SerializationError as error:
        raise AssertionError(f"the state of a key must be values that can be stored: {error}") from error
