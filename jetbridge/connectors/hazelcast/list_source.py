"""A list of a cluster as a batch source."""

from __future__ import annotations

import functools
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.connectors.base import SplittableSource
from jetbridge.connectors.hazelcast import fetching, values
from jetbridge.connectors.hazelcast.base import OfCluster, refuse_other
from jetbridge.connectors.memory import checked_name
from jetbridge.errors import JetbridgeError, SerializationError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jetbridge.connectors.hazelcast.cluster import HazelcastCluster

PAGE = 2048
"""How many items are asked for at once."""
_AHEAD = 3  # pages that are asked for before they are needed


class ListSource(OfCluster, SplittableSource):
    """A batch source of a list's items, in their order.

    It reads what the list holds when the job starts; what is added behind that is left to
    a later run. Items that are removed, or inserted before others, while the job reads move
    those behind them, so that some are read twice or not at all; a list that became
    shorter than what is still to be read fails the job.

    Args:
        name: The list's name.
        cluster: The cluster, or the options of its client; None for that of the client that submits.
    """

    kind: ClassVar[str] = "hazelcast list"

    def __init__(self, name: str, cluster: HazelcastCluster | Mapping[str, Any] | None = None) -> None:
        super().__init__(checked_name("list", name), cluster)

    def check(self) -> None:
        """See that the cluster answers, and that the name means no other structure."""
        try:
            refuse_other(self, "list")
        finally:
            self.close()

    def partitions(self) -> Sequence[str]:
        """One."""
        return ["0"]

    def start(self, partition: str) -> tuple[int, int]:
        """The first index and the end, which is fixed now."""
        return 0, self._length()

    def split(self, partition: str, offset: tuple[int, int], limit: int) -> tuple[int, int] | None:
        """The index ``limit`` items on."""
        at, end = offset
        return (at + limit, end) if at + limit < end else None

    def read_range(self, partition: str, start: tuple[int, int], end: tuple[int, int] | None) -> Iterator[list[Any]]:
        """The items between two indexes."""
        stop = start[1] if end is None else end[0]
        places = iter(range(start[0], stop, PAGE))
        asked: deque[tuple[int, int, Any]] = deque()
        while True:
            while len(asked) < _AHEAD and (at := next(places, None)) is not None:
                asked.append((at, min(at + PAGE, stop), self._ask(at, min(at + PAGE, stop))))
            if not asked:
                return
            yield self._page(*asked.popleft())

    def size(self, partition: str) -> int:
        """The number of items."""
        return self._length()

    def position(self, partition: str, offset: tuple[int, int]) -> int:
        """The index."""
        return offset[0]

    def _length(self) -> int:
        return int(self.link.call(lambda client: client.get_list(self.name).size().result()))

    def _ask(self, start: int, stop: int) -> Any:
        return self.link.call(lambda client: fetching.list_items(client.get_list(self.name), start, stop))

    def _page(self, start: int, stop: int, asked: Any) -> list[Any]:
        waiting = [asked]

        def take(client: Any) -> list[Any]:
            future = waiting.pop() if waiting else fetching.list_items(client.get_list(self.name), start, stop)
            return values.read(client, future.result())

        try:
            return self.link.call(take)
        except SerializationError as error:
            raise self._unreadable(start, stop, error) from error
        except JetbridgeError as error:
            if "IndexOutOfBounds" in type(error.__cause__).__name__:
                raise SourceError(
                    f"list '{self.name}' has become shorter while it was read: items {start} to {stop} are not there "
                    "any more; start the job afresh"
                ) from error
            raise

    def _item(self, index: int, client: Any) -> Any:
        return client.get_list(self.name).get(index).result()

    def _unreadable(self, start: int, stop: int, error: SerializationError) -> SerializationError:
        for index in range(start, stop):
            try:
                self.link.call(functools.partial(self._item, index))
            except SerializationError as problem:
                return SerializationError(f"list '{self.name}': item {index} cannot be read: {problem}")
        return error
