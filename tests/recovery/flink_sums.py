"""The jobs that the recovery tests of Flink feed, disturb and count: running sums of a stream, and sums of a batch."""

from __future__ import annotations

from collections import Counter
from typing import Any

from jetbridge import JobConfig, Pipeline, ProcessingGuarantee, StreamSource

KEYS = 50


def config(name: str, **more: Any) -> JobConfig:
    """Exactly once, with a checkpoint every half second."""
    return JobConfig(
        name=name, **{"processing_guarantee": ProcessingGuarantee.EXACTLY_ONCE, "snapshot_interval_millis": 500, **more}
    )


def sums(name: str, *, stages: int = 0) -> Pipeline:
    """Running sums by key of the stream in-NAME, behind any number of stages without state, to the list out-NAME."""
    pipeline = Pipeline.create()
    stage = pipeline.read_from(StreamSource(f"in-{name}")).set_name("events")
    for number in range(stages):
        stage = stage.map(lambda x: x).set_name(f"same-{number}")
    totals = stage.group_by(lambda x: x % KEYS).rolling_aggregate(accumulator=lambda total, x: total + x, initial=0)
    totals.set_name("sums").write_to(Pipeline.to_list(f"out-{name}")).set_name("results")
    return pipeline


def expected(count: int) -> Counter[tuple[int, int]]:
    """What the list holds when the stream has the numbers up to a count."""
    totals: dict[int, int] = {}
    rows: Counter[tuple[int, int]] = Counter()
    for x in range(count):
        totals[x % KEYS] = totals.get(x % KEYS, 0) + x
        rows[x % KEYS, totals[x % KEYS]] += 1
    return rows


def totals(name: str) -> Pipeline:
    """Sums by key of 20,000 numbers, to the map NAME."""
    pipeline = Pipeline.create()
    numbers = pipeline.read_from(Pipeline.from_list("numbers", list(range(20_000)))).map(lambda x: x + 1)
    numbers.group_by(lambda x: x % 10).aggregate(accumulator=lambda total, x: total + x, initial=0).write_to(
        Pipeline.to_map(name)
    )
    return pipeline


TOTALS = {key: sum(x for x in range(1, 20_001) if x % 10 == key) for key in range(10)}
