"""What the names of a pipeline mean for a client of a cluster: structures of that cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from jetbridge.connectors import embedded
from jetbridge.connectors.base import Sink, Source
from jetbridge.connectors.hazelcast.appending import ListSink
from jetbridge.connectors.hazelcast.base import OfCluster
from jetbridge.connectors.hazelcast.list_source import ListSource
from jetbridge.connectors.hazelcast.map_lookup import MapLookup
from jetbridge.connectors.hazelcast.map_sink import MapSink
from jetbridge.connectors.hazelcast.map_source import MapSource
from jetbridge.connectors.hazelcast.stream_source import StreamSource
from jetbridge.connectors.lookup import StoredMapLookup

if TYPE_CHECKING:
    from jetbridge.connectors.hazelcast.cluster import HazelcastCluster
    from jetbridge.services import Lookup

Connector = TypeVar("Connector", Source, Sink)


def bound(connector: Connector, cluster: HazelcastCluster) -> Connector:
    """The structure of a cluster that a source or sink stands for; itself if it stands for none."""
    kind = type(connector)
    found: object = connector
    if isinstance(connector, OfCluster):
        found = connector.bound(cluster)
    elif kind is embedded.ListSource:
        found = ListSource(connector.name, cluster=cluster)
    elif kind is embedded.MapSource:
        found = MapSource(connector.name, cluster=cluster)
    elif isinstance(connector, embedded.StreamSource):
        found = StreamSource(connector.name, initial_position=connector.initial_position, cluster=cluster)
    elif isinstance(connector, embedded.ListSink):
        found = ListSink(connector.name, clear=connector.clear, cluster=cluster)
    elif kind is embedded.MapSink:
        found = MapSink(connector.name, cluster=cluster)
    return found  # type: ignore[return-value]


def bound_lookup(lookup: Lookup, cluster: HazelcastCluster) -> Lookup:
    """The map of a cluster that a look-up by name stands for; itself if it stands for none."""
    if isinstance(lookup, MapLookup):
        return lookup.bound(cluster)
    return MapLookup(lookup.name, cluster) if type(lookup) is StoredMapLookup else lookup
