"""A source of items that travel with the job."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.connectors.base import SplittableSource
from jetbridge.errors import PipelineError
from jetbridge.kernels.stateless import CHUNK_ITEMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def checked_name(what: str, name: Any) -> str:
    """A structure's name.

    Raises:
        PipelineError: When it is no text, or empty.
    """
    if not isinstance(name, str) or not name:
        raise PipelineError(
            f"the name of a {what} must be a text that is not empty; got {reprlib.repr(name)} ({type(name).__name__})"
        )
    return name


class ItemsSource(SplittableSource):
    """The items of ``Pipeline.from_list``; offsets are indexes."""

    kind: ClassVar[str] = "items"

    def __init__(self, name: str, items: Iterable[Any]) -> None:
        super().__init__(checked_name("list", name))
        if isinstance(items, (str, bytes, bytearray, Mapping)):
            instead = "list(it.items()) for its entries" if isinstance(items, Mapping) else "[it] for one item"
            raise PipelineError(
                f"from_list '{name}' must be given a list of items; "
                f"got {reprlib.repr(items)} ({type(items).__name__}): give {instead}, or list(it)"
            )
        try:
            self.items = list(items)
        except TypeError as error:
            raise PipelineError(
                f"from_list '{name}' must be given a list of items; "
                f"got {reprlib.repr(items)} ({type(items).__name__}); for a stored list use ListSource(name)"
            ) from error

    def partitions(self) -> Sequence[str]:
        """One."""
        return ["0"]

    def split(self, partition: str, offset: int | None, limit: int) -> int | None:
        """The index ``limit`` items on."""
        end = (offset or 0) + limit
        return end if end < len(self.items) else None

    def read_range(self, partition: str, start: int | None, end: int | None) -> Iterator[list[Any]]:
        """The items between two indexes."""
        stop = len(self.items) if end is None else end
        for at in range(start or 0, stop, CHUNK_ITEMS):
            yield self.items[at : min(at + CHUNK_ITEMS, stop)]

    def at_end(self, partition: str) -> int:
        """The number of items: a snapshot may be started with a longer list."""
        return len(self.items)

    def size(self, partition: str) -> int:
        """The number of items."""
        return len(self.items)

    def position(self, partition: str, offset: int | None) -> int:
        """The index."""
        return offset or 0
