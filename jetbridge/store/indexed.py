"""What lists and streams have in common: items that have a number each and are stored in chunks."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from jetbridge.store import chunks, structures

if TYPE_CHECKING:
    from collections.abc import Iterator


class Indexed(structures.Stored):
    """A structure whose items can be read by their numbers, as those of a Python list."""

    _what = "items"

    def __contains__(self, item: object) -> bool:
        return any(item in chunk for chunk in self._chunks(0, None))

    def __iter__(self) -> Iterator[Any]:
        """What it has now, a few thousand in memory at a time; it does not wait for more."""
        for chunk in self._chunks(0, None):
            yield from chunk

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> Any: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Any]: ...
    def __getitem__(self, index: SupportsIndex | slice, /) -> Any:
        """What is at an index, or a list of what is in a slice; negative ones count from the end.

        Raises:
            IndexError: When there is nothing at the index.
        """
        if isinstance(index, slice):
            places = range(*index.indices(self.size()))
            if not places:
                return []
            low, high = min(places[0], places[-1]), max(places[0], places[-1]) + 1
            found = [item for chunk in self._chunks(low, high) for item in chunk]
            return found if places.step == 1 else found[:: places.step]
        place = operator.index(index)
        if place < 0:
            place += self.size()
        if place >= 0:
            for chunk in self._chunks(place, place + 1):
                return chunk[0]
        raise IndexError(
            f"{self._kind} {self._name!r} has {self.size()} {self._what}; "
            f"there is none at index {operator.index(index)}"
        )

    def _chunks(self, start: int, end: int | None) -> Iterator[list[Any]]:
        with self._faults():
            yield from chunks.read_with(self._db.reader, self._kind, self._name, start, end)
