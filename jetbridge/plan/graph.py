"""The plan: an immutable graph of named stages, and the checks that it must pass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from jetbridge.errors import PipelineError
from jetbridge.plan.ends import BeamNode, SinkNode, SourceNode
from jetbridge.plan.keyed import KeyedNode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jetbridge.plan.base import Node


@dataclass(frozen=True)
class Plan:
    """A pipeline that is complete and checked; nothing in it changes any more.

    Attributes:
        nodes: The stages in the order of their creation, which is a
            topological order.
    """

    nodes: tuple[Node, ...]

    def node(self, node_id: int) -> Node:
        """The stage of an id."""
        return self._by_id[node_id]

    def consumers(self, node_id: int) -> tuple[Node, ...]:
        """The stages that read a stage, once for each time they read it."""
        return self._consumers.get(node_id, ())

    @cached_property
    def _by_id(self) -> dict[int, Node]:
        return {node.id: node for node in self.nodes}

    @cached_property
    def _consumers(self) -> dict[int, tuple[Node, ...]]:
        consumers: dict[int, tuple[Node, ...]] = {}
        for node in self.nodes:
            for above in node.inputs:
                consumers[above] = (*consumers.get(above, ()), node)
        return consumers

    @property
    def sources(self) -> tuple[SourceNode, ...]:
        """The source stages."""
        return tuple(node for node in self.nodes if isinstance(node, SourceNode))

    @property
    def sinks(self) -> tuple[SinkNode, ...]:
        """The sink stages."""
        return tuple(node for node in self.nodes if isinstance(node, SinkNode))

    @property
    def keyed(self) -> tuple[KeyedNode, ...]:
        """The stages with state."""
        return tuple(node for node in self.nodes if isinstance(node, KeyedNode))

    @property
    def beam(self) -> tuple[BeamNode, ...]:
        """The stages that are Beam transforms of the user's."""
        return tuple(node for node in self.nodes if isinstance(node, BeamNode))

    @property
    def parallelism(self) -> int | None:
        """The least that is said of how many of a stage may work at once, if anything is."""
        return min((node.local_parallelism for node in self.nodes if node.local_parallelism), default=None)

    @property
    def unbounded(self) -> bool:
        """Whether a source is a stream."""
        return any(not node.source.bounded for node in self.sources)


def upstream(plan: Plan, node: Node) -> str:
    """The way from the sources to a stage, as text: what tells two stages with default names apart.

    Example:
        >>> from jetbridge.pipeline import Pipeline
        >>> pipeline = Pipeline.create()
        >>> stage = pipeline.read_from(Pipeline.from_list("numbers", [])).map(str).distinct()
        >>> _ = stage.write_to(Pipeline.to_list("results"))
        >>> plan = pipeline.plan()
        >>> upstream(plan, plan.nodes[2])
        'items numbers > map > distinct'
    """
    kind = node.source.kind if isinstance(node, SourceNode) else node.sink.kind if isinstance(node, SinkNode) else None
    own = node.kind if kind is None else f"{kind} {node.name}"
    ways = [upstream(plan, plan.node(above)) for above in node.inputs]
    return own if not ways else f"{' + '.join(ways) if len(ways) == 1 else '(' + ' + '.join(ways) + ')'} > {own}"


def named(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Give the stages without a name of the user's a default one.

    A default name is the operator's name, or that of the structure for a
    source or sink, and a number from the second on; it depends only on the
    stages before it, never on a line number or an address.

    Raises:
        PipelineError: When the user gave one name to two stages.
    """
    taken: set[str] = set()
    for node in nodes:
        if node.named and node.name in taken:
            raise PipelineError(f"two stages are named '{node.name}': give one of them another name with set_name")
        if node.named:
            taken.add(node.name)
    result = []
    for node in nodes:
        if not node.named:
            name, number = node.name, 1
            while name in taken:
                number += 1
                name = f"{node.name}-{number}"
            taken.add(name)
            node = replace(node, name=name)
        result.append(node)
    return tuple(result)


def checked(nodes: Sequence[Node]) -> Plan:
    """A plan of these stages, when it is complete.

    Raises:
        PipelineError: Without a source or a sink, or with a stage whose items
            go nowhere; the message names the stages.
    """
    plan = Plan(named(nodes))
    if not plan.sources:
        raise PipelineError("the pipeline has no source: start it with pipeline.read_from(...)")
    dangling = [node for node in plan.nodes if not isinstance(node, SinkNode) and not plan.consumers(node.id)]
    if dangling:
        raise PipelineError(
            f"nothing reads {_list(dangling)}: end each branch with write_to(...), or remove the stage"
            if plan.sinks
            else f"the pipeline has no sink: write {_list(dangling)} to one with write_to(...)"
        )
    return plan


def _list(nodes: Iterable[Node]) -> str:
    return ", ".join(f"{node.kind} '{node.name}'" for node in nodes)
