"""Sources of given items, and of items that come at a rate."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.connectors.base import Source
from jetbridge.connectors.memory import ItemsSource
from jetbridge.errors import PipelineError
from jetbridge.times import TimedItems

if TYPE_CHECKING:
    from collections.abc import Sequence


def items(*values: Any, name: str = "items") -> Source:
    """A batch source of some items; that of Jet's TestSources.

    Example:
        >>> from jetbridge import Pipeline
        >>> pipeline = Pipeline.create()
        >>> _ = pipeline.read_from(items(1, 2, 3)).map(lambda n: n * n).write_to(Pipeline.to_list("squares"))
        >>> from jetbridge.testing import run_kernels
        >>> run_kernels(pipeline)
        {'squares': [1, 4, 9]}

    Args:
        values: The items.
        name: The source's name.
    """
    return ItemsSource(name, values)


def item_stream(rate: float, *, name: str = "item_stream", start: int | None = None) -> Source:
    """A stream of ``(timestamp, sequence)`` at a steady rate; that of Jet's TestSources.

    An item's native time is its timestamp, which is when it was due, so a
    restart gives the same items again.

    Example:
        >>> from jetbridge import testing
        >>> ticks = testing.item_stream(rate=10, start=0)
        >>> ticks.read("0", 0, 3)
        ([(0, 0), (100, 1), (200, 2)], 3)

    Args:
        rate: Items a second.
        name: The source's name.
        start: The time of item 0, in milliseconds since 1970; without it, when the job is submitted.

    Raises:
        PipelineError: When the rate is not positive.
    """
    if not rate > 0:
        raise PipelineError(f"item_stream's rate must be more than 0 items a second; got {rate!r}")
    return ItemStream(name, rate, start)


class ItemStream(Source):
    """The source of `item_stream`; offsets are sequence numbers."""

    kind: ClassVar[str] = "item_stream"
    bounded: ClassVar[bool] = False
    has_times: ClassVar[bool] = True

    def __init__(self, name: str, rate: float, start: int | None) -> None:
        super().__init__(name)
        self.rate = rate
        self.begin = start

    def submitted(self, home: str) -> None:
        """Item 0 is due now, unless another time was given."""
        if self.begin is None:
            self.begin = int(time.time() * 1000)

    def partitions(self) -> Sequence[str]:
        """One."""
        return ["0"]

    def start(self, partition: str) -> int:
        """Item 0."""
        return 0

    def read(self, partition: str, offset: int, limit: int) -> tuple[list[Any], int]:
        """The items that are due."""
        begin = self.begin or 0
        due = int((time.time() * 1000 - begin) * self.rate / 1000)
        end = max(offset, min(offset + limit, due))
        times = [begin + int(number * 1000 / self.rate) for number in range(offset, end)]
        return TimedItems(zip(times, range(offset, end), strict=True), times), end
