"""The translation of a plan to Beam transforms, the same for every runner.

Each segment's root is a transform: a read, a keyed stage, or the user's own.
The stateless stages below it run inside it. Between transforms travel pairs:
``(shard, payload)`` to a stage with state, ``(number, payload)`` to a sink or a
Beam transform. How a source is read, state is kept and a sink is written is the
runner's, as a set of DoFns.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

import apache_beam as beam
from apache_beam import typehints
from apache_beam.transforms.window import GlobalWindows

from jetbridge.beam.naming import label
from jetbridge.errors import PipelineError
from jetbridge.kernels.failure import describe
from jetbridge.kernels.keyed import decode
from jetbridge.plan.ends import BeamNode, SinkNode, SourceNode
from jetbridge.plan.keyed import KeyedNode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from apache_beam.options.pipeline_options import PipelineOptions

    from jetbridge.plan.base import Node
    from jetbridge.plan.fuse import Segment
    from jetbridge.plan.graph import Plan

Pair = typehints.Tuple[int, bytes]


class Hosting(Protocol):
    """What a runner brings to the translation. The DoFns tag their output with the exit's index.

    Attributes:
        extra: The tags of what a runner's DoFns give besides.
    """

    extra: Sequence[str]

    def start(self, segment: Segment, pipeline: beam.Pipeline) -> beam.PCollection:
        """What makes `reader` read."""

    def reader(self, segment: Segment) -> beam.DoFn:
        """Reads a source."""

    def keyed(self, segment: Segment, pairs: beam.PCollection) -> beam.PCollection:
        """Groups pairs by shard and makes them ready for `stateful`."""

    def stateful(self, segment: Segment) -> beam.DoFn:
        """Runs a stage with state."""

    def chunker(self, segment: Segment) -> beam.DoFn:
        """Takes the items that the user's Beam transform gives."""

    def left(self, segment: Segment, out: dict[str, beam.PCollection]) -> dict[str, beam.PCollection]:
        """What goes on of a segment's outputs, by tag; those of `extra` are the runner's own."""

    def write(self, node: SinkNode, pairs: beam.PCollection) -> None:
        """Writes the pairs that reach a sink."""


class Unchunk(beam.DoFn):
    """Turns a handed-over chunk into items, for a Beam transform of the user's."""

    def process(self, pair: tuple[int, bytes]) -> Iterator[Any]:
        """The chunk's items."""
        yield from decode(pair[1])


@contextmanager
def new_pipeline(runner: beam.runners.PipelineRunner, options: PipelineOptions) -> Iterator[beam.Pipeline]:
    """A pipeline to be filled and made a message of.

    Beam makes each pipeline a temporary folder, and removes it where the pipeline itself is run, which these are not.
    A folder that holds something stays: the jars of the user's cross-language transforms are needed by the run.

    Args:
        runner: What the transforms are made for.
        options: Of Beam.
    """
    pipeline = beam.Pipeline(runner=runner, options=options)
    try:
        yield pipeline
    finally:
        with suppress(OSError):
            os.rmdir(pipeline.local_tempdir)


def translate(plan: Plan, segments: Sequence[Segment], hosting: Hosting, pipeline: beam.Pipeline) -> None:
    """Add a plan's transforms to a Beam pipeline.

    Args:
        plan: The plan.
        segments: Its segments, in topological order.
        hosting: The runner's DoFns.
        pipeline: An empty Beam pipeline.

    Raises:
        PipelineError: When the user's PTransform cannot be applied.
    """
    arriving: dict[int, list[beam.PCollection]] = {node.id: [] for node in plan.nodes}
    for segment in segments:
        root = segment.root
        match root:
            case SourceNode():
                name, fn = label(root.name, "read"), hosting.reader(segment)
                above = hosting.start(segment, pipeline)
            case KeyedNode():
                name, fn = label(root.name, "keyed"), hosting.stateful(segment)
                above = hosting.keyed(segment, _joined(root, arriving[root.id]))
            case BeamNode():
                name, fn = label(root.name, "chunk"), hosting.chunker(segment)
                above = _applied(root, _joined(root, arriving[root.id]))
            case _:
                raise AssertionError(f"{root.kind} '{root.name}' is no root")
        tags = [str(index) for index in range(len(segment.exits))]
        given = above | name >> beam.ParDo(fn).with_outputs(*tags, *hosting.extra)
        out = {tag: given[tag] for tag in (*tags, *hosting.extra)}
        for pairs in out.values():
            pairs.element_type = Pair
        out = hosting.left(segment, out)
        for tag, exit_ in zip(tags, segment.exits, strict=True):
            arriving[exit_.target.id].append(out[tag])
    for sink in plan.sinks:
        hosting.write(sink, _joined(sink, arriving[sink.id]))


def _joined(node: Node, above: list[beam.PCollection]) -> beam.PCollection:
    if len(above) == 1:
        return above[0]
    joined = tuple(above) | label(node.name, "merge") >> beam.Flatten()
    joined.element_type = Pair
    return joined


def _applied(node: BeamNode, above: beam.PCollection) -> beam.PCollection:
    items = above | label(node.name, "items") >> beam.ParDo(Unchunk())
    try:
        result = items | label(node.name, "apply") >> node.transform
    except Exception as error:
        raise PipelineError(f"apply_beam '{node.name}': Beam cannot apply the transform: {describe(error)}") from error
    if not isinstance(result, beam.PCollection):
        raise PipelineError(
            f"apply_beam '{node.name}': the transform must give one PCollection; got {type(result).__name__}: "
            "put it into a PTransform whose expand returns one of them, or all of them through beam.Flatten()"
        )
    # What follows is windowed by jetbridge, not by Beam.
    return result | label(node.name, "unwindow") >> beam.WindowInto(GlobalWindows())
