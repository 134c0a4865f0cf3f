"""Payloads with their place in the order: Flink's batch mode sorts by key alone, and not stably."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HEAD = struct.Struct(">HQ")


def stamped(place: str, sequence: int, payload: bytes) -> bytes:
    """A payload with where it comes from, and its number among those from there."""
    name = place.encode("utf-8", "surrogatepass")
    return _HEAD.pack(len(name), sequence) + name + payload


def in_order(payloads: Iterable[bytes]) -> Iterator[bytes]:
    """The payloads of one shard without their stamps: those from one place in their order.

    Example:
        >>> list(in_order([stamped("a", 1, b"y"), stamped("b", 0, b"z"), b"", stamped("a", 0, b"x")]))
        [b'x', b'y', b'z']

    Args:
        payloads: Stamped payloads; an empty one has no stamp and says nothing.
    """
    found = []
    for data in payloads:
        if data:
            length, sequence = _HEAD.unpack_from(data)
            start = _HEAD.size + length
            found.append((data[_HEAD.size : start], sequence, data[start:]))
    found.sort()  # no two are alike in both parts of their stamps
    for _, _, payload in found:
        yield payload
