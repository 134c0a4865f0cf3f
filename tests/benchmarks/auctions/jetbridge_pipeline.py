"""The queries of examples/nexmark as they are, on the Direct runner."""

from collections.abc import Callable, Iterator
from typing import Any

from auctions.event_files import BATCH, batches, numbers
from contenders import jetbridge_pipeline
from jobs import Case

from jetbridge import Pipeline
from jetbridge.connectors import SplittableSource


class Events(SplittableSource):
    """A file of events, of which all cores may read a part."""

    kind = "events"

    def __init__(self, path: str, items: int) -> None:
        super().__init__(name="events")
        self.path, self.items = path, items

    def partitions(self) -> list[str]:
        return ["0"]

    def start(self, partition: str) -> int:
        return 0

    def split(self, partition: str, offset: int, limit: int) -> int | None:
        end = offset + -(-limit // BATCH) * BATCH
        return end if end < self.items else None

    def read_range(self, partition: str, start: int, end: int | None) -> Iterator[list[Any]]:
        yield from batches(self.path, start // BATCH, None if end is None else end // BATCH)

    def size(self, partition: str) -> int:
        return self.items

    def position(self, partition: str, offset: int) -> int:
        return offset


def built(job: str, source: Events, sink: str) -> Pipeline:
    """A query from a source of events to a list."""
    from bidding import counts, q5, q7
    from filters import q1, q2
    from people import q8

    queries = {"q1": q1, "q2": q2, "q5": q5, "q7": q7, "q8": q8, "counts": counts}
    pipeline = Pipeline.create()
    events = pipeline.read_from(source)
    if job not in ("q1", "q2"):  # these need no time, and the others are given none either
        events = events.with_timestamps(lambda event: event.time)
    queries[job](events).write_to(Pipeline.to_list(sink, clear=True))
    return pipeline


class Contender(jetbridge_pipeline.Contender):
    """Runs the queries on a client with a data folder of its own."""

    def run(self, job: str, case: Case) -> Callable[[], Any]:
        """Submit a query and wait for its end; the returned function gives its result."""
        sink = f"{job}-{case.items}"
        pipeline = built(job, Events(case.text, case.items), sink)
        self.client.get_jet().submit(pipeline).join()
        return lambda: numbers(self.client.get_list(sink).get_all())
