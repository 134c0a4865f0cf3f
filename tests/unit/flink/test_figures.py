"""What a reader tells of a stream with times, and the metrics that are made of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator

from jetbridge import Pipeline, StreamSource, testing
from jetbridge.connectors import intake
from jetbridge.kernels.segment import SegmentKernel
from jetbridge.plan.fuse import fuse
from jetbridge.store import Database
from jetbridge.times import BEGINNING
from jetbridge_flink import envelopes, transforms
from jetbridge_flink.figures import JobFigures
from jetbridge_flink.reading import PositionTracker
from jetbridge_flink.transforms import FIGURES, PartitionsFn, ReadFn
from jetbridge_flink.work import JobSpec

RUN = "run"


@pytest.fixture
def db(tmp_path):
    tmp_path.chmod(0o700)
    db = Database.open(tmp_path)
    yield db
    db.close()


def note(db, *pairs):
    with db.transaction() as tx:
        for pair in pairs:
            told = envelopes.opened(pair)
            intake.note(tx, told.run, told.place, told.version, told.body)


def plan(*stages):
    pipeline = Pipeline.create()
    for number, stage in enumerate(stages):
        stage(pipeline).write_to(Pipeline.to_list(f"results-{number}"))
    return pipeline.plan()


def stream(name):
    return lambda pipeline: pipeline.read_from(StreamSource(name)).with_timestamps(int)


def watermark(source, time, *, ended=False):
    return envelopes.watermark(RUN, source, time, ended=ended)


def untimed(pipeline):
    return pipeline.read_from(StreamSource("untimed"))


def batch(pipeline):
    return pipeline.read_from(Pipeline.from_list("batch", [1])).with_timestamps(int)


@pytest.mark.parametrize(
    ("told", "least"),
    [
        ([], None),
        ([watermark("a", 9_000)], None),
        ([watermark("a", 9_000), watermark("b", BEGINNING)], None),
        ([watermark("a", 9_000), watermark("b", 5_000)], 5_000),
        ([watermark("a", 9_000), watermark("b", 5_000, ended=True)], 9_000),
        ([watermark("a", 9_000), envelopes.no_figures(RUN, envelopes.whole("b"))], 9_000),
        ([watermark("a", 9_000, ended=True), watermark("b", 5_000, ended=True)], None),
        ([watermark("a", 9_000), watermark("a", 8_000), watermark("b", 9_500)], 9_000),
    ],
)
def test_the_watermark_is_the_least_of_the_timed_streams_that_have_not_ended(db, told, least):
    figures = JobFigures(plan(stream("a"), stream("b"), untimed, batch), RUN)
    note(db, *told)
    assert figures.metrics(db.reader())["watermark"] == least


def test_a_job_without_timestamps_has_none(db):
    assert JobFigures(plan(untimed), RUN).metrics(db.reader())["watermark"] is None


@pytest.mark.parametrize(
    ("parts", "lag"),
    [
        ([], None),
        ([(None, None), (None, 5)], None),
        ([(10, None)], None),  # it has ended
        ([(10, 7), (4, 4), (None, 3)], 3),
    ],
)
def test_the_lag_is_what_the_streams_hold_and_was_not_read(db, parts, lag):
    bodies = [{"counts": {}, "newest": newest, "position": at, "size": None} for newest, at in parts]
    note(db, *(envelopes.figures(RUN, f"untimed/{number}", 1, body) for number, body in enumerate(bodies)))
    assert JobFigures(plan(untimed), RUN).metrics(db.reader())["lag"] == lag


class Reader:
    """The DoFn that reads a source, over a tracker and an estimator of its own."""

    def __init__(self, monkeypatch, stage):
        self.plan = plan(stage)
        [node] = self.plan.sources
        segments = {segment.root.id: segment for segment in fuse(self.plan)}
        job = SimpleNamespace(
            nodes={each.id: each for each in self.plan.nodes},
            segments=segments,
            kernel=lambda node_id: SegmentKernel(segments[node_id], 4, "jetbridge.job"),
            source=lambda node: node.source,
        )
        monkeypatch.setattr(transforms, "work", lambda spec: job)
        spec = JobSpec("", "job", "job", RUN, "start", "NONE", 4, True)
        partitions = PartitionsFn(spec, node.id)
        partitions.setup()
        [self.element] = partitions.process(None)
        self.parts = self.element[1]
        self.estimator = ManualWatermarkEstimator(None)
        self.fn = ReadFn(spec, node.id)
        self.fn.setup()

    def figures(self):
        """What one bundle tells."""
        self.fn.start_bundle()
        tracker = PositionTracker(self.parts)
        outputs = list(self.fn.process(self.element, _Splittable(tracker), self.estimator))
        self.parts = tracker.current_restriction()
        return [output.value for output in outputs if output.tag == FIGURES]


class _Splittable:
    """As Beam shows a tracker to a DoFn."""

    def __init__(self, tracker):
        self.current_restriction = tracker.current_restriction
        self.try_claim = tracker.try_claim

    def defer_remainder(self, time):
        """The rest is read by the next bundle."""


def test_a_reader_tells_the_watermark_that_it_has_emitted(db, monkeypatch, until):
    source = testing.scripted([1_000, 9_000, testing.PAUSE, 8_000], [5_000], times=lambda item: item)
    reader = Reader(monkeypatch, lambda pipeline: pipeline.read_from(source).with_native_timestamps(allowed_lag=500))
    figures = JobFigures(reader.plan, RUN)

    def reached():
        note(db, *reader.figures())
        return figures.metrics(db.reader())["watermark"]

    until(lambda: reached() == 4_500)
    assert reader.estimator.current_watermark() == transforms.beam_time(4_500)
    reader.fn._slices["1"].heard -= 61  # seconds: so it is idle
    assert reached() == 8_500, "though nothing was read"
    assert figures.metrics(db.reader())["received"] == 3
    assert reader.figures() == [], "nothing is new"
    source.release()
    until(lambda: reached() == 8_500 and figures.metrics(db.reader())["received"] == 4)


def test_a_reader_of_a_stream_without_times_tells_none(monkeypatch):
    reader = Reader(monkeypatch, lambda pipeline: pipeline.read_from(testing.scripted([1, 2])))
    assert {envelopes.opened(pair).place for pair in reader.figures()} == {"scripted/0"}
