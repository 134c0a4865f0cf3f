"""What the names of lists, maps and streams mean for a client of a Hazelcast cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jetbridge.connectors.hazelcast import links
from jetbridge.connectors.hazelcast.binding import bound, bound_lookup
from jetbridge.connectors.hazelcast.cluster import HazelcastCluster
from jetbridge.plan.ends import SinkNode, SourceNode
from jetbridge.plan.graph import Plan
from jetbridge.plan.services import MapLookupNode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jetbridge.plan.base import Node


class ClusterStructures:
    """The structures of a cluster.

    Args:
        config: Options of ``hazelcast.HazelcastClient``.

    Raises:
        ConfigError: When the client library is missing, or does not take them.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.cluster = HazelcastCluster(config)
        self._link = links.enter(self.cluster)

    def bound(self, plan: Plan) -> Plan:
        """A plan whose sources, sinks and look-ups are structures of the cluster where they were embedded ones."""
        return Plan(tuple(self._bound(node) for node in plan.nodes))

    def _bound(self, node: Node) -> Node:
        if isinstance(node, SourceNode):
            return replace(node, source=bound(node.source, self.cluster))
        if isinstance(node, SinkNode):
            return replace(node, sink=bound(node.sink, self.cluster))
        if isinstance(node, MapLookupNode):
            return replace(node, lookup=bound_lookup(node.lookup, self.cluster))
        return node

    def list(self, name: str) -> Any:
        """The client's list of a name, with calls that wait."""
        return self._link.call(lambda client: client.get_list(name)).blocking()

    def map(self, name: str) -> Any:
        """The client's map of a name, with calls that wait."""
        return self._link.call(lambda client: client.get_map(name)).blocking()

    def stream(self, name: str) -> ClusterStream:
        """The client's ringbuffer of a name, with the calls of an embedded stream."""
        return ClusterStream(self._link, name)

    def close(self) -> None:
        """Leave the cluster."""
        self._link.leave()


class ClusterStream:
    """A ringbuffer of the cluster, to be published to."""

    def __init__(self, link: links.Link, name: str) -> None:
        self.name = name
        self._link = link

    def publish(self, item: Any) -> None:
        """Add an item."""
        self.publish_all([item])

    def publish_all(self, items: Iterable[Any]) -> None:
        """Add items, as many at once as the ringbuffer can take."""
        rest = list(items)
        ring = self._link.call(lambda client: client.get_ringbuffer(self.name)).blocking()
        most = min(ring.capacity(), 1000)
        for at in range(0, len(rest), most):
            ring.add_all(rest[at : at + most])

    def size(self) -> int:
        """How many items it holds."""
        return int(self._link.call(lambda client: client.get_ringbuffer(self.name).size().result()))

    def __len__(self) -> int:
        return self.size()

    def blocking(self) -> ClusterStream:
        """Itself: its calls wait."""
        return self
