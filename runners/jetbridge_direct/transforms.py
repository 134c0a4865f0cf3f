"""The DoFns of the Direct runner: thin, because Beam pickles them and copies what they hold.

What belongs to the worker (state, pool, buffers) is reached through `HOSTS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from jetbridge.beam.naming import label
from jetbridge.beam.translate import Pair
from jetbridge_direct.host import WAKE, JobHost

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jetbridge.kernels.segment import Emission
    from jetbridge.plan.ends import SinkNode
    from jetbridge.plan.fuse import Segment

HOSTS: dict[str, JobHost] = {}
"""The jobs of this process, by run."""


class _HostFn(beam.DoFn):
    def __init__(self, run: str, node_id: int) -> None:
        self.run = run
        self.node_id = node_id

    def host(self) -> JobHost:
        # A method: Beam reads every attribute of a DoFn before there is a host.
        return HOSTS[self.run]

    def tagged(self, emissions: Iterable[Emission]) -> Iterator[TaggedOutput]:
        """Emissions as outputs."""
        pair = self.host().pair
        for emission in emissions:
            yield TaggedOutput(str(emission.exit), pair(self.node_id, emission))

    def late(self, emissions: Iterable[Emission]) -> Iterator[TaggedOutput]:
        """Emissions as outputs at the end of a bundle, which must say their window themselves."""
        for output in self.tagged(emissions):
            yield TaggedOutput(output.tag, WindowedValue(output.value, MIN_TIMESTAMP, (GlobalWindow(),)))


class ReadFn(_HostFn):
    """Reads a slice of a source."""

    def process(self, _: Any) -> Iterator[TaggedOutput]:
        """One epoch's slice."""
        return self.tagged(self.host().read(self.node_id))


class KeyedFn(_HostFn):
    """Runs a stage with state: first its shards' payloads, then what is due."""

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[TaggedOutput]:
        """The payloads of one shard."""
        shard, payloads = element
        if shard != WAKE:
            yield from self.tagged(self.host().process(self.node_id, shard, payloads))

    def finish_bundle(self) -> Iterator[TaggedOutput]:
        """What is due: Beam runs this after all input of the epoch."""
        return self.late(self.host().finish(self.node_id))


class ChunkFn(_HostFn):
    """Gathers the items of a user's Beam transform into chunks."""

    def process(self, item: Any) -> Iterator[TaggedOutput]:
        """One item."""
        return self.tagged(self.host().gather(self.node_id, item))

    def finish_bundle(self) -> Iterator[TaggedOutput]:
        """What is still held."""
        return self.late(self.host().gathered(self.node_id))


class WriteFn(_HostFn):
    """Keeps a sink's chunks for the commit."""

    def process(self, pair: tuple[int, bytes]) -> None:
        """One chunk."""
        self.host().collect(self.node_id, *pair)


class EpochHosting:
    """The Direct runner's part of the translation."""

    extra: Sequence[str] = ()

    def __init__(self, run: str, *, wake: bool) -> None:
        self.run = run
        self.wake = wake

    def start(self, segment: Segment, pipeline: beam.Pipeline) -> beam.PCollection:
        """One element; the host knows what to read."""
        return pipeline | label(segment.root.name, "start") >> beam.Impulse()

    def reader(self, segment: Segment) -> beam.DoFn:
        """A `ReadFn`."""
        return ReadFn(self.run, segment.root.id)

    def keyed(self, segment: Segment, pairs: beam.PCollection) -> beam.PCollection:
        """Beam's GroupByKey."""
        name = segment.root.name
        if self.wake:
            wake = pairs.pipeline | label(name, "wake") >> beam.Create([(WAKE, b"")], reshuffle=False)
            wake.element_type = Pair
            pairs = (pairs, wake) | label(name, "join") >> beam.Flatten()
            pairs.element_type = Pair
        return pairs | label(name, "group") >> beam.GroupByKey()

    def stateful(self, segment: Segment) -> beam.DoFn:
        """A `KeyedFn`."""
        return KeyedFn(self.run, segment.root.id)

    def chunker(self, segment: Segment) -> beam.DoFn:
        """A `ChunkFn`."""
        return ChunkFn(self.run, segment.root.id)

    def left(self, segment: Segment, out: dict[str, beam.PCollection]) -> dict[str, beam.PCollection]:
        """All of it."""
        return out

    def write(self, node: SinkNode, pairs: beam.PCollection) -> None:
        """A `WriteFn`."""
        _ = pairs | label(node.name, "write") >> beam.ParDo(WriteFn(self.run, node.id))
