"""Times that a source has for its items."""

from __future__ import annotations

import pytest

from jetbridge import Pipeline, PipelineError, aggregations, windows
from jetbridge.connectors import Source
from jetbridge.times import TimedItems


class Readings(Source):
    """Numbers with times of their own, in two partitions; a stream repeats nothing and never ends."""

    kind = "readings"
    has_times = True

    def __init__(self, count, *, bounded=True, timed=True):
        self.name = "readings"
        self.count = count
        self.bounded = bounded
        self.timed = timed

    def partitions(self):
        return ["0", "1"]

    def start(self, partition):
        return 0

    def read(self, partition, offset, limit):
        end = min(offset + limit, self.count)
        numbers = [2 * n + int(partition) for n in range(offset, end)]
        items = TimedItems(numbers, [n * 10 for n in numbers]) if self.timed else numbers
        return items, None if self.bounded and end == self.count else end


def by_hundred(stage):
    return stage.with_native_timestamps().window(windows.tumbling(1_000)).aggregate(aggregations.counting())


def test_of_a_stream(jet, until):
    pipeline, results = Pipeline.create(), jet.list()
    by_hundred(pipeline.read_from(Readings(5_025, bounded=False))).write_to(Pipeline.to_list(results.name))
    jet.submit(pipeline)
    until(lambda: results.size() >= 100)
    assert sorted((r.start, r.value) for r in results) == [(n * 1_000, 100) for n in range(100)]


@pytest.mark.parametrize("parallelism", [2, 1])
def test_of_a_batch(jet, parallelism):
    results = jet.collect(Readings(5_000), by_hundred)
    assert sorted((r.start, r.value) for r in results) == [(n * 1_000, 100) for n in range(100)]


def test_items_of_a_source_with_times_are_plain_without_them(jet):
    assert sorted(jet.collect(Readings(50))) == list(range(100))


def test_a_source_that_has_none_in_spite_of_what_it_says(fails, says):
    caught = fails(Readings(10, timed=False), lambda s: s.with_native_timestamps())
    says(caught, "no times", "with_timestamps")


def test_what_is_refused_when_it_is_built(says):
    stage = Pipeline.create().read_from(Pipeline.from_list("numbers", [1]))
    with pytest.raises(PipelineError) as caught:
        stage.with_native_timestamps()
    says(caught, "with_native_timestamps", "'numbers'", "no times of its own", "with_timestamps(fn)")
    with pytest.raises(PipelineError) as caught:
        Pipeline.create().read_from(Readings(1)).map(str).with_native_timestamps()
    says(caught, "right behind read_from", "'map'")
    with pytest.raises(PipelineError, match="allowed_lag"):
        Pipeline.create().read_from(Readings(1)).with_native_timestamps(allowed_lag=-1)
