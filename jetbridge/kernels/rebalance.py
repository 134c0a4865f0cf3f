"""Rebalancing: items dealt to shards anew, and passed on from there."""

from __future__ import annotations

import random
from math import gcd
from typing import TYPE_CHECKING, Any

from jetbridge.kernels.keyed import KeyedKernel, Keys, Splitter, State, decode, encode
from jetbridge.kernels.stateful import ItemsSplitter
from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.times import Held, TimedItems, cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECES = 16
"""To how many shards the items of a chunk go, at the most."""


def stride(shards: int) -> int:
    """How far apart two shards are that follow each other, so that few of them already cover the whole range.

    It visits every shard before it comes back, and stands at the golden section, where any run of visits is
    spread about as evenly as can be.

    Example:
        >>> stride(128), [number * stride(8) % 8 for number in range(8)]
        (79, [0, 5, 2, 7, 4, 1, 6, 3])
    """
    wanted = shards * (5**0.5 - 1) / 2
    return min((n for n in range(1, shards + 1) if gcd(n, shards) == 1), key=lambda n: abs(n - wanted))


class DealingSplitter(Splitter):
    """Deals items to one shard after another, a piece of a chunk to each, as ``[(items, times or None), …]``."""

    def __init__(self, shards: int) -> None:
        self._shards = shards
        # Bundles may hold an item each: if all began at one shard, it would get everything.
        self._next = random.randrange(shards)
        # Neighbours live in one process: those that follow each other must be far apart.
        self._stride = stride(shards)
        self._parts: dict[int, list[Any]] = {}

    def add(self, chunk: list[Any]) -> None:
        """Deal a chunk."""
        for piece in cut(chunk, -(-len(chunk) // PIECES) or 1):
            times = piece.times if isinstance(piece, TimedItems) else None
            self._parts.setdefault(self._next, []).append((list(piece), times))
            self._next = (self._next + self._stride) % self._shards
        self.size += len(chunk)

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """The parts of each shard."""
        parts, self._parts, self.size = self._parts, {}, 0
        for shard, part in parts.items():
            yield shard, encode(part)


class RebalanceKernel(KeyedKernel):
    """Passes items on, and keeps nothing."""

    kind = "rebalance"
    ends = False

    def __init__(self, name: str, key_fn: Callable[[Any], Any] | None) -> None:
        super().__init__(name)
        self.key_fn = key_fn

    def splitter(self, shards: int, port: int = 0) -> Splitter:
        """A splitter that deals items, or sends them by their key."""
        if self.key_fn is None:
            return DealingSplitter(shards)
        return ItemsSplitter(Keys(self.kind, self.name, self.key_fn, shards), drops_late=False)

    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """Pass the items on."""
        content = decode(payload)
        if self.key_fn is not None:
            _, groups, _, times_of = content
            content = zip(groups, [None] * len(groups) if times_of is None else times_of, strict=True)
        held = Held()
        for items, times in content:
            for piece in cut(items if times is None else TimedItems(items, times), CHUNK_ITEMS):
                if len(held) + len(piece) > CHUNK_ITEMS:
                    yield held.take()
                held.add(piece)
        if held:
            yield held.take()
