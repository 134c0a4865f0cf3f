"""What the stream benchmarks do: numbers, their keys, and the running sum of each key.

Every contender calls these functions, so that what is measured is what
happens between the calls.
"""

import hashlib
from collections.abc import Callable, Iterable
from itertools import chain
from operator import itemgetter
from typing import Any

SPREAD = 7919  # a prime: neighbours in the input are not neighbours in the keys


def key_of(keys: int) -> Callable[[int], int]:
    """The key of a number."""

    def key(x: int) -> int:
        return (x * SPREAD) % keys

    return key


def add(total: int, x: int) -> int:
    """The running sum."""
    return total + x


class Seen:
    """What came out, in a form in which it can be compared: (key, running sum) pairs.

    Attributes:
        count: How many pairs.
        total: The sum of all running sums: it changes when one item is folded twice, not at all, or at another place.
        last: The last running sum of each key.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self.last: dict[Any, int] = {}

    def take(self, pairs: list[tuple[Any, int]]) -> None:
        """Take the next pairs."""
        self.count += len(pairs)
        self.total += sum(map(itemgetter(1), pairs))
        self.last.update(pairs)

    def digest(self) -> str:
        """A fingerprint, the same for all contenders."""
        pairs = sorted((str(key), int(value)) for key, value in self.last.items())
        data = "\n".join(chain((f"{self.count} {self.total}",), (f"{key} {value}" for key, value in pairs))).encode()
        return f"{self.count}:{hashlib.blake2b(data, digest_size=8).hexdigest()}"


def seen(pairs: Iterable[tuple[Any, int]], at_once: int = 4096) -> Seen:
    """All that an iterable has."""
    result = Seen()
    held: list[tuple[Any, int]] = []
    for pair in pairs:
        held.append(pair)
        if len(held) >= at_once:
            result.take(held)
            held = []
    result.take(held)
    return result
