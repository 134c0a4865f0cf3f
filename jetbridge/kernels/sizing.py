"""How much travels together: bounded by items and, as far as the size of items is known by now, by bytes."""

from __future__ import annotations


class Sizing:
    """The number of items that may travel together, learnt from those that travelled last.

    Example:
        >>> sizing = Sizing(4096, good_bytes=1_000_000, first=1000)
        >>> sizing.limit
        1000
        >>> sizing.learn(4096, 80_000_000)
        >>> sizing.limit
        51

    Args:
        most_items: The number whatever their size.
        good_bytes: How many bytes they should have together.
        first: The number as long as their size is not known.

    Attributes:
        limit: How many items may be taken now.
    """

    __slots__ = ("_good", "_most", "limit")

    def __init__(self, most_items: int, good_bytes: int, first: int | None = None) -> None:
        self._most, self._good = most_items, good_bytes
        self.limit = most_items if first is None else first

    def learn(self, count: int, size: int) -> None:
        """Some items were encoded as so many bytes."""
        if count:
            self.limit = max(1, min(self._most, self._good * count // max(1, size)))
