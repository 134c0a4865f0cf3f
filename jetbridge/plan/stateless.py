"""Plan nodes of stages that look at one item at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.plan.base import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(frozen=True)
class MapNode(Node):
    """One item in, one item out."""

    kind: ClassVar[str] = "map"
    stateless: ClassVar[bool] = True

    fn: Callable[[Any], Any]

    @property
    def functions(self) -> dict[str, Any]:
        """The user's function."""
        return {"fn": self.fn}


@dataclass(frozen=True)
class FilterNode(Node):
    """Keeps items."""

    kind: ClassVar[str] = "filter"
    stateless: ClassVar[bool] = True

    predicate: Callable[[Any], Any]

    @property
    def functions(self) -> dict[str, Any]:
        """The user's predicate."""
        return {"predicate": self.predicate}


@dataclass(frozen=True)
class FlatMapNode(Node):
    """One item in, any number out."""

    kind: ClassVar[str] = "flat_map"
    stateless: ClassVar[bool] = True

    fn: Callable[[Any], Iterable[Any]]

    @property
    def functions(self) -> dict[str, Any]:
        """The user's function."""
        return {"fn": self.fn}


@dataclass(frozen=True)
class PeekNode(Node):
    """Logs items."""

    kind: ClassVar[str] = "peek"
    stateless: ClassVar[bool] = True

    should_log: Callable[[Any], Any] | None = None
    to_string: Callable[[Any], Any] | None = None

    @property
    def functions(self) -> dict[str, Any]:
        """The user's functions."""
        own = {"should_log": self.should_log, "to_string": self.to_string}
        return {name: fn for name, fn in own.items() if fn is not None}


@dataclass(frozen=True)
class MergeNode(Node):
    """All items of several stages."""

    kind: ClassVar[str] = "merge"
    stateless: ClassVar[bool] = True
