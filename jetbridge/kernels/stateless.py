"""Stateless kernels: a chunk in, a chunk out, at the speed of a list comprehension."""

from __future__ import annotations

import logging
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from jetbridge.kernels.failure import FAILURES, at_hand, item_error

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


class FlatMapKernel:
    """Replaces each item by any number of items, in chunks of bounded size.

    One item may give more than memory holds: results are drawn from the
    user's iterables only as chunks are asked for.
    """

    def __init__(self, name: str, fn: Callable[[Any], Iterable[Any]], limit: int = CHUNK_ITEMS) -> None:
        self.name = name
        self.fn = fn
        self.limit = limit

    def explode(self, chunk: Chunk) -> Iterator[Chunk]:
        """The results as chunks."""
        limit = self.limit
        out: Chunk = []
        for at in range(0, len(chunk), BLOCK_ITEMS):
            block = chunk[at : at + BLOCK_ITEMS]
            given = iter(self._iterables(block))
            results = chain.from_iterable(given)
            while True:
                try:
                    out.extend(islice(results, limit - len(out)))
                except FAILURES as error:
                    if isinstance(error, TypeError) and "not iterable" in str(error):
                        what = TypeError(f"its function must return an iterable ({error})")
                        error = what.with_traceback(error.__traceback__)
                    raise item_error("flat_map", self.name, at_hand(block, given), error) from error
                if len(out) < limit:
                    break
                yield out
                out = []
        if out:
            yield out

    def _iterables(self, block: Chunk) -> Chunk:
        # A comprehension, since map() would take a StopIteration of the user's function for the end.
        fn, items = self.fn, iter(block)
        try:
            return [fn(item) for item in items]
        except FAILURES as error:
            raise item_error("flat_map", self.name, at_hand(block, items), error) from error


class PeekKernel:
    """Logs each item and passes it on."""

    def __init__(self, name: str, logger: str) -> None:
        self.name = name
        self.logger = logging.getLogger(logger)

    def __call__(self, chunk: Chunk) -> Chunk:
        """The same chunk."""
        items = iter(chunk)
        try:
            for item in items:
                self.logger.info("%s: %r", self.name, item)
        except FAILURES as error:
            raise item_error("peek", self.name, at_hand(chunk, items), error) from error
        return chunk
