"""What the sinks of a cluster share: chunks of bytes as the cluster keeps them, made beside the user's functions."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.connectors.base import BadItem, ConnectorContext, Sink, SinkChunk
from jetbridge.connectors.hazelcast import values
from jetbridge.connectors.hazelcast.base import OfCluster
from jetbridge.connectors.hazelcast.journal import Journal
from jetbridge.errors import SerializationError

if TYPE_CHECKING:
    from jetbridge.connectors.hazelcast.cluster import HazelcastCluster


class ClusterSink(OfCluster, Sink):
    """A sink that is a structure of a cluster."""

    remembers: ClassVar[bool] = True
    _coder: values.Encoder | None = None
    _journal: Journal | None = None

    def check(self) -> None:
        """See that the cluster answers."""
        try:
            self.objects()
        finally:
            OfCluster.close(self)

    def open(self, context: ConnectorContext) -> None:
        """Get ready to write; the cluster is asked when the first chunk comes."""
        super().open(context)
        self._journal = Journal(self.link, context)

    @property
    def journal(self) -> Journal:
        """The journal, of an open sink."""
        assert self._journal is not None
        return self._journal

    def flush(self) -> None:
        """Keep which chunks were written."""
        self.journal.flush()

    def complete(self) -> None:
        """Forget which chunks were written."""
        self.journal.forget()

    def pause(self) -> None:
        """Leave the cluster; what it knows of the run stays."""
        self._journal = None
        OfCluster.close(self)

    def close(self) -> None:
        """Leave the cluster, which forgets the run."""
        if self._journal is not None:
            self._journal.forget()
        self.pause()

    @property
    def encoder(self) -> values.Encoder:
        """Turns items into bytes."""
        if self._coder is None:
            cluster: HazelcastCluster = self.link.cluster if self.cluster is None else self.cluster
            self._coder = values.Encoder(cluster.client_config())
        return self._coder

    def encoded(self, index: int, item: Any) -> bytes:
        """An item as bytes.

        Raises:
            BadItem: When it cannot be carried.
        """
        try:
            return self.encoder.encode(item)
        except SerializationError as error:
            raise BadItem(index, str(error)) from error

    def packed(self, content: Any) -> bytes:
        """A chunk's payload: what is to be written, and the schemas that the cluster must know for it."""
        return pickle.dumps((self.encoder.schemas, content), protocol=5)

    def unpacked(self, chunk: SinkChunk) -> Any:
        """What is to be written, when the cluster knows its schemas."""
        schemas, content = pickle.loads(chunk.payload)
        if schemas:
            self.link.call(lambda client: values.teach(client, schemas))
        return content

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state.pop("_coder", None)
        state.pop("_journal", None)
        return state


class SetSink(ClusterSink):
    """Adds items to a set; one that is there already stays, so that a repetition does no harm.

    Args:
        name: The set's name.
        cluster: The cluster, or the options of its client; None for that of the client that submits.
    """

    kind: ClassVar[str] = "hazelcast set"

    def prepare(self, items: list[Any]) -> bytes:
        """The items as bytes."""
        return self.packed([self.encoded(index, something(self, index, item)) for index, item in enumerate(items)])

    def write(self, chunk: SinkChunk) -> None:
        """Add a chunk."""
        items = values.data_of(self.unpacked(chunk))
        if items:
            self.link.call(lambda client: client.get_set(self.name).add_all(items).result())


def something(sink: OfCluster, index: int, item: Any) -> Any:
    """The item, if it is one that the cluster can hold.

    Raises:
        BadItem: For None.
    """
    if item is None:
        raise BadItem(index, f"a {sink.kind} cannot hold None: filter it out, or map it to something")
    return item
