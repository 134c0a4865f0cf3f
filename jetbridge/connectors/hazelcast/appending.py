"""Sinks that append: lists, ringbuffers and reliable topics.

The chunks of a commit are appended together, in one call where they are not too many;
the cluster carries a call out whole or not at all. Before it, where the structure ends is
noted: in memory, and with EXACTLY_ONCE in the cluster's journal. When a call was
interrupted, or the process died in it, the items behind that place tell whether it was
carried out. That costs three questions to the cluster for each call, however many items it has.
"""

from __future__ import annotations

import abc
import functools
import logging
import time
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from jetbridge.checks import flag
from jetbridge.connectors.hazelcast import fetching, values
from jetbridge.connectors.hazelcast.journal import Entry
from jetbridge.connectors.hazelcast.links import InterruptedCall
from jetbridge.connectors.hazelcast.sinks import ClusterSink, something
from jetbridge.connectors.hazelcast.stream_source import MOST_AT_ONCE, TOPIC_PREFIX
from jetbridge.connectors.memory import checked_name
from jetbridge.errors import PipelineError, SinkError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jetbridge.connectors.base import ConnectorContext, SinkChunk
    from jetbridge.connectors.hazelcast.cluster import HazelcastCluster

_LOGGER = logging.getLogger("jetbridge")
_PAGE = 4096
MOST_HELD = 1 << 16
"""After how many items the chunks that wait are appended before `flush`."""
_FULL_PAUSE = 0.02


class _Held(NamedTuple):
    """Chunks of a shard that wait to be appended together.

    Attributes:
        items: Their items, as bytes.
        numbers: Their numbers.
    """

    items: list[bytes]
    numbers: list[int]


class AppendingSink(ClusterSink):
    """A sink that appends items, in each shard's order."""

    _waiting: dict[str, _Held] | None = None

    def prepare(self, items: list[Any]) -> bytes:
        """The items as bytes."""
        return self.packed([self.encoded(index, something(self, index, item)) for index, item in enumerate(items)])

    def open(self, context: ConnectorContext) -> None:
        """Get ready; nothing waits."""
        super().open(context)
        self._waiting = {}

    def write(self, chunk: SinkChunk) -> None:
        """Keep a chunk for `flush`, unless the journal tells that it was written; many are appended at once."""
        known = self.journal.entry(chunk.shard)
        if known is not None and known.has_written(chunk.sequence):
            return
        assert self._waiting is not None
        held = self._waiting.setdefault(chunk.shard, _Held([], []))
        held.items.extend(self.unpacked(chunk))
        held.numbers.append(chunk.sequence)
        if known is not None and known.has_begun(chunk.sequence):
            # What was begun together comes again together: only all of it tells whether it was written.
            if chunk.sequence == known.sequence:
                self._append_held(chunk.shard, known)
        elif len(held.items) >= MOST_HELD:
            self._append_held(chunk.shard)

    def flush(self) -> None:
        """Append what waits, and keep which chunks were written."""
        assert self._waiting is not None
        for shard in list(self._waiting):
            self._append_held(shard)
        super().flush()

    def pause(self) -> None:
        """Leave the cluster; what it knows of the run stays, and what waits will come again."""
        self._waiting = None
        super().pause()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state.pop("_waiting", None)
        return state

    def _append_held(self, shard: str, begun: Entry | None = None) -> None:
        assert self._waiting is not None
        items, numbers = self._waiting.pop(shard)
        size = self._most()
        parts = [items[at : at + size] for at in range(0, len(items), size)]
        first = 0 if begun is None else begun.part + self._is_there(parts[begun.part], begun.base)
        for number in range(first, len(parts)):
            self._append_once(shard, Entry(numbers[-1], number, chunks=len(numbers)), parts[number])
        self.journal.done(shard, numbers[-1])

    def _append_once(self, shard: str, entry: Entry, items: list[bytes]) -> None:
        while True:
            base = self._end()
            self.journal.begin(shard, entry._replace(base=base))
            try:
                self._append(items)
                return
            except InterruptedCall:
                if self._is_there(items, base):
                    return

    @abc.abstractmethod
    def _most(self) -> int:
        """How many items one call may append."""

    @abc.abstractmethod
    def _end(self) -> int:
        """Where the next item will stand."""

    @abc.abstractmethod
    def _append(self, items: list[bytes]) -> None:
        """Append items in one call that is not repeated.

        Raises:
            InterruptedCall: When nobody knows whether it was carried out.
        """

    @abc.abstractmethod
    def _is_there(self, items: list[bytes], base: int) -> bool:
        """Whether the items stand, one behind the other, at a place or behind it."""


