"""Plan nodes of stages that keep state, by key or for the whole stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.plan.base import KeyFn, Node

if TYPE_CHECKING:
    from jetbridge.aggregations import AggregateOperation
    from jetbridge.windows import Window


@dataclass(frozen=True)
class KeyedNode(Node):
    """A stage with state: its items go to shards by their key.

    Attributes:
        times: What times the items have that it gives: "none", those of the
            items that they came from ("kept"), or "own" ones.
        leading: Whether times that are kept are those of its first input alone.
        drops_late: Whether items can be too late for it.
        key_fn: The key of an item; None makes the whole stage one group,
            or the item its own key, as the operator has it.
    """

    times: ClassVar[str] = "none"
    leading: ClassVar[bool] = False
    drops_late: ClassVar[bool] = False

    key_fn: KeyFn | None

    @property
    def functions(self) -> dict[str, Any]:
        """The user's key function."""
        return {} if self.key_fn is None else {"key_fn": self.key_fn}


@dataclass(frozen=True)
class AggregateNode(KeyedNode):
    """One result for each key, or one for the whole stage."""

    kind: ClassVar[str] = "aggregate"

    operation: AggregateOperation

    @property
    def functions(self) -> dict[str, Any]:
        """The key function and the operation's functions."""
        return {**super().functions, **self.operation.functions}


@dataclass(frozen=True)
class RollingNode(AggregateNode):
    """The running result for each item."""

    kind: ClassVar[str] = "rolling_aggregate"
    times: ClassVar[str] = "kept"


@dataclass(frozen=True)
class GroupNode(KeyedNode):
    """All items of each key, as ``(key, [items])``."""

    kind: ClassVar[str] = "group_by"


@dataclass(frozen=True)
class DistinctNode(KeyedNode):
    """The first item of each key; without a key function the item is the key."""

    kind: ClassVar[str] = "distinct"
    times: ClassVar[str] = "kept"


@dataclass(frozen=True)
class SortNode(KeyedNode):
    """All items in order."""

    kind: ClassVar[str] = "sort"

    reverse: bool


@dataclass(frozen=True)
class WindowNode(AggregateNode):
    """One result for each window, or for each key and window.

    Attributes:
        window: How items are divided by their times.
        early: How often a window that is still open gives an early result, in milliseconds; 0 for never.
        bare: Whether results leave out the key.
    """

    kind: ClassVar[str] = "window"
    times: ClassVar[str] = "own"
    drops_late: ClassVar[bool] = True

    window: Window
    early: int = 0
    bare: bool = False
