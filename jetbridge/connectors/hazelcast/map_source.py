"""A map of a cluster as a batch source."""

from __future__ import annotations

import reprlib
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.connectors.base import SplittableSource
from jetbridge.connectors.hazelcast import fetching, values
from jetbridge.connectors.hazelcast.base import OfCluster, refuse_other
from jetbridge.connectors.memory import checked_name
from jetbridge.errors import SerializationError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jetbridge.connectors.hazelcast.cluster import HazelcastCluster

PAGE = 2048
"""How many entries are asked for at once."""
_AHEAD = 4  # partitions whose first page is asked for before it is needed


class MapSource(OfCluster, SplittableSource):
    """A batch source of a map's entries, as ``(key, value)``.

    It is read by the cluster's partitions, and each in pages, so that memory does not
    grow with the map. An offset is the number of a partition of the cluster. Entries that
    nobody touches while the job reads come exactly once; one that is put, changed or
    removed meanwhile is seen before or after that, and after a failure, when a part is
    read again, perhaps otherwise than before.

    Args:
        name: The map's name.
        cluster: The cluster, or the options of its client; None for that of the client that submits.
    """

    kind: ClassVar[str] = "hazelcast map"

    def __init__(self, name: str, cluster: HazelcastCluster | Mapping[str, Any] | None = None) -> None:
        super().__init__(checked_name("map", name), cluster)

    def check(self) -> None:
        """See that the cluster answers, and that the name means no other structure."""
        try:
            refuse_other(self, "map")
        finally:
            self.close()

    def partitions(self) -> Sequence[str]:
        """One."""
        return ["0"]

    def start(self, partition: str) -> int:
        """The first partition of the cluster."""
        return 0

    def split(self, partition: str, offset: int, limit: int) -> int | None:
        """So many of the cluster's partitions on that they hold about ``limit`` entries."""
        count = self._count()
        end = offset + max(1, limit * count // max(1, self._entries()))
        return end if end < count else None

    def read_range(self, partition: str, start: int, end: int | None) -> Iterator[list[Any]]:
        """The entries of some partitions of the cluster, in pages."""
        numbers = iter(range(start, self._count() if end is None else end))
        asked: deque[tuple[int, Any]] = deque()
        while True:
            while len(asked) < _AHEAD and (number := next(numbers, None)) is not None:
                asked.append((number, self._ask(number, fetching.first())))
            if not asked:
                return
            number, future = asked.popleft()
            pointers = fetching.first()
            while True:
                pointers, entries = self._page(number, pointers, future)
                future = None if fetching.is_last(pointers) else self._ask(number, pointers)
                if entries:
                    yield self._items(entries)
                if future is None:
                    break

    def size(self, partition: str) -> int:
        """The number of entries when it was first asked for: what is read may be a little more or less."""
        return self._entries()

    def position(self, partition: str, offset: int) -> int:
        """About how many entries were read."""
        return self._entries() * offset // max(1, self._count())

    def close(self) -> None:
        """Leave the cluster."""
        super().close()
        self._known = None

    _known: tuple[int, int] | None = None

    def _count(self) -> int:
        return self._about()[0]

    def _entries(self) -> int:
        return self._about()[1]

    def _about(self) -> tuple[int, int]:
        if self._known is None:

            def ask(client: Any) -> tuple[int, int]:
                size = client.get_map(self.name).size().result()
                return client.partition_service.get_partition_count(), size

            self._known = self.link.call(ask)
        return self._known

    def _ask(self, number: int, pointers: fetching.Pointers) -> Any:
        return self.link.call(lambda client: fetching.fetch(client.get_map(self.name), number, pointers, PAGE))

    def _page(self, number: int, pointers: fetching.Pointers, asked: Any) -> Any:
        """A page that was asked for; asked for again when the cluster has gone away meanwhile."""
        waiting = [asked]

        def take(client: Any) -> Any:
            future = waiting.pop() if waiting else fetching.fetch(client.get_map(self.name), number, pointers, PAGE)
            return future.result()

        return self.link.call(take)

    def _items(self, entries: list[tuple[Any, Any]]) -> list[Any]:
        def read(client: Any) -> list[Any]:
            try:
                keys = values.read(client, [key for key, _ in entries])
                return list(zip(keys, values.read(client, [value for _, value in entries]), strict=True))
            except Exception as error:
                raise self._unreadable(client, entries, error) from error

        return self.link.call(read)

    def _unreadable(self, client: Any, entries: list[tuple[Any, Any]], error: Exception) -> Exception:
        for key, value in entries:
            try:
                [found] = values.read(client, [key])
            except Exception as problem:
                return SourceError(f"map '{self.name}': a key cannot be read: {_why(problem)}")
            try:
                values.read(client, [value])
            except Exception as problem:
                return SerializationError(
                    f"map '{self.name}': the value of key {reprlib.repr(found)} cannot be read: {_why(problem)}"
                )
        return error


def _why(error: Exception) -> str:
    return error.args[0] if error.args and isinstance(error.args[0], str) else f"{type(error).__name__}: {error}"
