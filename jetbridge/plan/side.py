"""Plan nodes of what leaves a stage beside its results: items that came too late, or that a function failed on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jetbridge.plan.base import Node


@dataclass(frozen=True)
class SideNode(Node):
    """Gets what leaves its input beside the results, and not the results."""

    stateless: ClassVar[bool] = True


@dataclass(frozen=True)
class LateNode(SideNode):
    """Gets the items that were too late."""

    kind: ClassVar[str] = "late_items"


@dataclass(frozen=True)
class FailedNode(SideNode):
    """Gets a `FailedItem` for each item that a user's function failed on."""

    kind: ClassVar[str] = "on_error"
