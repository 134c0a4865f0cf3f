"""The Flink runner's part of the translation, and the finished proto of a job."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam import coders
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec

from jetbridge.beam.loading import unconfigured
from jetbridge.beam.naming import label
from jetbridge.beam.translate import Pair, new_pipeline, translate
from jetbridge.kernels.rules import keyed_kernel
from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.plan.ends import BeamNode, SinkNode
from jetbridge.plan.fuse import fuse
from jetbridge.plan.keyed import KeyedNode
from jetbridge.store import values
from jetbridge_flink import envelopes, ids
from jetbridge_flink.batch import BatchKeyedFn, BatchReadFn
from jetbridge_flink.early import EarlyKeyedFn
from jetbridge_flink.grouped import stamped
from jetbridge_flink.transforms import FIGURES, KeyedFn, PartitionsFn, ReadFn, SegmentFn, late
from jetbridge_flink.work import JobSpec, marking
from jetbridge_flink.writing import WriteFn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from apache_beam.portability.api import beam_runner_api_pb2 as api
    from apache_beam.pvalue import TaggedOutput
    from apache_beam.transforms import environments

    from jetbridge.kernels.segment import Emission
    from jetbridge.plan.fuse import Segment
    from jetbridge.plan.graph import Plan

WRITE = "jetbridge:write"


class ChunkFn(SegmentFn):
    """Gathers the items of a user's Beam transform into chunks; `NumberFn` numbers those that go to sinks."""

    def start_bundle(self) -> None:
        """Nothing is held."""
        super().start_bundle()
        self._held: list[Any] = []
        self._place = f"{self._node.name}/{secrets.token_hex(8)}"
        self._sequences: dict[str, int] = {}

    def process(self, item: Any) -> Iterator[TaggedOutput]:
        """One item."""
        self._held.append(item)
        if len(self._held) >= CHUNK_ITEMS:
            held, self._held = self._held, []
            with marking(self._node):
                for emission in self._kernel.feed(held):
                    yield beam.pvalue.TaggedOutput(str(emission.exit), self._pair(emission))

    def finish_bundle(self) -> Iterator[TaggedOutput]:
        """What is still held, and the counts of the bundle."""
        with marking(self._node):
            for emission in (*self._kernel.feed(self._held), *self._kernel.flush()):
                yield late(str(emission.exit), self._pair(emission))
            counts = self._kernel.take_counts()
            if any(map(any, counts.values())):
                yield late(FIGURES, (0, values.encode(counts)))

    def _pair(self, emission: Emission) -> tuple[int, bytes]:
        name = self._ordered.get(emission.exit)
        if name is None:
            return emission.number, emission.payload
        sequence = self._sequences[name] = self._sequences.get(name, -1) + 1
        return emission.number, stamped(self._place, sequence, emission.payload)


class NumberFn(beam.DoFn):
    """Numbers the chunks that a user's Beam transform leads to, and sums their counts up."""

    NUMBER = ReadModifyWriteStateSpec("number", coders.BytesCoder())

    def __init__(self, spec: JobSpec, root: str, sink: str | None) -> None:
        self.spec = spec
        self.root = root
        self.sink = sink

    def process(
        self,
        pair: tuple[int, tuple[int, bytes]],
        number: Any = beam.DoFn.StateParam(NUMBER),  # noqa: B008
    ) -> Iterator[tuple[int, bytes]]:
        """A chunk, or the counts of a bundle."""
        with marking():
            count, payload = pair[1]
            run, sequence, counts = values.decode(number.read() or _NEW)
            if run != self.spec.run:
                sequence, counts = 0, {}
            if self.sink is None:
                counts = envelopes.added(counts, values.decode(payload))
                yield envelopes.figures(self.spec.run, f"{self.root}/beam", sequence + 1, {"counts": counts})
            else:
                yield envelopes.chunk(self.spec.run, self.sink, f"{self.root}/beam", sequence, count, payload)
            number.write(values.encode((self.spec.run, sequence + 1, counts)))


_NEW = values.encode(("", 0, {}))


