"""Stateless kernels: a chunk in, a chunk out, at the speed of a list comprehension.

Each has a second way, ``timed``, for chunks whose items carry times.
"""

from __future__ import annotations

import logging
from functools import partial
from itertools import chain, compress, islice
from typing import TYPE_CHECKING, Any

from jetbridge.kernels.failure import FAILURES, at_hand, item_error
from jetbridge.times import TimedItems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

CHUNK_ITEMS = 4096
"""How many items a chunk has at most."""

BLOCK_ITEMS = 256
"""How many items' results a flat_map holds at once."""

Chunk = list[Any]


class MapKernel:
    """Applies a function to each item."""

    def __init__(self, name: str, fn: Callable[[Any], Any]) -> None:
        self.name = name
        self.fn = fn

    def __call__(self, chunk: Chunk) -> Chunk:
        """The results, one for each item."""
        fn, items = self.fn, iter(chunk)
        try:
            return [fn(item) for item in items]
        except FAILURES as error:
            raise item_error("map", self.name, at_hand(chunk, items), error) from error

    def timed(self, chunk: TimedItems) -> TimedItems:
        """The results, each with the time of its item."""
        return TimedItems(self(chunk), chunk.times)


class FilterKernel:
    """Keeps the items for which a predicate is true."""

    def __init__(self, name: str, predicate: Callable[[Any], Any]) -> None:
        self.name = name
        self.predicate = predicate

    def __call__(self, chunk: Chunk) -> Chunk:
        """The items that are kept."""
        predicate, items = self.predicate, iter(chunk)
        try:
            return [item for item in items if predicate(item)]
        except FAILURES as error:
            raise item_error("filter", self.name, at_hand(chunk, items), error) from error

    def timed(self, chunk: TimedItems) -> TimedItems:
        """The items that are kept, with their times."""
        predicate, items = self.predicate, iter(chunk)
        try:
            kept = [predicate(item) for item in items]
            return TimedItems(compress(chunk, kept), list(compress(chunk.times, kept)))
        except FAILURES as error:
            raise item_error("filter", self.name, at_hand(chunk, items), error) from error


class FlatMapKernel:
    """Replaces each item by any number of items, in chunks of bounded size.

    One item may give more than memory holds: results are drawn from the
    user's iterables only as chunks are asked for. Lists and tuples are in
    memory already, so they are simply joined, until the function gives
    something else.
    """

    kind = "flat_map"

    def __init__(self, name: str, fn: Callable[[Any], Iterable[Any]], limit: int = CHUNK_ITEMS) -> None:
        self.name = name
        self.fn = fn
        self.limit = limit
        self._kind: type | None = list  # of the last result; None when results are drawn

    def explode(self, chunk: Chunk) -> Iterator[Chunk]:
        """The results as chunks."""
        limit = self.limit
        out: Chunk = []
        for at in range(0, len(chunk), BLOCK_ITEMS):
            block = chunk[at : at + BLOCK_ITEMS]
            found = self._iterables(block, out)
            if len(out) >= limit:
                full = len(out) - len(out) % limit
                for start in range(0, full, limit):
                    yield out[start : start + limit]
                out = out[full:]
            if not found:
                continue
            block = block[-len(found) :]
            given = iter(found)
            results = chain.from_iterable(given)
            while True:
                try:
                    out.extend(islice(results, limit - len(out)))
                except FAILURES as error:
                    if isinstance(error, TypeError) and "not iterable" in str(error):
                        what = TypeError(f"its function must return an iterable ({error})")
                        error = what.with_traceback(error.__traceback__)
                    raise item_error(self.kind, self.name, at_hand(block, given), error) from error
                if len(out) < limit:
                    break
                yield out
                out = []
        if out:
            yield out

    def explode_timed(self, chunk: TimedItems) -> Iterator[TimedItems]:
        """The results as chunks, each result with the time of its item."""
        fn, limit = self.fn, self.limit
        out = TimedItems()
        times = out.times
        for item, time in zip(chunk, chunk.times, strict=True):
            try:
                got = fn(item)
            except FAILURES as error:
                raise item_error(self.kind, self.name, item, error) from error
            # What is no list may be endless: it is drawn from as its items are needed.
            pieces: Iterable[Any] = (got,)
            if type(got) is not list and type(got) is not tuple:
                drawn = FlatMapKernel(self.name, partial(_given, got), limit)
                drawn.kind = self.kind
                pieces = drawn.explode([item])
            for piece in pieces:
                out += piece
                times += [time] * len(piece)
                while len(out) >= limit:
                    yield TimedItems(out[:limit], times[:limit])
                    del out[:limit], times[:limit]
        if out:
            yield out

    def _iterables(self, block: Chunk, out: Chunk) -> Chunk:
        """Add a block's results to ``out``; gives those of the last items that are still to be drawn."""
        fn, items, kind = self.fn, iter(block), self._kind
        try:
            if kind is not None:
                for item in items:
                    got = fn(item)
                    if type(got) is not kind:
                        if type(got) is not list and type(got) is not tuple:
                            self._kind = None
                            return [got, *[fn(item) for item in items]]
                        kind = self._kind = type(got)
                    out += got
                return []
            # A comprehension, since map() would take a StopIteration of the user's function for the end.
            return [fn(item) for item in items]
        except FAILURES as error:
            raise item_error(self.kind, self.name, at_hand(block, items), error) from error


def _given(result: Iterable[Any], _: Any) -> Iterable[Any]:
    return result


class PeekKernel:
    """Logs items and passes all on."""

    def __init__(
        self,
        name: str,
        logger: str,
        should_log: Callable[[Any], Any] | None = None,
        to_string: Callable[[Any], Any] | None = None,
    ) -> None:
        self.name = name
        self.logger = logging.getLogger(logger)
        self.should_log = should_log
        self.to_string = to_string or repr

    def __call__(self, chunk: Chunk) -> Chunk:
        """The same chunk."""
        items = iter(chunk)
        try:
            for item in items:
                if self.should_log is None or self.should_log(item):
                    self.logger.info("%s: %s", self.name, self.to_string(item))
        except FAILURES as error:
            raise item_error("peek", self.name, at_hand(chunk, items), error) from error
        return chunk

    timed = __call__


class UntimeKernel:
    """Takes the times away."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, chunk: Chunk) -> Chunk:
        """The items alone."""
        return list(chunk)

    timed = __call__
