"""The queries as one writes them in Beam's Python SDK, on FnApiRunner; its source is fused with what follows."""

from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.window import FixedWindows, SlidingWindows, TimestampedValue
from auctions.event_files import batches, numbers
from contenders import hand_written_beam
from contenders.hand_written_beam import COLLECTED, collect
from jobs import Case

SIZE, STEP = 10, 2  # seconds
Start = beam.DoFn.WindowParam


def read(path: str) -> Iterator[Any]:
    for batch in batches(path):
        for event in batch:
            yield TimestampedValue(event, event.time / 1000)


def is_a(name: str) -> Any:
    return beam.Filter(lambda event: type(event).__name__ == name)


def start_of(window: Any) -> int:
    return round(float(window.start) * 1000)


def q1(events: Any) -> Any:
    return events | is_a("Bid") | beam.Map(lambda bid: bid._replace(price=bid.price * 89 // 100))


def q2(events: Any) -> Any:
    some = events | is_a("Bid") | "some" >> beam.Filter(lambda bid: bid.auction % 123 == 0)
    return some | beam.Map(lambda bid: (bid.auction, bid.price))


def q5(events: Any) -> Any:
    keyed = events | is_a("Bid") | beam.Map(lambda bid: (bid.auction, 1)) | sliding()
    best = beam.CombineGlobally(lambda pairs: max(pairs, key=lambda pair: (pair[1], -pair[0]), default=(0, -1)))
    hottest = keyed | beam.CombinePerKey(sum) | best.without_defaults()
    return hottest | "row" >> beam.Map(lambda pair, window=Start: (start_of(window), *pair))


def q7(events: Any) -> Any:
    highest = beam.CombineGlobally(
        lambda bids: max((b for b in bids if b), key=lambda bid: (bid.price, -bid.time), default=None)
    )
    best = events | is_a("Bid") | fixed() | highest.without_defaults()
    return best | "row" >> beam.Map(lambda bid, window=Start: (start_of(window), *bid))


def q8(events: Any) -> Any:
    people = events | "people" >> is_a("Person") | "id" >> beam.Map(lambda person: (person.id, person.name))
    auctions = events | "auctions" >> is_a("Auction") | "seller" >> beam.Map(lambda each: (each.seller, each.id))

    def rows(group: Any, window: Any = Start) -> Iterator[tuple[int, int, str, int]]:
        key, (names, found) = group
        for name in names:
            for auction in found:
                yield start_of(window), key, name, auction

    sides = people | "in 10 s" >> fixed(), auctions | "in 10 s too" >> fixed()
    return sides | beam.CoGroupByKey() | beam.FlatMap(rows)


def counts(events: Any) -> Any:
    counted = events | is_a("Bid") | beam.Map(lambda bid: (bid.auction, 1)) | fixed() | beam.CombinePerKey(sum)
    return counted | "row" >> beam.Map(lambda pair, window=Start: (start_of(window), *pair))


def fixed() -> Any:
    return beam.WindowInto(FixedWindows(SIZE))


def sliding() -> Any:
    return beam.WindowInto(SlidingWindows(SIZE, STEP))


QUERIES: dict[str, Callable[[Any], Any]] = {fn.__name__: fn for fn in (q1, q2, q5, q7, q8, counts)}


class Contender(hand_written_beam.Contender):
    """Runs the queries on Beam."""

    def run(self, job: str, case: Case) -> Callable[[], Any]:
        """Do a query; the returned function gives its result."""
        COLLECTED.clear()
        pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([]))
        events = pipeline | beam.Create([case.text]) | beam.FlatMap(read)
        _ = QUERIES[job](events) | "collect" >> beam.Map(collect)
        pipeline.run().wait_until_finish()
        return lambda: numbers(COLLECTED)
