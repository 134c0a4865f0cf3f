"""The integers from 0 as a source that both cores can share, which notes when its first item was read.

A partition holds every twentieth number: as the keys of the jobs are remainders
of divisors that twenty divides, each key's items come out of one partition, in
their order, so that even running sums are those of a plain loop.
"""

from collections.abc import Iterator

from flink.timing import Moment
from jetbridge.connectors import SplittableSource

PARTS = 20
CHUNK = 4_000


def part(number: int, items: int) -> range:
    """The numbers of a partition."""
    return range(number, items, PARTS)


class Numbers(SplittableSource):
    """The source."""

    kind = "numbers"

    def __init__(self, items: int, first: str) -> None:
        super().__init__(name="numbers")
        self.items = items
        self.first = first

    def partitions(self) -> list[str]:
        return [str(number) for number in range(PARTS)]

    def start(self, partition: str) -> int:
        return 0

    def split(self, partition: str, offset: int, limit: int) -> int | None:
        end = offset + limit
        return end if end < self.size(partition) else None

    def read_range(self, partition: str, start: int, end: int | None) -> Iterator[list[int]]:
        Moment(self.first).note()
        numbers = part(int(partition), self.items)[start:end]
        for low in range(0, len(numbers), CHUNK):
            yield list(numbers[low : low + CHUNK])

    def size(self, partition: str) -> int:
        return len(part(int(partition), self.items))

    def position(self, partition: str, offset: int) -> int:
        return offset
