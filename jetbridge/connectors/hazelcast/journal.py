"""Which chunks a run has written: kept in the cluster, in a map beside the structures, for EXACTLY_ONCE.

An entry for each shard of a sink holds the numbers of the newest chunks, and what a
retry needs to find out whether they were written. Entries go when the job ends.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from jetbridge.errors import JetbridgeError

if TYPE_CHECKING:
    from jetbridge.connectors.base import ConnectorContext
    from jetbridge.connectors.hazelcast.links import Link

MAP = "jetbridge.chunks"
"""The name of the map."""


_SECONDS = 1.0  # how long a cluster that is away is waited for, to forget


class Entry(NamedTuple):
    """What is known of a shard.

    Attributes:
        sequence: The number of the newest chunk that was begun.
        part: The part of what was begun together that was begun last.
        base: Where the structure ended before that; -1 when all of it was written.
        content: What is to be written again, for sinks that cannot work it out twice.
        chunks: How many chunks were begun together: those up to ``sequence``.
    """

    sequence: int
    part: int = 0
    base: int = -1
    content: bytes = b""
    chunks: int = 1

    @property
    def done(self) -> bool:
        """Whether the chunks were written."""
        return self.base < 0

    def has_written(self, sequence: int) -> bool:
        """Whether a chunk was written."""
        return sequence <= (self.sequence if self.done else self.sequence - self.chunks)

    def has_begun(self, sequence: int) -> bool:
        """Whether a chunk was begun, and nobody knows whether it was written."""
        return not self.done and not self.has_written(sequence) and sequence <= self.sequence


class Journal:
    """The journal of one sink of one run.

    Args:
        link: The link to the cluster.
        context: The sink's context.
    """

    def __init__(self, link: Link, context: ConnectorContext) -> None:
        self._link = link
        self._prefix = f"{context.run}/{context.stage}/"
        self._kept = context.exactly_once
        self._entries: dict[str, Entry | None] = {}
        self._changed: set[str] = set()

    def entry(self, shard: str) -> Entry | None:
        """What is known of a shard; None before its first chunk. Without EXACTLY_ONCE nothing is ever known."""
        if not self._kept:
            return None
        if shard not in self._entries:
            key = self._prefix + shard
            found = self._link.call(lambda client: client.get_map(MAP).get(key).result())
            self._entries[shard] = _entry(found)
        return self._entries[shard]

    def begin(self, shard: str, entry: Entry) -> None:
        """Keep that a part is about to be written."""
        if self._kept:
            self._put({shard: entry})
            self._entries[shard] = entry

    def done(self, shard: str, sequence: int) -> None:
        """Remember that a chunk was written, until `flush` keeps it."""
        if self._kept:
            self._entries[shard] = Entry(sequence)
            self._changed.add(shard)

    def flush(self) -> None:
        """Keep which chunks were written."""
        changed = {shard: entry for shard in self._changed if (entry := self._entries[shard]) is not None}
        if changed:
            self._put(changed)
            self._changed.clear()

    def forget(self) -> None:
        """Remove all of the run's sink, as far as the cluster is there."""
        if not self._kept:
            return
        self._kept = False
        with contextlib.suppress(JetbridgeError):
            self._link.call(self._remove, within=_SECONDS)

    def _remove(self, client: object) -> None:
        from hazelcast.predicate import like

        journal = client.get_map(MAP)  # type: ignore[attr-defined]
        run = self._prefix.partition("/")[0]
        found = journal.key_set(like("__key", f"{run}/%")).result()
        for future in [journal.delete(key) for key in found if key.startswith(self._prefix)]:
            future.result()

    def _put(self, entries: dict[str, Entry]) -> None:
        kept = {
            self._prefix + shard: [each.sequence, each.part, each.base, bytearray(each.content), each.chunks]
            for shard, each in entries.items()
        }
        self._link.call(lambda client: client.get_map(MAP).put_all(kept).result())


def _entry(found: list[Any] | None) -> Entry | None:
    if found is None:
        return None
    sequence, part, base, content, *chunks = found
    return Entry(sequence, part, base, bytes(content), *chunks)
