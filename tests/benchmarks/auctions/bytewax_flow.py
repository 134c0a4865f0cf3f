"""The queries on Bytewax 0.21, in one worker, with its windowing operators, told that the items are in order."""

import operator
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import bytewax.operators as op
import bytewax.operators.windowing as win
from auctions.event_files import batches, numbers
from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.testing import run_main
from contenders.bytewax_flow import _Sink as Sink
from jobs import Case

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
SIZE, STEP = timedelta(seconds=10), timedelta(seconds=2)


class _Part(StatelessSourcePartition[Any]):
    def __init__(self, path: str) -> None:
        self.batches = batches(path)

    def next_batch(self) -> list[Any]:
        return next(self.batches)


class _Source(DynamicSource[Any]):
    def __init__(self, path: str) -> None:
        self.path = path

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Part:
        return _Part(self.path)


def at(event: Any) -> datetime:
    return EPOCH + timedelta(milliseconds=event.time)


def clock() -> Any:
    """Event time as the items of a key have it, which are in order.

    A replay of events of long ago must say that nobody is to be woken at their time, or each key would be at each
    batch, as that time has passed; and its watermark does not move with the clock of the machine.
    """
    return win.EventClock(at, timedelta(0), now_getter=lambda: EPOCH, to_system_utc=lambda time: None)


def one_more(count: int, event: Any) -> int:
    return count + 1


def higher(best: Any, bid: Any) -> Any:
    return bid if best is None or (bid.price, -bid.time) > (best.price, -best.time) else best


class Contender:
    """Runs the queries on Bytewax."""

    def __init__(self, parallelism: int) -> None:
        pass

    def run(self, job: str, case: Case) -> Callable[[], Any]:
        """Do a query; the returned function gives its result."""
        out: list[Any] = []
        flow = Dataflow(job)
        op.output("out", getattr(self, job)(op.input("in", flow, _Source(case.text))), Sink(out))
        run_main(flow)  # type: ignore[no-untyped-call]
        return lambda: numbers(out)

    def close(self) -> None:
        """Nothing is open."""

    def bids(self, events: Any) -> Any:
        from model import Bid

        return op.filter("bids", events, lambda event: isinstance(event, Bid))

    def q1(self, events: Any) -> Any:
        return op.map("euros", self.bids(events), lambda bid: bid._replace(price=bid.price * 89 // 100))

    def q2(self, events: Any) -> Any:
        some = op.filter("some", self.bids(events), lambda bid: bid.auction % 123 == 0)
        return op.map("row", some, lambda bid: (bid.auction, bid.price))

    def q5(self, events: Any) -> Any:
        counted = self.counted(events, win.SlidingWindower(SIZE, STEP, EPOCH))
        # The windows of an input that ends are complete at its end.
        by_window = op.map("by window", counted, lambda row: (str(row[1][0]), (int(row[0]), row[1][1])))
        best = op.max_final("best", by_window, lambda pair: (pair[1], -pair[0]))
        return op.map("row", best, lambda row: (int(row[0]) * 2_000, *row[1]))

    def q7(self, events: Any) -> Any:
        one = op.key_on("one", self.bids(events), lambda bid: "all")
        best = win.fold_window("best", one, clock(), self.tumbling(), lambda: None, higher, higher, ordered=False)
        return op.map("row", best.down, lambda row: (row[1][0] * 10_000, *row[1][1]))

    def q8(self, events: Any) -> Any:
        from model import Auction, Person

        people = op.key_on("id", op.filter("people", events, lambda e: isinstance(e, Person)), lambda e: str(e.id))
        auctions = op.filter("auctions", events, lambda e: isinstance(e, Auction))
        sold = op.key_on("seller", auctions, lambda e: str(e.seller))
        modes: dict[str, Any] = {"insert_mode": "product", "ordered": False}
        both = win.join_window("both", clock(), self.tumbling(), people, sold, **modes)
        pairs = op.filter("whole", both.down, lambda row: None not in row[1][1])
        return op.map("row", pairs, lambda r: (r[1][0] * 10_000, r[1][1][0].id, r[1][1][0].name, r[1][1][1].id))

    def counts(self, events: Any) -> Any:
        return op.map("row", self.counted(events, self.tumbling()), lambda r: (r[1][0] * 10_000, int(r[0]), r[1][1]))

    def counted(self, events: Any, windower: Any) -> Any:
        """Bids by auction; `count_window` is this, but it puts the items in the order of their times first."""
        keyed = op.key_on("auction", self.bids(events), lambda bid: str(bid.auction))
        add = operator.add
        return win.fold_window("count", keyed, clock(), windower, lambda: 0, one_more, add, ordered=False).down

    def tumbling(self) -> Any:
        return win.TumblingWindower(SIZE, EPOCH)
