"""Where a partition stands on Flink, and what tells that what was read is still there."""

from __future__ import annotations

import contextlib
import itertools
from types import SimpleNamespace

import pytest

from jetbridge import Pipeline, sources
from jetbridge.connectors import ConnectorContext, intake
from jetbridge.errors import SnapshotError
from jetbridge.kernels.segment import SegmentKernel
from jetbridge.plan.fuse import fuse
from jetbridge.store import Database, values
from jetbridge_flink import envelopes, standing, transforms
from jetbridge_flink.reading import Parts, Position, PositionTracker, Slices
from jetbridge_flink.transforms import FIGURES, ReadFn
from jetbridge_flink.work import JobSpec, MarkedError

CONTEXT = ConnectorContext(job_id="job", job_name="job", run="run", stage="read", home=".")
SPEC = JobSpec("", "job", "job", "run", "start", "EXACTLY_ONCE", 4, False)


class Estimator:
    """A watermark that does not move."""

    def current_watermark(self):
        return None


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("".join(f"line {n}\n" for n in range(1_000)))
    return path


@pytest.fixture
def reader(file, monkeypatch):
    """Makes a ReadFn of a text file, in a worker of its own."""

    def make():
        pipeline = Pipeline.create()
        pipeline.read_from(sources.text(file)).set_name("read").write_to(Pipeline.to_list("r"))
        plan = pipeline.plan()
        segments = {segment.root.id: segment for segment in fuse(plan)}
        (node,) = plan.sources
        node.source.open(CONTEXT)
        job = SimpleNamespace(
            nodes={each.id: each for each in plan.nodes},
            segments=segments,
            kernel=lambda node_id: SegmentKernel(segments[node_id], 4, "jetbridge.job"),
            source=lambda node: node.source,
        )
        monkeypatch.setattr(transforms, "work", lambda spec: job)
        fn = ReadFn(SPEC, node.id)
        fn.plan = plan
        fn.setup()
        fn.start_bundle()
        return fn

    return make


def run(fn, restriction):
    """A bundle; gives the restriction of the rest, and what was output."""
    tracker = PositionTracker(restriction)
    tracker.defer_remainder = lambda later: None
    outputs = list(fn.process(("a", b""), tracker=tracker, estimator=Estimator()))
    return tracker.current_restriction(), outputs


def test_a_position_without_anything_kept_can_be_read():
    before = values.encode((7, False, "run", 3, {}, {}, {}))
    assert Position.decoded(before) == Position(7, False, "run", 3)
    assert Position.decoded(Position(7, kept=[5, "x"]).encoded()).kept == [5, "x"]


def test_a_file_that_changed_is_refused_and_one_that_has_ended_is_not(file):
    slices = Slices(sources.text(file), str(file))
    position = slices.kept(Position(20))
    slices.check(position)
    file.write_text("a header\n" + file.read_text())
    with pytest.raises(SnapshotError, match="are not those that they were"):
        slices.check(position)
    slices.check(Position(20))
    slices.check(slices.kept(Position(20, ended=True, kept=position.kept)))


def test_a_bundle_leaves_what_tells_that_the_file_is_the_same(file, reader, tmp_path, monkeypatch):
    ticks = itertools.count()
    # a bundle is a slice or two
    monkeypatch.setattr(transforms, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 50, sleep=lambda _: None))
    name, fn = str(file), reader()
    rest, outputs = run(fn, Parts({name: Position(0, run="run")}).encoded())
    (position,) = Parts.decoded(rest).values()
    assert position.kept[0] == position.offset > 0
    (told,) = (envelopes.opened(output.value) for output in outputs if output.tag == FIGURES)
    tmp_path.chmod(0o700)
    with contextlib.closing(Database.open(tmp_path)) as db:
        with db.transaction() as tx:
            intake.note(tx, *told)
        body = standing.body(db.reader(), fn.plan, "run", 4, tmp_path / "savepoint")
    assert body["sources"]["read"]["partitions"] == {name: [position.offset, False, {}, position.kept]}
    rest, _ = run(reader(), rest)
    assert Parts.decoded(rest)[name].offset > position.offset
    file.write_text("a header\n" + file.read_text())
    with pytest.raises(MarkedError) as caught:
        run(reader(), rest)
    assert "are not those that they were" in str(caught.value.__cause__)