class ListSink(AppendingSink):
    """Appends items to a list.

    With EXACTLY_ONCE each item is there once, whatever dies. One case is decided by looking: when
    the process or the cluster dies during a call, the items at the list's end tell whether it was carried
    out. So while a job recovers nobody else may remove items from the list, or append the very same ones.

    Args:
        name: The list's name.
        clear: Empty the list at a fresh start of the job.
        cluster: The cluster, or the options of its client; None for that of the client that submits.
    """

    kind: ClassVar[str] = "hazelcast list"

    def __init__(
        self, name: str, clear: bool = False, cluster: HazelcastCluster | Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(checked_name("list", name), cluster)
        self.clear = flag("hazelcast_list", "clear", clear)

    def open(self, context: ConnectorContext) -> None:
        """Empty the list when asked; say so when it is not empty."""
        super().open(context)
        if not context.fresh:
            return
        if self.clear:
            self.link.call(lambda client: client.get_list(self.name).clear().result())
        elif size := self._end():
            _LOGGER.info("list '%s' holds %d items already; this job appends (clear=True empties it)", self.name, size)

    def _most(self) -> int:
        return MOST_HELD

    def _end(self) -> int:
        return int(self.link.call(lambda client: client.get_list(self.name).size().result()))

    def _append(self, items: list[bytes]) -> None:
        data = values.data_of(items)
        self.link.call(lambda client: client.get_list(self.name).add_all(data).result(), repeat=False)

    def _is_there(self, items: list[bytes], base: int) -> bool:
        size = self._end()
        found: list[bytes] = []
        # Never before the base: equal items that stand there are of an earlier call.
        for at in range(base, size, _PAGE):
            stop = min(at + _PAGE, size)
            page = self.link.call(functools.partial(self._page, at, stop))
            found += [bytes(each.buffer) for each in page]
        return _holds(found, items)

    def _page(self, start: int, stop: int, client: Any) -> list[Any]:
        return list(fetching.list_items(client.get_list(self.name), start, stop).result())


class RingbufferSink(AppendingSink):
    """Adds items to a ringbuffer, which overwrites its oldest ones when it is full.

    With EXACTLY_ONCE each item is added once, whatever dies. One case is decided by looking: when the
    process or the cluster dies during a call, the items behind the place where the ringbuffer ended tell whether
    it was carried out. So nobody else may add the very same ones at that moment; and when
    so much was added meanwhile that they would be overwritten, the job fails.

    Args:
        name: The ringbuffer's name.
        when_full: ``"overwrite"`` the oldest items, or ``"wait"`` until some have expired (where the
            ringbuffer has a time to live; without one it is never full).
        cluster: The cluster, or the options of its client; None for that of the client that submits.

    Raises:
        PipelineError: For another word for ``when_full``.
    """

    kind: ClassVar[str] = "hazelcast ringbuffer"
    _wraps: ClassVar[bool] = False
    _capacity: int | None = None

    def __init__(
        self,
        name: str,
        when_full: str = "overwrite",
        cluster: HazelcastCluster | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(checked_name("ringbuffer", name), cluster)
        if when_full not in ("overwrite", "wait"):
            raise PipelineError(f"ringbuffer '{name}': when_full must be 'overwrite' or 'wait'; got {when_full!r}")
        self.when_full = when_full

    @property
    def _buffer(self) -> str:
        return TOPIC_PREFIX + self.name if self._wraps else self.name

    def _most(self) -> int:
        if self._capacity is None:
            self._capacity = self.link.call(lambda client: client.get_ringbuffer(self._buffer).capacity().result())
        return min(self._capacity, MOST_AT_ONCE)

    def _end(self) -> int:
        return int(self.link.call(lambda client: client.get_ringbuffer(self._buffer).tail_sequence().result())) + 1

    def _append(self, items: list[bytes]) -> None:
        from hazelcast.proxy.ringbuffer import OVERFLOW_POLICY_FAIL, OVERFLOW_POLICY_OVERWRITE

        policy = OVERFLOW_POLICY_OVERWRITE if self.when_full == "overwrite" else OVERFLOW_POLICY_FAIL
        messages = [self._message(each) for each in values.data_of(items)]
        deadline = time.monotonic() + self.link.cluster.again_seconds
        while True:
            last = self.link.call(
                lambda client: client.get_ringbuffer(self._buffer).add_all(messages, policy).result(), repeat=False
            )
            if last >= 0:
                return
            if time.monotonic() > deadline:
                raise SinkError(
                    f"{self.kind} '{self.name}' (capacity {self._capacity}) stayed full for "
                    f"{self.link.cluster.again_seconds:g} s: give it a larger capacity or a shorter time to live"
                )
            time.sleep(_FULL_PAUSE)

    def _message(self, data: Any) -> Any:
        if not self._wraps:
            return data
        from hazelcast.serialization.objects import ReliableTopicMessage

        return ReliableTopicMessage(time.time(), None, data)

    def _is_there(self, items: list[bytes], base: int) -> bool:
        end, at = self._end(), base
        found: list[bytes] = []
        overwritten = False
        while at < end:
            count = min(self._most(), end - at)
            first, page = self.link.call(functools.partial(self._page, at, count))
            overwritten |= first > at
            found += [bytes(each.buffer) for each in page]
            at = first + len(page) if page else end
        wrap = 0
        if self._wraps:  # what a message has before its payload
            wrap = len(self.encoder.encode(self._message(*values.data_of(items[:1])))) - len(items[0])
        if _holds([each[wrap:] for each in found], items):
            return True
        if overwritten:
            raise SinkError(
                f"{self.kind} '{self.name}': whether {len(items)} items were added before an interruption cannot be "
                "told, since what was added behind them has overwritten them: give it a larger capacity"
            )
        return False

    def _page(self, start: int, count: int, client: Any) -> tuple[int, list[Any]]:
        return fetching.ring_items(client.get_ringbuffer(self._buffer), start, count)


class ReliableTopicSink(RingbufferSink):
    """Publishes items to a reliable topic, which its listeners get, and those who read it as a stream.

    With EXACTLY_ONCE each item is published once; see `RingbufferSink`, since a topic is kept in one.

    Args:
        name: The topic's name.
        when_full: ``"wait"`` until messages have expired, as the client does (where the topic's
            ringbuffer has a time to live; without one it is never full), or ``"overwrite"`` the oldest ones.
        cluster: The cluster, or the options of its client; None for that of the client that submits.
    """

    kind: ClassVar[str] = "hazelcast reliable topic"
    _wraps: ClassVar[bool] = True

    def __init__(
        self, name: str, when_full: str = "wait", cluster: HazelcastCluster | Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(name, when_full, cluster)

    def open(self, context: ConnectorContext) -> None:
        """Make the topic known to the cluster."""
        super().open(context)
        self.link.call(lambda client: client.get_reliable_topic(self.name))


def _holds(found: Sequence[bytes], items: list[bytes]) -> bool:
    """Whether items stand in a row."""
    first, count = items[0], len(items)
    return any(each == first and list(found[at : at + count]) == items for at, each in enumerate(found))
