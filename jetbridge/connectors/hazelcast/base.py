"""What the sources and sinks of a cluster share: the cluster, and a link to it that does not travel."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.connectors.hazelcast import links
from jetbridge.connectors.hazelcast.cluster import HazelcastCluster
from jetbridge.errors import PipelineError, SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

_SERVICES = {
    "hz:impl:mapService": "map",
    "hz:impl:listService": "list",
    "hz:impl:setService": "set",
    "hz:impl:queueService": "queue",
    "hz:impl:ringbufferService": "ringbuffer",
    "hz:impl:reliableTopicService": "reliable topic",
    "hz:impl:topicService": "topic",
    "hz:impl:multiMapService": "multimap",
    "hz:impl:replicatedMapService": "replicated map",
}
_READ_BY = {
    "map": "Pipeline.from_map(name)",
    "list": "ListSource(name)",
    "ringbuffer": "StreamSource(name)",
    "reliable topic": "StreamSource(name)",
}


class OfCluster:
    """A source or sink of a cluster.

    Attributes:
        cluster: The cluster; None until the pipeline is submitted, for that of the client that submits it.
    """

    name: str
    kind: ClassVar[str]
    _link: links.Link | None = None

    def __init__(self, name: str, cluster: HazelcastCluster | Mapping[str, Any] | None) -> None:
        super().__init__(name)  # type: ignore[call-arg]
        self.cluster = (
            cluster if cluster is None or isinstance(cluster, HazelcastCluster) else HazelcastCluster(cluster)
        )

    def bound(self, cluster: HazelcastCluster) -> Self:
        """This, for a client of a cluster."""
        if self.cluster is not None:
            return self
        mine = copy.copy(self)
        mine.cluster = cluster
        return mine

    @property
    def link(self) -> links.Link:
        """The link to the cluster.

        Raises:
            PipelineError: When there is no cluster.
        """
        if self._link is None:
            if self.cluster is None:
                raise PipelineError(
                    f"{self.kind} '{self.name}': the client has no Hazelcast cluster: give jetbridge.connect("
                    "hazelcast={'cluster_members': [...]}), or this source or sink its own cluster={...}"
                )
            self._link = links.enter(self.cluster)
        return self._link

    def close(self) -> None:
        """Leave the cluster."""
        link, self._link = self._link, None
        if link is not None:
            link.leave()

    def objects(self) -> dict[str, set[str]]:
        """The kinds of structures that the cluster has, by name."""
        found: dict[str, set[str]] = {}
        for each in self.link.call(lambda client: client.get_distributed_objects()):
            kind = _SERVICES.get(each.service_name)
            if kind is not None:
                found.setdefault(each.name, set()).add(kind)
        return found

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        for name in ("_link", "_known", "_quiet"):
            state.pop(name, None)
        return state


def refuse_other(source: OfCluster, *kinds: str) -> None:
    """Check that a name does not mean something else: a list nobody has written is empty, but not if it is a map.

    Raises:
        SourceError: When the cluster has no such structure, and another one of that name.
    """
    found = source.objects().get(source.name, set())
    if found and not found & set(kinds):
        others = sorted(found)
        hint = next((f": read it with {_READ_BY[kind]}" for kind in others if kind in _READ_BY), "")
        raise SourceError(
            f"{source.link.cluster} has no {' or '.join(kinds)} '{source.name}', but a {' and a '.join(others)} "
            f"of that name{hint}"
        )
