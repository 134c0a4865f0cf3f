"""A fused segment at work: chunks go in at the root, emissions for other stages come out.

A chain of stages costs one list comprehension each; a chunk is in the
processor's cache from the first to the last. Where the plan branches, each
branch gets the same chunk. Everything that leaves is bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from jetbridge.connectors.base import BadItem, Sink
from jetbridge.errors import ItemError, SourceError
from jetbridge.kernels.aside import Aside, Careful, CarefulSplitter
from jetbridge.kernels.failure import FAILURES, item_error, short_repr, stage_error
from jetbridge.kernels.keyed import FLUSH_ITEMS, Splitter, encode
from jetbridge.kernels.rules import keyed_kernel, stateless_kernel
from jetbridge.kernels.services import Services
from jetbridge.kernels.sizing import Sizing
from jetbridge.kernels.stamp import StampKernel
from jetbridge.kernels.stateless import CHUNK_ITEMS, FlatMapKernel
from jetbridge.plan.ends import BeamNode, SinkNode, SourceNode
from jetbridge.plan.keyed import KeyedNode
from jetbridge.plan.side import SideNode
from jetbridge.plan.times import NATIVE, TimestampNode
from jetbridge.times import Clock, TimedItems, cut, untimed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jetbridge.plan.base import Node
    from jetbridge.plan.fuse import Exit, Segment

Counts = dict[str, list[int]]
"""How many items each stage received, emitted, could not take because of an error, and dropped as late, by name."""


_GOOD_CHUNK, _MOST_CHUNK = 4 << 20, 8 << 20
"""How many bytes the chunk of a sink should have, and has at most unless a single item is larger."""
_GOOD_FLUSH, _FIRST_FLUSH = 16 << 20, 8_192
"""How many bytes a splitter should hold before it sends them on, and how many items while their size is not known."""
ERRORS, LATE = 2, 3
"""Where the errors and the late items stand in the counts of a stage."""


def none_yet() -> list[int]:
    """The counts of a stage before its first item."""
    return [0, 0, 0, 0]


def add_counts(total: Counts, new: Counts) -> None:
    """Add to counts, in place. Those of older checkpoints have two numbers.

    Example:
        >>> total = {"map": [3, 2, 0, 0]}
        >>> add_counts(total, {"map": [1, 1]})
        >>> total
        {'map': [4, 3, 0, 0]}
    """
    for name, counts in new.items():
        mine = total.setdefault(name, none_yet())
        for index, count in enumerate(counts):
            mine[index] += count


class Emission(NamedTuple):
    """Something that leaves a segment.

    Attributes:
        exit: The exit's index in the segment.
        number: The shard for a stage with state; the number of items otherwise.
        payload: The splitter's payload; what the sink prepared; or a pickled list.
    """

    exit: int
    number: int
    payload: bytes


@dataclass
class _Step:
    """A stage with what follows it: as many kernels in a row as do not branch, then branches or exits."""

    kernels: list[tuple[Any, list[int]]] = field(default_factory=list)
    flat: FlatMapKernel | None = None
    flat_counts: list[int] = field(default_factory=none_yet)
    branches: list[_Step] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)


class SegmentKernel:
    """The fused kernel of a segment, for one bundle after another.

    Example:
        >>> from jetbridge.kernels.segment import SegmentKernel
        >>> from jetbridge.pipeline import Pipeline
        >>> from jetbridge.plan.fuse import fuse
        >>> pipeline = Pipeline.create()
        >>> stage = pipeline.read_from(Pipeline.from_list("numbers", [])).map(lambda x: x * 2)
        >>> _ = stage.write_to(Pipeline.to_logger())
        >>> kernel = SegmentKernel(fuse(pipeline.plan())[0], shards=4, logger="jetbridge")
        >>> [emission.number for emission in kernel.feed([1, 2, 3])]
        [3]
        >>> kernel.counts["map"][:2]
        [3, 3]

    Args:
        segment: The segment.
        shards: The number of shards of each stage with state.
        logger: The name of the job's logger.
        services: The services of the job in this process.
        sizings: What is known of the size of items, by exit, from earlier kernels of the segment.

    Attributes:
        counts: Counts by stage, since the start or the last `take_counts`; a
            stage with state receives what reaches its splitters.
        stamps: The kernels that give items their times.
        lags: How far a partition's watermark stays behind, by stage, in milliseconds.
    """

    def __init__(
        self,
        segment: Segment,
        shards: int,
        logger: str,
        services: Services | None = None,
        sizings: dict[int, Sizing] | None = None,
    ) -> None:
        self.segment = segment
        self._services = services or Services()
        self.counts: Counts = {segment.root.name: none_yet()}
        self.counts |= {node.name: none_yet() for node in segment.steps}
        self.stamps: list[StampKernel] = []
        root = segment.root
        self._nodes = {node.name: node for node in (root, *segment.steps, *(exit_.target for exit_ in segment.exits))}
        self._reads = isinstance(root, SourceNode)
        self._live = isinstance(root, SourceNode) and not root.source.bounded
        self._native = any(isinstance(node, TimestampNode) and node.fn == NATIVE for node in segment.steps)
        self._splitters: dict[int, Splitter] = {}
        self._sizings: dict[int, Sizing] = {} if sizings is None else sizings
        self._takers = [self._taker(index, exit_, shards) for index, exit_ in enumerate(segment.exits)]
        self._root_counts = self.counts[segment.root.name]
        self._tree = self._build(segment.root.id, logger)
        self._aside = self._asides(logger)
        self.lags = {stamp.name: stamp.node.lag for stamp in self.stamps}

    def at(self, clock: Clock) -> None:
        """What is fed from now on is of the source partition of a clock."""
        for stamp in self.stamps:
            stamp.clock = clock

    def _kernel(self, node: Node, logger: str) -> Any:
        kernel = stateless_kernel(node, logger, live=self._live, services=self._services)
        bare = kernel.kernel if isinstance(kernel, Careful) else kernel
        if isinstance(bare, StampKernel):
            self.stamps.append(bare)
        return kernel

    def _asides(self, logger: str) -> dict[tuple[int, str], list[_Step]]:
        """What follows where a stage puts items aside, by the stage and the kind of what is put aside."""
        found: dict[tuple[int, str], list[_Step]] = {}
        for node in self.segment.steps:
            if isinstance(node, SideNode):
                step = self._build(node.id, logger)
                step.kernels.insert(0, (None, self.counts[node.name]))
                found.setdefault((node.inputs[0], node.kind), []).append(step)
        return found

    def _build(self, node_id: int, logger: str) -> _Step:
        """The step of what follows a stage."""
        step = _Step()
        while True:
            below = [
                node
                for node in self.segment.steps
                for above in node.inputs
                if above == node_id and not isinstance(node, SideNode)
            ]
            step.exits = [i for i, exit_ in enumerate(self.segment.exits) if exit_.above == node_id]
            if len(below) != 1 or step.exits:
                break
            kernel = self._kernel(below[0], logger)
            if isinstance(kernel, FlatMapKernel):
                break
            step.kernels.append((kernel, self.counts[below[0].name]))
            node_id = below[0].id
        for node in below:
            kernel = self._kernel(node, logger)
            if isinstance(kernel, FlatMapKernel):
                branch = self._build(node.id, logger)
                step.branches.append(_Step(flat=kernel, flat_counts=self.counts[node.name], branches=[branch]))
            else:
                branch = self._build(node.id, logger)
                branch.kernels.insert(0, (kernel, self.counts[node.name]))
                step.branches.append(branch)
        return step

    def feed(self, chunk: list[Any]) -> Iterator[Emission]:
        """Run a chunk of the root's items through the segment.

        Raises:
            ItemError: When a user's function fails, or a sink refuses an item.
        """
        if type(chunk) is Aside:
            return self._set_aside(self.segment.root, chunk.kind, chunk)
        self._root_counts[1] += len(chunk)
        if self._reads:
            if self._native and type(chunk) is not TimedItems:
                raise SourceError("it gives no times with its items: use with_timestamps instead of native ones")
            chunk = chunk if self._native else untimed(chunk)
        return self._run(self._tree, chunk)

    def _run(self, step: _Step, chunk: list[Any]) -> Iterator[Emission]:
        for kernel, counts in step.kernels:
            counts[0] += len(chunk)
            if kernel is not None:
                chunk = kernel.timed(chunk) if type(chunk) is TimedItems else kernel(chunk)
                if type(kernel) is Careful and kernel.failed:
                    yield from self._failed(kernel)
            counts[1] += len(chunk)
            if not chunk:
                return
        if step.flat is not None:
            step.flat_counts[0] += len(chunk)
            flat = step.flat
            for piece in flat.explode_timed(chunk) if isinstance(chunk, TimedItems) else flat.explode(chunk):
                step.flat_counts[1] += len(piece)
                yield from self._run(step.branches[0], piece)
            return
        for index in step.exits:
            yield from self._takers[index](chunk)
        for branch in step.branches:
            yield from self._run(branch, chunk)

    def _failed(self, kernel: Careful | CarefulSplitter) -> Iterator[Emission]:
        taken = list(kernel.failed)
        kernel.failed.clear()
        return self._set_aside(self._nodes[kernel.name], "on_error", taken)

    def _set_aside(self, node: Node, kind: str, items: list[Any]) -> Iterator[Emission]:
        """Send items that a stage has put aside to where they go, if they go anywhere, and count them."""
        self.counts[node.name][LATE if kind == "late_items" else ERRORS] += len(items)
        for step in self._aside.get((node.id, kind), ()):
            for piece in cut(list(items), CHUNK_ITEMS):
                yield from self._run(step, piece)

    def flush(self) -> Iterator[Emission]:
        """What the splitters still hold: called at the end of each bundle."""
        for index in self._splitters:
            yield from self._flush(index)

    def _flush(self, index: int) -> Iterator[Emission]:
        node = self.segment.exits[index].target
        held, sent = self._splitters[index].size, 0
        try:
            for shard, payload in self._splitters[index].flush():
                sent += len(payload)
                yield Emission(index, shard, payload)
            self._sizings[index].learn(held, sent)
        except FAILURES as error:
            if isinstance(error, ItemError):
                raise
            doing = "sending items to their shards, for which they must be picklable"
            raise stage_error(node.kind, node.name, doing, error) from error

    def take_counts(self) -> Counts:
        """The counts since the last call."""
        taken = {name: list(pair) for name, pair in self.counts.items()}
        for pair in self.counts.values():
            pair[:] = none_yet()
        return taken

    def _taker(self, index: int, exit_: Exit, shards: int) -> Callable[[list[Any]], Iterator[Emission]]:
        node = exit_.target
        counts = self.counts.setdefault(node.name, none_yet())
        match node:
            case KeyedNode():
                splitter = keyed_kernel(node).splitter(shards, exit_.port)
                careful = node.on_error != "fail"
                self._splitters[index] = CarefulSplitter(node.name, splitter) if careful else splitter
                self._sizings.setdefault(index, Sizing(FLUSH_ITEMS, _GOOD_FLUSH, first=_FIRST_FLUSH))
                return lambda chunk: self._split(index, counts, chunk)
            case SinkNode():
                self._sizings.setdefault(index, Sizing(CHUNK_ITEMS, _GOOD_CHUNK))
                return lambda chunk: self._prepare(index, counts, node.name, node.sink, chunk)
            case BeamNode():
                return lambda chunk: self._hand_over(index, counts, chunk)
        raise AssertionError(f"{node.kind} '{node.name}' is no exit")

    def _split(self, index: int, counts: list[int], chunk: list[Any]) -> Iterator[Emission]:
        counts[0] += len(chunk)
        splitter = self._splitters[index]
        splitter.add(chunk)
        node = self.segment.exits[index].target
        if type(splitter) is CarefulSplitter and splitter.failed:
            yield from self._failed(splitter)
        if splitter.late:
            late = list(splitter.late)
            splitter.late.clear()
            yield from self._set_aside(node, "late_items", late)
        if splitter.size >= self._sizings[index].limit:
            yield from self._flush(index)

    def _prepare(self, index: int, counts: list[int], name: str, sink: Sink, chunk: list[Any]) -> Iterator[Emission]:
        counts[0] += len(chunk)
        chunk, at, sizing = untimed(chunk), 0, self._sizings[index]
        while at < len(chunk):
            piece = chunk[at : at + sizing.limit] if at or len(chunk) > sizing.limit else chunk
            payload = self._prepared(name, sink, piece)
            sizing.learn(len(piece), len(payload))
            if len(payload) <= _MOST_CHUNK or len(piece) == 1:  # else it is cut now
                yield Emission(index, len(piece), payload)
                at += len(piece)

    def _prepared(self, name: str, sink: Sink, chunk: list[Any]) -> bytes:
        """A chunk as a sink wants it."""
        try:
            return sink.prepare(chunk)
        except BadItem as bad:
            item = chunk[bad.index]
            raise ItemError(
                f"sink '{name}' cannot take item {short_repr(item)}: {bad}", stage=name, item=short_repr(item)
            ) from bad
        except FAILURES as error:
            failed = error
        raise self._blame(sink, name, chunk, failed) from failed  # out of the handler: the search fails the same way

    def _blame(self, sink: Sink, name: str, chunk: list[Any], error: BaseException) -> ItemError:
        """Find the item that a sink's ``prepare``, which is pure, cannot take."""
        for item in chunk:
            try:
                sink.prepare([item])
            except FAILURES as single:
                return item_error("sink", name, item, single)
        return stage_error("sink", name, "preparing a chunk", error)

    def _hand_over(self, index: int, counts: list[int], chunk: list[Any]) -> Iterator[Emission]:
        counts[0] += len(chunk)
        yield Emission(index, len(chunk), encode(untimed(chunk)))
