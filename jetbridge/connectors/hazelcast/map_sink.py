"""A map of a cluster as a sink."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.connectors.base import BadItem, SinkChunk
from jetbridge.connectors.hazelcast import values
from jetbridge.connectors.hazelcast.journal import Entry
from jetbridge.connectors.hazelcast.sinks import ClusterSink
from jetbridge.connectors.memory import checked_name
from jetbridge.errors import ItemError, PipelineError
from jetbridge.kernels.failure import describe, user_traceback
from jetbridge.store import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jetbridge.connectors.hazelcast.cluster import HazelcastCluster

Change = tuple[int, bytes, bytes | None]  # a key's partition hash, the key, and its value or None to remove it


class MapSink(ClusterSink):
    """Puts ``(key, value)`` items into a map; the last write of a key wins, and a value of None removes it.

    Writing again what was written does no harm, so that each guarantee gives the same map.
    With ``merge`` or ``update`` that holds for EXACTLY_ONCE alone: what a chunk
    comes to is kept in the cluster before it is written, and not worked out twice. Nobody else may
    write those keys meanwhile: old values are read, and new ones written a moment later.

    Args:
        name: The map's name.
        merge: Makes one value of the one that is there and the new one; a key that is not there gets
            the new one. None as its result removes the key. As in Jet's ``mapWithMerging``.
        update: Makes a value of the one that is there, or None, and the new one. None as its
            result removes the key. As in Jet's ``mapWithUpdating``.
        cluster: The cluster, or the options of its client; None for that of the client that submits.

    Raises:
        PipelineError: When both functions are given, or one is not callable.
    """

    kind: ClassVar[str] = "hazelcast map"

    def __init__(
        self,
        name: str,
        merge: Callable[[Any, Any], Any] | None = None,
        update: Callable[[Any, Any], Any] | None = None,
        cluster: HazelcastCluster | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(checked_name("map", name), cluster)
        if merge is not None and update is not None:
            raise PipelineError(f"map '{name}': merge and update are two ways to one thing: give one of them")
        for what, function in (("merge", merge), ("update", update)):
            if function is not None and not callable(function):
                raise PipelineError(f"map '{name}': {what} must be callable; got {function!r}")
        self.merge, self.update = merge, update

    def prepare(self, items: list[Any]) -> bytes:
        """The entries as bytes; with a function the values stay as they are, for that."""
        plain = self.merge is None and self.update is None
        content = []
        for index, item in enumerate(items):
            if not isinstance(item, tuple) or len(item) != 2:
                raise BadItem(index, f"a map takes (key, value) tuples; got {type(item).__name__}: map to a pair first")
            key, value = item
            if key is None:
                raise BadItem(index, "a key of a Hazelcast map cannot be None")
            data = self.encoded(index, key)
            kept = value if not plain or value is None else self.encoded(index, value)
            content.append((values.partition_hash(data), data, kept))
        return self.packed(content)

    def write(self, chunk: SinkChunk) -> None:
        """Write a chunk."""
        if self.merge is None and self.update is None:
            self._put({key: (number, value) for number, key, value in self.unpacked(chunk)})
            return
        known = self.journal.entry(chunk.shard)
        if known is not None and known.has_written(chunk.sequence):
            return
        if known is not None and known.has_begun(chunk.sequence):
            changes = decode(known.content)
        else:
            changes = self._changes(self.unpacked(chunk))
            self.journal.begin(chunk.shard, Entry(chunk.sequence, 0, 0, encode(changes)))
        self._put(changes)
        self.journal.done(chunk.shard, chunk.sequence)

    def _put(self, changes: dict[bytes, tuple[int, bytes | None]]) -> None:
        kept = [(key, number, value) for key, (number, value) in changes.items() if value is not None]
        keys = values.keys_of((key, number) for key, number, _ in kept)
        puts = dict(zip(keys, values.data_of(value for _, _, value in kept), strict=True))
        gone = values.keys_of((key, number) for key, (number, value) in changes.items() if value is None)

        def put(client: Any) -> None:
            proxy = client.get_map(self.name)
            for future in [proxy.put_all(puts), *(proxy.delete(key) for key in gone)]:
                future.result()

        if changes:
            self.link.call(put)

    def _changes(self, items: list[tuple[int, bytes, Any]]) -> dict[bytes, tuple[int, bytes | None]]:
        """What some items come to."""
        numbers = {key: number for number, key, _ in items}
        present = self._present(numbers)
        for _, key, value in items:
            try:
                present[key] = self._combined(present[key], value)
            except Exception as error:
                what = "merge" if self.update is None else "update"
                raise ItemError(
                    f"sink '{self.context.stage}': {what} failed: {describe(error)}",
                    stage=self.context.stage,
                    item=repr((present[key], value))[:200],
                    user_traceback=user_traceback(error),
                    cause_type=type(error).__name__,
                ) from error
        return {
            key: (number, None if present[key] is None else self.encoder.encode(present[key]))
            for key, number in numbers.items()
        }

    def _combined(self, old: Any, new: Any) -> Any:
        if self.update is not None:
            return self.update(old, new)
        assert self.merge is not None
        return new if old is None else self.merge(old, new)

    def _present(self, numbers: dict[bytes, int]) -> dict[bytes, Any]:
        def get(client: Any) -> dict[bytes, Any]:
            proxy = client.get_map(self.name)
            futures = dict(zip(numbers, map(proxy.get, values.keys_of(numbers.items())), strict=True))
            return {key: future.result() for key, future in futures.items()}

        return self.link.call(get)
