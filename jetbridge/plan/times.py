"""Plan nodes about event time, and which stages' items carry times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.plan.base import Node
from jetbridge.plan.keyed import KeyedNode
from jetbridge.plan.side import SideNode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NATIVE, INGESTION = "native", "ingestion"
"""Where times come from when no function gives them: the source, or the clock of the machine that reads."""


@dataclass(frozen=True)
class TimestampNode(Node):
    """Gives each item its time, and each source partition its watermark.

    Attributes:
        fn: The time of an item, or `NATIVE` or `INGESTION`.
        lag: How far a partition's watermark stays behind its newest item, in milliseconds.
        idle: After how many milliseconds a partition without items is left out of the watermark.
    """

    kind: ClassVar[str] = "with_timestamps"
    stateless: ClassVar[bool] = True

    fn: Callable[[Any], Any] | str
    lag: int
    idle: int

    @property
    def functions(self) -> dict[str, Any]:
        """The user's function."""
        return {} if isinstance(self.fn, str) else {"fn": self.fn}


@dataclass(frozen=True)
class UntimeNode(Node):
    """Takes the times away."""

    kind: ClassVar[str] = "without_timestamps"
    stateless: ClassVar[bool] = True


def has_times(nodes: Sequence[Node], node: Node) -> bool:
    """Whether the items that a stage gives have times: those of a merge when all that it joins have them.

    Args:
        nodes: The plan's stages, each at the index of its id.
        node: The stage.
    """
    if isinstance(node, TimestampNode):
        return True
    if not node.stateless and not isinstance(node, KeyedNode):
        return False
    if isinstance(node, (UntimeNode, SideNode)) or not node.inputs:
        return False
    if isinstance(node, KeyedNode) and node.times != "kept":
        return node.times == "own"
    inputs = node.inputs[:1] if isinstance(node, KeyedNode) and node.leading else node.inputs
    return all(has_times(nodes, nodes[above]) for above in inputs)


def behind_state(nodes: Sequence[Node], node: Node) -> Node | None:
    """A stage between a stage and its sources, itself included, that may change the order of items, if there is one."""
    if not node.inputs:
        return None
    if not node.stateless or not node.keeps_order:
        return node
    found = (behind_state(nodes, nodes[above]) for above in node.inputs)
    return next((stage for stage in found if stage is not None), None)


def ways(nodes: Sequence[Node], node: Node) -> list[int]:
    """The sources of a stage, each as often as there are ways to it."""
    return [source for above in node.inputs for source in ways(nodes, nodes[above])] if node.inputs else [node.id]
