"""The queries of Nexmark as one writes them on PyFlink's DataStream API: for `pyflink_job`, with its Python.

Each of its parallel sources reads a part of the file of events itself.
"""

import io
import pickle
import struct
import time
from collections import namedtuple
from pathlib import Path
from zlib import crc32

from pyflink.common import Time, Types, WatermarkStrategy
from pyflink.common.watermark_strategy import TimestampAssigner
from pyflink.datastream import FlatMapFunction
from pyflink.datastream.functions import AggregateFunction, ProcessWindowFunction
from pyflink.datastream.window import SlidingEventTimeWindows, TumblingEventTimeWindows

SIZE, STEP = Time.seconds(10), Time.seconds(2)
TIMED = ("q5", "q7", "q8", "counts")
LENGTH = struct.Struct("<I")
ANY = Types.PICKLED_BYTE_ARRAY()

Person = namedtuple("Person", "id name city state time")
Auction = namedtuple("Auction", "id seller category reserve time expires")
Bid = namedtuple("Bid", "auction bidder price time")


class Events(pickle.Unpickler):
    """Reads events as those of this module: their own needs packages that are not here."""

    def find_class(self, module, name):
        """One of the three."""
        return {"Person": Person, "Auction": Auction, "Bid": Bid}[name]


class Read(FlatMapFunction):
    """Gives every so-many-th batch of a file, beginning with one."""

    def __init__(self, path, parts, first):
        self.path, self.parts, self.first = path, parts, first

    def flat_map(self, part):
        """All events of these batches."""
        note = Path(self.first)
        if not note.exists():
            note.write_text(str(time.monotonic()))
        number = 0
        with open(self.path, "rb") as file:
            while head := file.read(LENGTH.size):
                [size] = LENGTH.unpack(head)
                if number % self.parts == part:
                    yield from Events(io.BytesIO(file.read(size))).load()
                else:
                    file.seek(size, 1)
                number += 1


class ByTime(TimestampAssigner):
    """The time of an event."""

    def extract_timestamp(self, value, record_timestamp):
        """In milliseconds."""
        return value.time


class Count(AggregateFunction):
    """How many there are."""

    def create_accumulator(self):
        """None yet."""
        return 0

    def add(self, value, accumulator):
        """One more."""
        return accumulator + 1

    def get_result(self, accumulator):
        """The count."""
        return accumulator

    def merge(self, acc_a, acc_b):
        """Both."""
        return acc_a + acc_b


class Counted(ProcessWindowFunction):
    """A window's start, key and count."""

    def process(self, key, context, elements):
        """One row."""
        yield context.window().start, key, next(iter(elements))


class Highest(ProcessWindowFunction):
    """A window's start and its one bid."""

    def process(self, key, context, elements):
        """One row."""
        yield (context.window().start, *next(iter(elements)))


class NewSellers(ProcessWindowFunction):
    """A person of a window, with each of the auctions."""

    def process(self, key, context, elements):
        """A row for each auction."""
        events = list(elements)
        names = [each.name for each in events if type(each) is Person]
        for name in names:
            for each in events:
                if type(each) is Auction:
                    yield context.window().start, key, name, each.id


def number(row):
    """A row as a number, for the comparison."""
    return crc32(repr(tuple(row)).encode())


def bids(events):
    """The bids among the events."""
    return events.filter(lambda event: type(event) is Bid)


def counted(events, window):
    """How many bids each auction got in each window."""
    by_auction = bids(events).key_by(lambda bid: bid.auction, Types.LONG())
    return by_auction.window(window).aggregate(Count(), Counted(), Types.LONG(), ANY)


def q1(events):
    """Prices of bids in euros."""
    return bids(events).map(lambda bid: bid._replace(price=bid.price * 89 // 100), ANY)


def q2(events):
    """Bids for some auctions."""
    some = bids(events).filter(lambda bid: bid.auction % 123 == 0)
    return some.map(lambda bid: (bid.auction, bid.price), ANY)


def q5(events):
    """Hot items, in sliding windows."""
    rows = counted(events, SlidingEventTimeWindows.of(SIZE, STEP)).key_by(lambda row: row[0], Types.LONG())
    more = lambda left, right: max(left, right, key=lambda row: (row[2], -row[1]))  # noqa: E731
    return rows.window(TumblingEventTimeWindows.of(STEP)).reduce(more)


def q7(events):
    """Highest bids, in tumbling windows; the one key is that of all bids."""
    windows = bids(events).key_by(lambda bid: 0, Types.LONG()).window(TumblingEventTimeWindows.of(SIZE))
    higher = lambda left, right: max(left, right, key=lambda bid: (bid.price, -bid.time))  # noqa: E731
    return windows.reduce(higher, Highest(), ANY)


def q8(events):
    """New users, a join in windows."""
    sides = events.filter(lambda event: type(event) is not Bid)
    keyed = sides.key_by(lambda event: event.id if type(event) is Person else event.seller, Types.LONG())
    return keyed.window(TumblingEventTimeWindows.of(SIZE)).process(NewSellers(), ANY)


def counts(events):
    """Bids by auction, in tumbling windows."""
    return counted(events, TumblingEventTimeWindows.of(SIZE))


def rows(env, spec, first):
    """The rows of a query as numbers."""
    parts = env.from_collection(list(range(spec["parallelism"])), Types.LONG())
    events = parts.rebalance().flat_map(Read(spec["events"], spec["parallelism"], first), ANY)
    if spec["job"] in TIMED:
        timed = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(ByTime())
        events = events.assign_timestamps_and_watermarks(timed)
    queries = {"q1": q1, "q2": q2, "q5": q5, "q7": q7, "q8": q8, "counts": counts}
    return queries[spec["job"]](events).map(number, Types.LONG())
