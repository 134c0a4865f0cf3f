"""What is refused of Beam transforms before anything is started."""

from __future__ import annotations

import apache_beam as beam
import pytest

from jetbridge import Pipeline, PipelineError, StreamSource
from jetbridge.jobs.packing import with_copies
from jetbridge_flink import launch


def plan(transform, source):
    pipeline = Pipeline.create()
    pipeline.read_from(source).apply_beam(transform).set_name("beam").write_to(Pipeline.to_list("out"))
    return with_copies(pipeline.plan())


STREAM, BATCH = StreamSource("in"), Pipeline.from_list("in", [1])


@pytest.mark.parametrize("guarantee", ["NONE", "EXACTLY_ONCE"])
@pytest.mark.parametrize(
    ("transform", "source"),
    [
        (beam.Map(abs), STREAM),
        (beam.Map(abs), BATCH),
        (beam.Distinct(), BATCH),
        (beam.WindowInto(beam.window.FixedWindows(5)) | beam.Distinct(), STREAM),
    ],
)
def test_what_beam_can_apply_is_taken(transform, source, guarantee):
    launch.check(plan(transform, source), guarantee)


@pytest.mark.parametrize(
    ("transform", "source", "why"),
    [
        (beam.Distinct(), STREAM, "unbounded"),
        (beam.Partition(lambda n, _: n, 2), STREAM, "one PCollection; got DoOutputsTuple"),
        (beam.Partition(lambda n, _: n, 2), BATCH, "one PCollection; got DoOutputsTuple"),
    ],
)
def test_what_beam_cannot_is_refused_with_the_stages_name(transform, source, why):
    with pytest.raises(PipelineError, match=f"apply_beam 'beam': .*{why}"):
        launch.check(plan(transform, source), "NONE")
