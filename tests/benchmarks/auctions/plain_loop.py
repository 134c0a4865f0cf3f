"""The queries as loops over dicts, which is what they come to without any engine."""

from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import chain
from typing import Any

from auctions.event_files import batches, numbers
from jobs import Case

SIZE, STEP = 10_000, 2_000


class Contender:
    """Runs the queries."""

    def __init__(self, parallelism: int) -> None:
        pass

    def run(self, job: str, case: Case) -> Callable[[], Any]:
        """Do a query; the returned function gives its result."""
        rows = getattr(self, job)(chain.from_iterable(batches(case.text)))
        return lambda: numbers(rows)

    def close(self) -> None:
        """Nothing is open."""

    def q1(self, events: Any) -> Any:
        from model import Bid

        return [e._replace(price=e.price * 89 // 100) for e in events if isinstance(e, Bid)]

    def q2(self, events: Any) -> Any:
        from model import Bid

        return [(e.auction, e.price) for e in events if isinstance(e, Bid) and e.auction % 123 == 0]

    def q5(self, events: Any) -> Any:
        from model import Bid

        counts: dict[int, Counter[int]] = defaultdict(Counter)
        for e in events:
            if isinstance(e, Bid):
                last = e.time // STEP * STEP
                for start in range(last - SIZE + STEP, last + 1, STEP):
                    counts[start][e.auction] += 1
        best = ((start, *max(of.items(), key=lambda pair: (pair[1], -pair[0]))) for start, of in counts.items())
        return list(best)

    def q7(self, events: Any) -> Any:
        from model import Bid

        best: dict[int, Any] = {}
        for e in events:
            if isinstance(e, Bid):
                start = e.time // SIZE * SIZE
                if start not in best or e.price > best[start].price:
                    best[start] = e
        return [(start, *bid) for start, bid in best.items()]

    def q8(self, events: Any) -> Any:
        from model import Auction, Person

        people: dict[tuple[int, int], str] = {}
        rows = []
        for e in events:
            start = e.time // SIZE * SIZE
            if isinstance(e, Person):
                people[start, e.id] = e.name
            elif isinstance(e, Auction) and (start, e.seller) in people:  # a person comes before the auctions
                rows.append((start, e.seller, people[start, e.seller], e.id))
        return rows

    def counts(self, events: Any) -> Any:
        from model import Bid

        counts: Counter[tuple[int, int]] = Counter()
        for e in events:
            if isinstance(e, Bid):
                counts[e.time // SIZE * SIZE, e.auction] += 1
        return [(*place, count) for place, count in counts.items()]
