"""The jobs of the Flink benchmarks on jetbridge: durable lists and maps of the data folder, as everywhere."""

import itertools
import time
from pathlib import Path
from typing import Any

import jobs
from live import folder, work

from flink.numbered import Numbers
from flink.timing import Moment, Run
from jetbridge import Client, Pipeline, StreamSource

_numbers = itertools.count()


class NotedStream(StreamSource):
    """A stored stream that notes when its first item was read."""

    def __init__(self, name: str, first: str) -> None:
        super().__init__(name)
        self.first = first

    def read_range(self, partition: str, start: int, end: int | None) -> Any:
        Moment(self.first).note()
        return super().read_range(partition, start, end)


def batch(client: Client, letter: str, items: int, guarantee: str, interval: int) -> Run:
    """One of the bounded jobs: a is map, filter and flat_map; b the sum by key."""
    first, name = _fresh(client, letter)
    pipeline = Pipeline.create()
    stage = pipeline.read_from(Numbers(items, first.path))
    sink: Any
    if letter == "a":
        sink = client.get_list(name)
        stage.map(jobs.triple).filter(jobs.keep).flat_map(jobs.pair).write_to(Pipeline.to_list(name))
    else:
        sink = client.get_map(name)
        grouped = stage.group_by(jobs.key_100)
        grouped.aggregate(accumulator=jobs.add, initial=0, combiner=jobs.add).write_to(Pipeline.to_map(name))
    start = time.monotonic()
    job = client.get_jet().submit(pipeline, folder.config(guarantee, interval))
    folder.until(lambda: sink.size() >= rows(letter, items) or job.is_terminal(), folder.RARELY)
    last = time.monotonic()
    job.join(folder.PATIENCE)
    run = Run(items, start, first.seconds(), last, time.monotonic())
    run.result = lambda: _emptied(sink, sink.get_all() if letter == "a" else dict(sink.entry_set()))
    return run


def rows(letter: str, items: int) -> int:
    """How many results a bounded job has."""
    return 2 * ((items + 1) // 2) if letter == "a" else min(100, items)


def rolling(client: Client, source: str, items: int, keys: int, interval: int) -> Run:
    """Running sums by key, exactly once: a result for each item.

    Args:
        client: The client.
        source: "stream", a stored stream that was filled in advance, or "numbers", which costs next to nothing.
        items: How many items.
        keys: How many keys.
        interval: Milliseconds between checkpoints.
    """
    first, name = _fresh(client, "rolling")
    pipeline = Pipeline.create()
    if source == "stream":
        folder.publish(client, name, range(items))
        stage: Any = pipeline.read_from(NotedStream(name, first.path))
    else:
        stage = pipeline.read_from(Numbers(items, first.path))
    sums = stage.group_by(work.key_of(keys)).rolling_aggregate(accumulator=work.add, initial=0).set_name("sums")
    sums.write_to(Pipeline.to_list(name))
    sink = client.get_list(name)
    start = time.monotonic()
    job = client.get_jet().submit(pipeline, folder.config("EXACTLY_ONCE", interval))
    folder.until(lambda: sink.size() >= items or job.is_terminal(), folder.RARELY)
    last = time.monotonic()
    if source == "stream":
        assert not job.is_terminal(), "a stream has no end"
        job.cancel()
    else:
        job.join(folder.PATIENCE)
    run = Run(items, start, first.seconds(), last, time.monotonic())
    run.result = lambda: _emptied(sink, work.seen(sink))
    return run


def _fresh(client: Client, name: str) -> tuple[Moment, str]:
    """A moment to note and a name that no other run has."""
    name = f"{name}-{next(_numbers)}"
    return Moment(str(Path(client.settings.home) / f"first-{name}")), name


def _emptied(sink: Any, found: Any) -> Any:
    """What was found in a sink, which is then emptied: the next run is not to work beside it."""
    sink.clear()
    return found