class FlinkHosting:
    """Translates a job's segments for Flink; see `jetbridge.beam.translate.Hosting`."""

    extra: Sequence[str] = (FIGURES,)

    def __init__(self, spec: JobSpec, plan: Plan) -> None:
        self.spec = spec
        self._bounded = {node.id: node.source.bounded for node in plan.sources}
        self._written: list[beam.PCollection] = []

    def start(self, segment: Segment, pipeline: beam.Pipeline) -> beam.PCollection:
        """The partitions, spread over the cluster."""
        name = segment.root.name
        partitions = (
            pipeline
            | label(name, "start") >> beam.Impulse()
            | label(name, "partitions") >> beam.ParDo(PartitionsFn(self.spec, segment.root.id))
        )
        partitions.element_type = beam.typehints.Tuple[str, bytes]
        spread = partitions | label(name, "spread") >> beam.Reshuffle()
        # So that Beam refuses a user's transform from which nothing would ever come.
        spread.is_bounded = self._bounded[segment.root.id]
        return spread

    def reader(self, segment: Segment) -> beam.DoFn:
        """A `ReadFn`, or that of the batch mode."""
        return (BatchReadFn if self.spec.batch else ReadFn)(self.spec, segment.root.id)

    def keyed(self, segment: Segment, pairs: beam.PCollection) -> beam.PCollection:
        """The pairs as they are: Beam brings equal shards together for a stage with state. In batch mode by shard."""
        name = segment.root.name
        root = segment.root
        assert isinstance(root, KeyedNode)
        woken = keyed_kernel(root).woken(self.spec.shards)
        if woken:
            if self.spec.batch:
                woken = {shard: stamped(_WAKE, 0, payload) if payload else b"" for shard, payload in woken.items()}
            wake = pairs.pipeline | label(name, "wake") >> beam.Impulse()
            wake = wake | label(name, "first") >> beam.FlatMap(_wake, list(woken.items()))
            wake.element_type = Pair
            pairs = (pairs, wake) | label(name, "join") >> beam.Flatten()
            pairs.element_type = Pair
        return pairs | label(name, "shards") >> beam.GroupByKey() if self.spec.batch else pairs

    def stateful(self, segment: Segment) -> beam.DoFn:
        """A `KeyedFn`, or that of the batch mode, or one that the clock wakes."""
        early = self.spec.unbounded and bool(getattr(segment.root, "early", False))
        kind = BatchKeyedFn if self.spec.batch else EarlyKeyedFn if early else KeyedFn
        return kind(self.spec, segment.root.id)

    def chunker(self, segment: Segment) -> beam.DoFn:
        """A `ChunkFn`."""
        return ChunkFn(self.spec, segment.root.id)

    def left(self, segment: Segment, out: dict[str, beam.PCollection]) -> dict[str, beam.PCollection]:
        """Numbers what a Beam transform of the user's gives, and sends figures to where they are written."""
        root = segment.root
        if isinstance(root, BeamNode):
            out[FIGURES] = self._numbered(root.name, None, out[FIGURES])
            for i, exit_ in enumerate(segment.exits):
                if isinstance(exit_.target, SinkNode):
                    out[str(i)] = self._numbered(root.name, exit_.target.name, out[str(i)])
        self._written.append(out[FIGURES])
        return out

    def _numbered(self, root: str, sink: str | None, pairs: beam.PCollection) -> beam.PCollection:
        # It has state, so what it is called must not depend on the other branches.
        what = "figures" if sink is None else f"to-{sink}"
        keyed = pairs | label(root, f"one-{what}") >> beam.Map(_one_shard)
        keyed.element_type = beam.typehints.Tuple[int, Pair]
        numbered = keyed | label(root, f"number-{what}") >> beam.ParDo(NumberFn(self.spec, root, sink))
        numbered.element_type = Pair
        return numbered

    def write(self, node: SinkNode, pairs: beam.PCollection) -> None:
        """Kept for `finish`: one stage writes for all sinks."""
        self._written.append(pairs)

    def finish(self) -> None:
        """Add the stage that writes."""
        pairs = tuple(self._written) | "jetbridge:all" >> beam.Flatten()
        pairs.element_type = Pair
        if self.spec.exactly_once:
            # The stage must begin behind a shuffle: only what enters a stage of Flink can wait for a checkpoint.
            pairs = pairs | "jetbridge:spread" >> beam.Reshuffle()
            pairs.element_type = Pair
        _ = pairs | WRITE >> beam.ParDo(WriteFn(self.spec))


def pipeline_proto(plan: Plan, spec: JobSpec, environment: environments.Environment) -> api.Pipeline:
    """A job as Beam's runner for Flink takes it.

    Args:
        plan: The job's plan.
        spec: What its DoFns carry.
        environment: Where its workers are found.
    """
    hosting = FlinkHosting(spec, plan)
    with unconfigured(), new_pipeline(_NoRunner(), PipelineOptions(flags=[])) as pipeline:
        translate(plan, fuse(plan), hosting, pipeline)
        hosting.finish()
        proto = pipeline.to_runner_api(default_environment=environment)
    ids.make_stable(proto)
    if spec.exactly_once:
        ids.require_stable_input(proto, WRITE)
    return proto


class _NoRunner(beam.runners.runner.PipelineRunner):
    """Only to build a pipeline with: jobs are submitted over REST."""


_WAKE = ""
"""The place that wake-ups come from: that of no partition and no shard."""


def _wake(_: Any, woken: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    return woken


def _one_shard(pair: tuple[int, bytes]) -> tuple[int, tuple[int, bytes]]:
    return 0, pair
