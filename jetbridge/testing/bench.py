"""A pipeline run by its kernels alone: in this process, without an engine, in milliseconds."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from jetbridge.connectors.base import ConnectorContext
from jetbridge.errors import PipelineError
from jetbridge.kernels.aside import Aside, with_aside
from jetbridge.kernels.keyed import decode, encode
from jetbridge.kernels.rules import keyed_kernel
from jetbridge.kernels.segment import Emission, SegmentKernel
from jetbridge.plan.ends import SinkNode, SourceNode
from jetbridge.plan.fuse import fuse
from jetbridge.plan.keyed import KeyedNode
from jetbridge.testing.asserting import AssertionSink
from jetbridge.times import BEGINNING, END, Clock, cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jetbridge.kernels.keyed import KeyedKernel
    from jetbridge.pipeline import Pipeline
    from jetbridge.plan.fuse import Segment


def run_kernels(pipeline: Pipeline, *, chunk: int = 4096, shards: int = 4) -> dict[str, list[Any]]:
    """Run a pipeline in this process, with no engine, store or job.

    A stream is read until it has nothing new, and ends there: its windows close.
    So an item that is late here is late on every runner. Times of the machine's
    clock (``with_ingestion_timestamps``) are real.

    Example:
        >>> from jetbridge import Pipeline
        >>> from jetbridge.testing import items
        >>> pipeline = Pipeline.create()
        >>> words = pipeline.read_from(items("a", "b", "a")).distinct()
        >>> _ = words.write_to(Pipeline.to_list("results"))
        >>> sorted(run_kernels(pipeline)["results"])
        ['a', 'b']

    Args:
        pipeline: The pipeline. Its sources must not be structures of a data folder.
        chunk: How many items are read at a time.
        shards: Into how many parts keys are split.

    Returns:
        What reached each sink, by stage name. Nothing is written, but sinks of this module check.

    Raises:
        ItemError: When a user's function fails, with its traceback.
        PipelineError: When the pipeline has a Beam transform, or is not complete.
    """
    return _Bench(pipeline, chunk, shards).run()


class _Collecting(SegmentKernel):
    """Gives a sink's items as they are, and not as the sink prepares them."""

    def _prepare(self, index: int, counts: list[int], name: str, sink: Any, chunk: list[Any]) -> Iterator[Emission]:
        counts[0] += len(chunk)
        yield Emission(index, len(chunk), encode(list(chunk)))


class _Bench:
    def __init__(self, pipeline: Pipeline, chunk: int, shards: int) -> None:
        self.plan = pipeline.plan()
        self.chunk = chunk
        if self.plan.beam:
            raise PipelineError(f"run_kernels has no Beam to run apply_beam '{self.plan.beam[0].name}' with")
        self.segments = fuse(self.plan)
        self.fused = {segment.root.id: _Collecting(segment, shards, "jetbridge.test") for segment in self.segments}
        self.keyed: dict[int, KeyedKernel] = {node.id: keyed_kernel(node) for node in self.plan.keyed}
        self.states: dict[int, dict[int, Any]] = {node.id: {} for node in self.plan.keyed}
        self.arrived: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
        self.results: dict[str, list[Any]] = {node.name: [] for node in self.plan.sinks}
        self.offsets: dict[int, dict[str, Any]] = {}
        self.clocks: dict[int, dict[str, Clock]] = {}
        self.marks: dict[int, int] = {segment.root.id: BEGINNING for segment in self.segments}

    def run(self) -> dict[str, list[Any]]:
        with tempfile.TemporaryDirectory() as home:
            for node in self.plan.sources:
                self._open(node, home)
            while self._round(ending=False):
                pass
            self._round(ending=True)
            for node in self.plan.sources:
                node.source.close()
        for sink in self.plan.sinks:
            if isinstance(sink.sink, AssertionSink):
                sink.sink.check_items(self.results[sink.name])
        return self.results

    def _open(self, node: SourceNode, home: str) -> None:
        if hasattr(node.source, "initial_position") or node.source.kind in ("list", "map"):
            raise PipelineError(
                f"run_kernels has no data folder with {node.source.kind} '{node.source.name}': use testing.items, or a "
                "runner"
            )
        context = ConnectorContext(job_id="test", job_name="test", run="test", stage=node.name, home=home)
        node.source.submitted(home)
        node.source.open(context)
        names = node.source.partitions()
        self.offsets[node.id] = {name: node.source.start(name) for name in names}
        self.clocks[node.id] = {name: Clock() for name in names}

    def _round(self, *, ending: bool) -> bool:
        """One step of every stage, in order; says whether a source had something."""
        found = False
        for segment in self.segments:
            root = segment.root
            if isinstance(root, SourceNode):
                found |= self._read(root, segment)
                self.marks[root.id] = END if ending else self._source_mark(root)
            else:
                self._work(root, segment, ending=ending)
        return found

    def _read(self, node: SourceNode, segment: Segment) -> bool:
        source, kernel, found = node.source, self.fused[node.id], False
        for name, offset in list(self.offsets[node.id].items()):
            if offset is _ENDED:
                continue
            items, end = source.read(name, offset, self.chunk)
            moved = end is None or bool(items) or end != offset
            found |= moved
            clock = self.clocks[node.id][name]
            kernel.at(clock)
            for piece in cut(items, self.chunk):
                self._route(segment, kernel.feed(piece))
            mark = None if end is None else source.watermark(name, end)
            if mark is not None:
                clock.advance(mark, kernel.lags)
            self.offsets[node.id][name] = _ENDED if end is None else end
        self._route(segment, kernel.flush())
        return found

    def _source_mark(self, node: SourceNode) -> int:
        if node.source.bounded:
            return BEGINNING
        lags = self.fused[node.id].lags
        return min((clock.watermark(lags) for clock in self.clocks[node.id].values()), default=BEGINNING)

    def _work(self, root: Any, segment: Segment, *, ending: bool) -> None:
        kernel, states = self.keyed[root.id], self.states[root.id]
        for shard, payload in self.arrived.pop(root.id, []):
            state = states.setdefault(shard, kernel.new_state())
            self._given(segment, with_aside(kernel, kernel.process(state, payload)))
        above = [s.root.id for s in self.segments if any(exit_.target is root for exit_ in s.exits)]
        mark = min(self.marks[each] for each in above)
        if ending and kernel.always:
            states.setdefault(0, kernel.new_state())
        for shard in sorted(states):
            due = kernel.on_end(states[shard]) if ending else kernel.on_watermark(states[shard], mark)
            self._given(segment, with_aside(kernel, due))
        self.marks[root.id] = mark
        self._route(segment, self.fused[root.id].flush())

    def _given(self, segment: Segment, chunks: Iterable[list[Any]]) -> None:
        for chunk in chunks:
            for piece in [chunk] if type(chunk) is Aside else cut(chunk, self.chunk):
                self._route(segment, self.fused[segment.root.id].feed(piece))

    def _route(self, segment: Segment, emissions: Iterable[Emission]) -> None:
        for emission in emissions:
            target = segment.exits[emission.exit].target
            match target:
                case KeyedNode():
                    self.arrived[target.id].append((emission.number, emission.payload))
                case SinkNode():
                    self.results[target.name] += decode(emission.payload)


_ENDED = object()
