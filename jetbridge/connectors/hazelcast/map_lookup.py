"""Looking keys up in a map of a cluster, for ``map_using_map``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.connectors.hazelcast.base import OfCluster
from jetbridge.connectors.memory import checked_name
from jetbridge.services import Lookup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jetbridge.connectors.base import ConnectorContext
    from jetbridge.connectors.hazelcast.cluster import HazelcastCluster


class MapLookup(OfCluster, Lookup):
    """A map of a cluster; one that nobody has written is empty.

    The keys of a chunk are asked for in one call, and what was found is kept in each
    worker for the ``ttl`` of the stage: that is the near cache.

    Example:
        >>> MapLookup("airlines").name
        'airlines'

    Args:
        name: The map's name.
        cluster: The cluster, or the options of its client; None for that of the client that submits.
    """

    kind: ClassVar[str] = "hazelcast map"

    def __init__(self, name: str, cluster: HazelcastCluster | Mapping[str, Any] | None = None) -> None:
        super().__init__(checked_name("map", name), cluster)

    def open(self, context: ConnectorContext) -> None:
        """Connect.

        Raises:
            ConnectionError: When the cluster does not answer.
        """
        self.link.client()

    def get_many(self, keys: Sequence[Any]) -> list[Any]:
        """The values as the cluster has them, each at a moment of its own."""
        found = self.link.call(lambda client: client.get_map(self.name).get_all(list(keys)).result())
        return [found.get(key) for key in keys]
