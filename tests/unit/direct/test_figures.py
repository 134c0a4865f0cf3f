"""The figures of a job about its streams: how many items are to be read, and how far event time is."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from jetbridge import Pipeline, testing
from jetbridge.connectors.base import ConnectorContext, Source
from jetbridge_direct.epochs import Epochs
from jetbridge_direct.figures import Figures
from jetbridge_direct.host import JobHost


class Numbers(Source):
    """A stream of as many items as it is long, which gives some and then no more, or ends."""

    kind = "numbers"
    bounded = False

    def __init__(self, name, given, length=None, ends=False):
        super().__init__(name)
        self.given, self.length, self.ends = given, length, ends

    def partitions(self):
        return ["0"]

    def start(self, partition):
        return 0

    def read(self, partition, offset, limit):
        return [*range(offset, self.given)], None if self.ends else self.given

    def position(self, partition, offset):
        assert offset is not None, "which has no position"
        return offset

    def newest(self, partition):
        return self.length


def scripted(*scripts, name="scripted", **more):
    return testing.scripted(*scripts, name=name, times=lambda item: item, **more)


@contextmanager
def running(tmp_path, *stages):
    """The figures of a job, and its epochs; ``stages`` add a source each."""
    pipeline = Pipeline.create()
    for number, stage in enumerate(stages):
        stage(pipeline).write_to(Pipeline.to_list(f"results-{number}"))
    host = JobHost(
        pipeline.plan(), run="run", shards=4, logger="jetbridge.test", job="job", journal=None, most_records=-1
    )
    host.open(lambda stage: ConnectorContext("job", "job", "run", stage, str(tmp_path)))
    epochs = Epochs(host)
    try:
        yield Figures(host, None), epochs
    finally:
        epochs.close()
        host.close()


def read(figures, epochs, name):
    epochs.run()
    return figures.metrics()[name]


def timed(*scripts, **options):
    names = {"name": options.pop("name", "scripted")}
    return lambda pipeline: pipeline.read_from(scripted(*scripts, **names)).with_native_timestamps(**options)


def plain(source):
    return lambda pipeline: pipeline.read_from(source)


def with_times(source, lag=0):
    return lambda pipeline: pipeline.read_from(source).with_timestamps(lambda n: n, allowed_lag=lag)


@pytest.mark.parametrize(
    ("stages", "watermark"),
    [
        ([timed([1_000, 9_000, 4_000], allowed_lag=500)], 8_500),
        ([timed([1_000, 9_000], [7_000])], 7_000),
        ([timed([9_000], name="a"), timed([5_000], name="b")], 5_000),
        ([timed([9_000], name="a"), timed([testing.PAUSE], name="b")], None),
        ([timed([9_000], [testing.PAUSE])], None),
        ([timed([9_000]), plain(Numbers("plain", 3))], 9_000),
        ([timed([9_000]), with_times(Numbers("ended", 3, ends=True))], 9_000),
        ([with_times(Numbers("ended", 3, ends=True))], None),
        ([timed([9_000]), with_times(Pipeline.from_list("batch", [1, 2]))], 9_000),
        ([with_times(Pipeline.from_list("batch", [1, 2]))], None),
        ([plain(Numbers("plain", 3))], None),
    ],
)
def test_the_watermark_is_the_least_of_the_timed_streams_that_have_not_ended(tmp_path, stages, watermark):
    with running(tmp_path, *stages) as (figures, epochs):
        assert figures.metrics()["watermark"] is None, "before the first item"
        assert read(figures, epochs, "watermark") == watermark


def test_a_partition_that_becomes_idle_is_left_out(tmp_path, until):
    with running(tmp_path, timed([9_000], [2_000], idle_timeout=50)) as (figures, epochs):
        read(figures, epochs, "watermark")
        until(lambda: figures.metrics()["watermark"] == 9_000)


@pytest.mark.parametrize(
    ("sources", "lag"),
    [
        ([Numbers("a", 3, 10), Numbers("b", 4, 4), Pipeline.from_list("batch", [1])], 7),
        ([Numbers("silent", 3)], None),
        ([Numbers("ended", 3, 10, ends=True)], 0),
        ([Pipeline.from_list("batch", [1])], None),
    ],
)
def test_the_lag_is_what_the_streams_hold_and_was_not_read(tmp_path, sources, lag):
    with running(tmp_path, *map(plain, sources)) as (figures, epochs):
        assert read(figures, epochs, "lag") == lag
