"""Plan nodes of stages that aggregate several inputs at once."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.aggregations import AggregateOperation
from jetbridge.plan.keyed import AggregateNode, WindowNode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jetbridge.plan.base import KeyFn


@dataclass(frozen=True)
class CoAggregateNode(AggregateNode):
    """A tuple of results, one for each input: for each key, or one for all.

    Attributes:
        key_fns: The key function of each input; Nones without keys.
        operations: The operation of each input.
    """

    kind: ClassVar[str] = "co_aggregate"

    key_fns: tuple[KeyFn | None, ...]
    operations: tuple[AggregateOperation, ...]

    @property
    def functions(self) -> dict[str, Any]:
        """The key functions and the operations' functions."""
        return functions_of(self.key_fns, self.operations)


@dataclass(frozen=True)
class CoWindowNode(WindowNode):
    """A tuple of results, one for each input, for each window, or for each key and window.

    Attributes:
        key_fns: The key function of each input; Nones without keys.
        operations: The operation of each input.
    """

    kind: ClassVar[str] = "co_window"

    key_fns: tuple[KeyFn | None, ...] = field(kw_only=True)
    operations: tuple[AggregateOperation, ...] = field(kw_only=True)

    @property
    def functions(self) -> dict[str, Any]:
        """The key functions and the operations' functions."""
        return functions_of(self.key_fns, self.operations)


def functions_of(key_fns: Sequence[KeyFn | None], operations: Sequence[AggregateOperation] = ()) -> dict[str, Any]:
    """The user's functions for several inputs, by parameter name."""
    found: dict[str, Any] = {f"key_fn{i}": fn for i, fn in enumerate(key_fns, 1) if fn is not None}
    for i, operation in enumerate(operations, 1):
        found |= {f"operation{i}.{name}": fn for name, fn in operation.functions.items()}
    return found


def together(operations: Sequence[AggregateOperation]) -> AggregateOperation:
    """Operations as one, whose items are ``(number of the operation, item)`` and whose result is a tuple.

    Example:
        >>> from jetbridge.aggregations import counting, summing
        >>> both = together([counting(), summing()])
        >>> accs = both.create()
        >>> for ported in [(0, "a"), (1, 20), (1, 22)]:
        ...     accs = both.accumulate(accs, ported)
        >>> both.finish(accs)
        (1, 42)
    """
    parts = tuple(operations)

    def accumulate(accs: tuple[Any, ...], ported: tuple[int, Any]) -> tuple[Any, ...]:
        port, item = ported
        return (*accs[:port], parts[port].accumulate(accs[port], item), *accs[port + 1 :])

    def combine(left: tuple[Any, ...], right: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple([part.combine(a, b) for part, a, b in zip(parts, left, right, strict=True)])  # type: ignore[misc]

    def finish(accs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple([result_of(part, acc) for part, acc in zip(parts, accs, strict=True)])

    return AggregateOperation(
        create=lambda: tuple([part.create() for part in parts]),
        accumulate=accumulate,
        combine=combine if all(part.combine is not None for part in parts) else None,
        finish=finish,
    )


def result_of(part: AggregateOperation, acc: Any) -> Any:
    """The result of an accumulator, which may go on."""
    if part.finish is not None:
        return part.finish(acc)
    return copy.copy(acc) if type(acc) in (list, dict, set) else acc
