"""Fusing: a plan as segments, each a root with all stateless stages that follow it.

A root is a source, a stage with state or a Beam transform of the user's. The
stateless stages below it, up to the next stage with state, Beam transform or
sink, become one kernel. A merge needs nothing of its own: the stages below it
belong to the segment of every root that reaches them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetbridge.plan.ends import SinkNode
from jetbridge.plan.side import SideNode

if TYPE_CHECKING:
    from jetbridge.plan.base import Node
    from jetbridge.plan.graph import Plan


@dataclass(frozen=True)
class Exit:
    """Where items leave a segment.

    Attributes:
        above: The id of the last stage inside.
        target: The stage that they go to.
        port: As which of its inputs.
    """

    above: int
    target: Node
    port: int = 0

    @property
    def name(self) -> str:
        """What it is called as long as its target is: the target's name, and behind it the input."""
        return f"{self.target.name}/{self.port}"


@dataclass(frozen=True)
class Segment:
    """A root, the stateless stages below it and its exits.

    Attributes:
        root: The source, stage with state or Beam transform.
        steps: The stateless stages in topological order.
        exits: Where items leave, in a fixed order.
    """

    root: Node
    steps: tuple[Node, ...]
    exits: tuple[Exit, ...]

    @property
    def parallelism(self) -> int | None:
        """How many of it may work at once: the least that is said of its stages, if anything is."""
        return min((n.local_parallelism for n in (self.root, *self.steps) if n.local_parallelism), default=None)


def fuse(plan: Plan) -> tuple[Segment, ...]:
    """The segments of a plan, in topological order of their roots.

    Example:
        >>> from jetbridge.pipeline import Pipeline
        >>> pipeline = Pipeline.create()
        >>> stage = pipeline.read_from(Pipeline.from_list("numbers", [1, 2])).map(str).filter(bool)
        >>> _ = stage.write_to(Pipeline.to_list("results"))
        >>> [(s.root.name, [step.name for step in s.steps]) for s in fuse(pipeline.plan())]
        [('numbers', ['map', 'filter'])]
    """
    roots = [node for node in plan.nodes if not node.stateless and not isinstance(node, SinkNode)]
    return tuple(_segment(plan, root) for root in roots)


def _segment(plan: Plan, root: Node) -> Segment:
    inside = {root.id}
    steps: list[Node] = []
    exits: list[Exit] = []
    # Node ids are in topological order, so one pass over the plan finds all.
    for node in plan.nodes:
        if isinstance(node, SideNode):
            # What a stage with state leaves aside arises where its items are split, and where its state is.
            if node.inputs[0] in inside or any(exit_.target.id == node.inputs[0] for exit_ in exits):
                inside.add(node.id)
                steps.append(node)
            continue
        reached = [(above, port) for port, above in enumerate(node.inputs) if above in inside]
        if not reached:
            continue
        if node.stateless:
            inside.add(node.id)
            steps.append(node)
        else:
            exits += [Exit(above, node, port) for above, port in reached]
    return Segment(root, tuple(steps), tuple(exits))
