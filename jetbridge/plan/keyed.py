"""Plan nodes of stages that keep state, by key or for the whole stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.plan.base import KeyFn, Node

if TYPE_CHECKING:
    from jetbridge.aggregations import AggregateOperation


@dataclass(frozen=True)
class KeyedNode(Node):
    """A stage with state: its items go to shards by their key.

    Attributes:
        key_fn: The key of an item; None makes the whole stage one group,
            or the item its own key, as the operator has it.
    """

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


@dataclass(frozen=True)
class GroupNode(KeyedNode):
    """All items of each key, as ``(key, [items])``."""

    kind: ClassVar[str] = "group_by"


@dataclass(frozen=True)
class DistinctNode(KeyedNode):
    """The first item of each key; without a key function the item is the key."""

    kind: ClassVar[str] = "distinct"


@dataclass(frozen=True)
class SortNode(KeyedNode):
    """All items in order."""

    kind: ClassVar[str] = "sort"

    reverse: bool
