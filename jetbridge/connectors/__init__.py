"""The base classes of sources and sinks, for connectors of your own; see `jetbridge.connectors.base`."""

from jetbridge.connectors.base import BadItem, ConnectorContext, Sink, SinkChunk, Source, SplittableSource

__all__ = ["BadItem", "ConnectorContext", "Sink", "SinkChunk", "Source", "SplittableSource"]
