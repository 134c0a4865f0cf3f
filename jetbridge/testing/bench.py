"""A pipeline, or a part of one, run by its kernels alone: in this process, without an engine, in milliseconds."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from typing import TYPE_CHECKING, Any, overload

from jetbridge.connectors.base import ConnectorContext
from jetbridge.connectors.logger import LoggerSink
from jetbridge.errors import PipelineError
from jetbridge.kernels.aside import Aside, with_aside
from jetbridge.kernels.keyed import decode, encode
from jetbridge.kernels.rules import keyed_kernel
from jetbridge.kernels.segment import Emission, SegmentKernel
from jetbridge.kernels.services import Services
from jetbridge.plan.ends import SinkNode, SourceNode
from jetbridge.plan.fuse import fuse
from jetbridge.plan.graph import Plan, named
from jetbridge.plan.keyed import KeyedNode
from jetbridge.stages import GeneralStage
from jetbridge.testing.asserting import AssertionSink
from jetbridge.times import BEGINNING, END, Clock, cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jetbridge.kernels.keyed import KeyedKernel
    from jetbridge.pipeline import Pipeline
    from jetbridge.plan.fuse import Segment


@overload
def run_kernels(what: Pipeline, *, chunk: int = ..., shards: int = ...) -> dict[str, list[Any]]: ...


@overload
def run_kernels(what: GeneralStage, *, chunk: int = ..., shards: int = ...) -> list[Any]: ...


def run_kernels(
    what: Pipeline | GeneralStage, *, chunk: int = 4096, shards: int = 4
) -> dict[str, list[Any]] | list[Any]:
    """Run a pipeline, or what leads to a stage, in this process, with no engine, store or job.

    A stream is read until it has nothing new, and ends there: its windows close.
    So an item that is late here is late on every runner. Times of the machine's
    clock (``with_ingestion_timestamps``) are real.

    Example:
        >>> from jetbridge import Pipeline
        >>> from jetbridge.testing import items
        >>> pipeline = Pipeline.create()
        >>> words = pipeline.read_from(items("b", "a", "b")).distinct()
        >>> sorted(run_kernels(words))
        ['a', 'b']
        >>> _ = words.sort().write_to(Pipeline.to_list("results"))
        >>> run_kernels(pipeline)
        {'results': ['a', 'b']}

    Args:
        what: A pipeline, or a stage of one that need not be complete. Sources must not be structures of a data folder.
        chunk: How many items are read at a time.
        shards: Into how many parts keys are split.

    Returns:
        Of a pipeline what reached each sink, by stage name, and of a stage its items, as a list. Nothing is
        written, but a pipeline's sinks of this module check.

    Raises:
        ItemError: When a user's function fails, with its traceback.
        PipelineError: When there is a Beam transform, or the pipeline is not complete.
    """
    if not isinstance(what, GeneralStage):
        return _Bench(what.plan(), chunk, shards).run()
    plan = _leading_to(what)
    return _Bench(plan, chunk, shards).run()[plan.sinks[0].name]


def _leading_to(stage: GeneralStage) -> Plan:
    """The part of a pipeline that a stage needs, with a sink behind it."""
    nodes = named(stage._pipeline._nodes)
    wanted, found = {stage._id}, []
    for node in reversed(nodes):  # ids are in topological order
        if node.id in wanted:
            wanted.update(node.inputs)
            found.append(node)
    end = SinkNode(id=len(nodes), name="results", named=False, inputs=(stage._id,), sink=LoggerSink())
    return Plan(named([*reversed(found), end]))


class _Collecting(SegmentKernel):
    """Gives a sink's items as they are, and not as the sink prepares them."""

    def _prepare(self, index: int, counts: list[int], name: str, sink: Any, chunk: list[Any]) -> Iterator[Emission]:
        counts[0] += len(chunk)
        yield Emission(index, len(chunk), encode(list(chunk)))


class _Bench:
    def __init__(self, plan: Plan, chunk: int, shards: int) -> None:
        self.plan = plan
        self.chunk = chunk
        if self.plan.beam:
            raise PipelineError(f"run_kernels has no Beam to run apply_beam '{self.plan.beam[0].name}' with")
        self.segments = fuse(self.plan)
        self.services = Services()
        self.fused = {s.root.id: _Collecting(s, shards, "jetbridge.test", self.services) for s in self.segments}
        self.keyed: dict[int, KeyedKernel] = {node.id: keyed_kernel(node) for node in self.plan.keyed}
        self.states: dict[int, dict[int, Any]] = {node.id: {} for node in self.plan.keyed}
        self.arrived: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
        for node_id, kernel in self.keyed.items():
            self.arrived[node_id] += [each for each in kernel.woken(shards).items() if each[1]]
        self.results: dict[str, list[Any]] = {node.name: [] for node in self.plan.sinks}
        self.offsets: dict[int, dict[str, Any]] = {}
        self.clocks: dict[int, dict[str, Clock]] = {}
        self.marks: dict[int, int] = {segment.root.id: BEGINNING for segment in self.segments}

    def run(self) -> dict[str, list[Any]]:
        with tempfile.TemporaryDirectory() as home:
            try:
                for node in self.plan.sources:
                    self._open(node, home)
                while self._round(ending=False):
                    pass
                self._round(ending=True)
            finally:
                self.services.close()
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
