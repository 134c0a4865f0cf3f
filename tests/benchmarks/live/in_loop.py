"""Running sums in a plain Python loop, without any durability: what the interpreter costs, for orientation."""

from collections.abc import Callable
from typing import Any

from live import work


class Contender:
    """Runs in this process."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._keys = spec["keys"]

    def prepare(self, items: int) -> None:
        """Nothing is needed."""

    def run(self, items: int) -> Callable[[], work.Seen]:
        """Do it."""
        key, add, seen = work.key_of(self._keys), work.add, work.Seen()
        totals: dict[int, int] = {}
        count = grand_total = 0
        for x in range(items):
            k = key(x)
            totals[k] = total = add(totals.get(k, 0), x)
            grand_total += total
            count += 1
        seen.count, seen.total, seen.last = count, grand_total, totals
        return lambda: seen

    def close(self) -> None:
        """Nothing is open."""
