"""A ringbuffer or a reliable topic of a cluster as a source that never ends."""

from __future__ import annotations

import functools
import logging
import time
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.connectors.base import SplittableSource
from jetbridge.connectors.hazelcast.base import OfCluster, refuse_other
from jetbridge.connectors.memory import checked_name
from jetbridge.errors import PipelineError, SerializationError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jetbridge.connectors.hazelcast.cluster import HazelcastCluster

TOPIC_PREFIX = "_hz_rb_"
"""A reliable topic is kept in the ringbuffer of its name with this before it."""

MOST_AT_ONCE = 999
"""How many items the client reads or adds at once."""

_LOOK_SECONDS = 0.2  # between looks at what structures there are
_QUIET_SECONDS = 0.01  # for which a stream that had nothing new is not asked again
_AHEAD = 8  # batches that are asked for at once
_KINDS = ("ringbuffer", "reliable topic")
_LOGGER = logging.getLogger("jetbridge")


Place = tuple[str, int]
"""An offset: which ringbuffer, or "" before it is known whether the name is that of a ringbuffer or a topic; and the
number of the next item, or -1 for the oldest that is there."""


class StreamSource(OfCluster, SplittableSource):
    """A source of the items of a ringbuffer, or of a reliable topic's messages, which never ends.

    Offsets are sequence numbers, so that it can be read again from any of them, as
    long as the items are there: a ringbuffer overwrites its oldest ones. Of a name that neither a
    ringbuffer nor a topic has yet, the first of both that gets an item is read.

    Args:
        name: The name of a ringbuffer or a reliable topic.
        kind_of: "ringbuffer" or "reliable topic", or None to find out.
        initial_position: ``"earliest"`` for all that is there, ``"latest"``
            for what is added from the submit on.
        overwritten: What to do about items that were overwritten before they were read:
            ``"fail"``, with an error that names them, or ``"skip"`` them and log how many they were.
        cluster: The cluster, or the options of its client; None for that of the client that submits.

    Raises:
        PipelineError: For another position or another word for ``overwritten``.
    """

    kind: ClassVar[str] = "hazelcast stream"
    bounded: ClassVar[bool] = False
    _known: tuple[float, list[str]] | None = None
    _quiet: tuple[Place, float] | None = None

    def __init__(
        self,
        name: str,
        kind_of: str | None = None,
        initial_position: str = "earliest",
        overwritten: str = "fail",
        cluster: HazelcastCluster | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(checked_name("stream", name), cluster)
        for what, given, allowed in (
            ("initial_position", initial_position, ("earliest", "latest")),
            ("overwritten", overwritten, ("fail", "skip")),
        ):
            if given not in allowed:
                raise PipelineError(f"stream '{name}': {what} must be {' or '.join(map(repr, allowed))}; got {given!r}")
        self.initial_position = initial_position
        self.overwritten = overwritten
        self._buffers = {"ringbuffer": (name,), "reliable topic": (TOPIC_PREFIX + name,)}.get(
            str(kind_of), (name, TOPIC_PREFIX + name)
        )
        self._kinds = _KINDS if kind_of is None else (kind_of,)
        self._latest: dict[str, int] | None = None

    def check(self) -> None:
        """See that the cluster answers, and that the name means no other structure."""
        try:
            refuse_other(self, *self._kinds)
        finally:
            self.close()

    def submitted(self, home: str) -> None:
        """Fix what ``"latest"`` means."""
        if self.initial_position == "latest":
            try:
                self._latest = {buffer: self._next(buffer) for buffer in self._existing()}
            finally:
                self.close()

    def partitions(self) -> Sequence[str]:
        """One."""
        return ["0"]

    def start(self, partition: str) -> Place:
        """Before the first item to read."""
        if self.initial_position == "latest" and self._latest is None:
            self._latest = {buffer: self._next(buffer) for buffer in self._existing()}
        if len(self._buffers) == 1:
            return self._begin(self._buffers[0])
        return "", -1

    def split(self, partition: str, offset: Place, limit: int) -> Place:
        """A number ``limit`` items on, as far as there are any; ``offset`` itself when there is nothing new."""
        if self._quiet is not None and self._quiet[0] == offset and time.monotonic() < self._quiet[1]:
            return offset
        following = self._found(limit) if not offset[0] else self._following(offset, limit)
        if following is None or following == offset:
            self._quiet = offset, time.monotonic() + _QUIET_SECONDS
            return offset
        return following

    def read_range(self, partition: str, start: Place, end: Place | None) -> Iterator[list[Any]]:
        """The items between two numbers."""
        buffer, last = end or self.split(partition, start, MOST_AT_ONCE)
        if not buffer:
            return
        _, at = start if start[0] else self._begin(buffer)
        at = self._oldest(buffer) if at < 0 else at
        while at < last:
            stop = min(last, at + _AHEAD * MOST_AT_ONCE)
            yield self._read(buffer, at, stop)
            at = stop

    def position(self, partition: str, offset: Place) -> int:
        """The number itself."""
        return max(0, offset[1])

    def newest(self, partition: str) -> int:
        """The number that the next item will have, of the longer one while it is not known which is read."""
        return max((self._next(buffer) for buffer in self._existing()), default=0)

    def _found(self, limit: int) -> Place | None:
        """The first of both buffers that has an item."""
        for buffer in self._existing():
            begin = self._begin(buffer)
            following = self._following(begin, limit)
            if following != begin:
                return following
        return None

    def _begin(self, buffer: str) -> Place:
        return buffer, (self._latest or {}).get(buffer, -1)

    def _following(self, place: Place, limit: int) -> Place:
        buffer, at = place
        following = self._next(buffer)
        if at < 0 and following:
            at = self._oldest(buffer)
        if at > following:
            raise self._vanished(at, following)
        return place if at in (-1, following) else (buffer, min(at + limit, following))

    def _existing(self) -> Sequence[str]:
        """The buffers that there are; asking for others would make them."""
        if len(self._buffers) == 1:
            return self._buffers
        now = time.monotonic()
        if self._known is not None and now - self._known[0] < _LOOK_SECONDS:
            return self._known[1]
        found = self.objects()
        topic = "reliable topic" in found.get(self.name, set()) or "ringbuffer" in found.get(self._buffers[1], set())
        own = "ringbuffer" in found.get(self.name, set())
        self._known = now, [buffer for buffer, there in zip(self._buffers, (own, topic), strict=True) if there]
        return self._known[1]

    def _next(self, buffer: str) -> int:
        return int(self.link.call(lambda client: client.get_ringbuffer(buffer).tail_sequence().result())) + 1

    def _oldest(self, buffer: str) -> int:
        return int(self.link.call(lambda client: client.get_ringbuffer(buffer).head_sequence().result()))

    def _read(self, buffer: str, start: int, stop: int) -> list[Any]:
        """The items from one number to another, in batches that are asked for together."""

        def ask(client: Any) -> list[tuple[int, Any]]:
            ring = client.get_ringbuffer(buffer)
            most = min(MOST_AT_ONCE, ring.capacity().result())
            futures = [(at, ring.read_many(at, 0, min(most, stop - at))) for at in range(start, stop, most)]
            return [(at, future.result()) for at, future in futures]

        try:
            answers = self.link.call(ask)
        except SerializationError as error:
            raise self._unreadable(buffer, start, stop, error) from error
        items: list[Any] = []
        reached = start
        for at, answer in answers:
            first = answer.next_sequence_to_read_from - answer.read_count
            if first < at or at > reached:
                break  # it begins anew, or the answer before this one was short
            if first > reached:
                self._lose(buffer, reached, min(first, stop))
                reached = min(first, stop)
            upto = min(first + answer.read_count, stop)
            items += [_item(answer[sequence - first]) for sequence in range(reached, upto)]
            reached = max(reached, upto)
        if reached == start:
            raise self._vanished(start, self._next(buffer))
        return items if reached == stop else items + self._read(buffer, reached, stop)

    def _lose(self, buffer: str, start: int, stop: int) -> None:
        capacity = self.link.call(lambda client: client.get_ringbuffer(buffer).capacity().result())
        said = (
            f"stream '{self.name}': items {start} to {stop - 1} were overwritten before they were read "
            f"({stop - start} items; the ringbuffer's capacity is {capacity})"
        )
        if self.overwritten == "fail":
            raise SourceError(f"{said}: give it a larger capacity, or overwritten='skip' to go on without them")
        _LOGGER.warning("%s; they are skipped", said)

    def _vanished(self, read: int, following: int) -> SourceError:
        return SourceError(
            f"stream '{self.name}' was read up to item {read}, and the next one would be {following}: it was "
            "destroyed, or the cluster lost it, and begins anew; start the job afresh"
        )

    def _unreadable(self, buffer: str, start: int, stop: int, error: SerializationError) -> SerializationError:
        for sequence in range(start, stop):
            try:
                self.link.call(functools.partial(_read_one, buffer, sequence))
            except SerializationError as problem:
                return SerializationError(f"stream '{self.name}': item {sequence} cannot be read: {problem}")
        return error


def _item(item: Any) -> Any:
    return item.payload if type(item).__name__ == "ReliableTopicMessage" else item


def _read_one(buffer: str, sequence: int, client: Any) -> Any:
    return client.get_ringbuffer(buffer).read_one(sequence).result()
