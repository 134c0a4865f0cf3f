"""A fused segment at work: chunks go in at the root, emissions for other stages come out.

A chain of stages costs one list comprehension each; a chunk is in the
processor's cache from the first to the last. Where the plan branches, each
branch gets the same chunk. Everything that leaves is bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from jetbridge.connectors.base import BadItem, Sink
from jetbridge.errors import ItemError
from jetbridge.kernels.failure import FAILURES, item_error, short_repr, stage_error
from jetbridge.kernels.keyed import FLUSH_ITEMS, Splitter, encode
from jetbridge.kernels.rules import keyed_kernel, stateless_kernel
from jetbridge.kernels.stateless import FlatMapKernel
from jetbridge.plan.ends import BeamNode, SinkNode
from jetbridge.plan.keyed import KeyedNode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jetbridge.plan.fuse import Exit, Segment

Counts = dict[str, list[int]]
"""How many items each stage received and emitted, by name."""


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

    kernels: list[tuple[Callable[[list[Any]], list[Any]] | None, list[int]]] = field(default_factory=list)
    flat: FlatMapKernel | None = None
    flat_counts: list[int] = field(default_factory=lambda: [0, 0])
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
        >>> kernel.counts["map"]
        [3, 3]

    Attributes:
        counts: Items received and emitted, by stage, since the start or the
            last `take_counts`; a stage with state receives what reaches its
            splitters.
    """

    def __init__(self, segment: Segment, shards: int, logger: str) -> None:
        self.segment = segment
        self.counts: Counts = {segment.root.name: [0, 0]}
        self.counts |= {node.name: [0, 0] for node in segment.steps}
        self._splitters: dict[int, Splitter] = {}
        self._takers = [self._taker(index, exit_, shards) for index, exit_ in enumerate(segment.exits)]
        self._root_counts = self.counts[segment.root.name]
        self._tree = self._build(segment.root.id, logger)

    def _build(self, node_id: int, logger: str) -> _Step:
        """The step of what follows a stage."""
        step = _Step()
        while True:
            below = [node for node in self.segment.steps for above in node.inputs if above == node_id]
            step.exits = [i for i, exit_ in enumerate(self.segment.exits) if exit_.above == node_id]
            if len(below) != 1 or step.exits:
                break
            kernel = stateless_kernel(below[0], logger)
            if isinstance(kernel, FlatMapKernel):
                break
            step.kernels.append((kernel, self.counts[below[0].name]))
            node_id = below[0].id
        for node in below:
            kernel = stateless_kernel(node, logger)
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
        self._root_counts[1] += len(chunk)
        return self._run(self._tree, chunk)

    def _run(self, step: _Step, chunk: list[Any]) -> Iterator[Emission]:
        for kernel, counts in step.kernels:
            counts[0] += len(chunk)
            if kernel is not None:
                chunk = kernel(chunk)
            counts[1] += len(chunk)
            if not chunk:
                return
        if step.flat is not None:
            step.flat_counts[0] += len(chunk)
            for piece in step.flat.explode(chunk):
                step.flat_counts[1] += len(piece)
                yield from self._run(step.branches[0], piece)
            return
        for index in step.exits:
            yield from self._takers[index](chunk)
        for branch in step.branches:
            yield from self._run(branch, chunk)

    def flush(self) -> Iterator[Emission]:
        """What the splitters still hold: called at the end of each bundle."""
        for index in self._splitters:
            yield from self._flush(index)

    def _flush(self, index: int) -> Iterator[Emission]:
        node = self.segment.exits[index].target
        try:
            for shard, payload in self._splitters[index].flush():
                yield Emission(index, shard, payload)
        except FAILURES as error:
            if isinstance(error, ItemError):
                raise
            doing = "sending items to their shards, for which they must be picklable"
            raise stage_error(node.kind, node.name, doing, error) from error

    def take_counts(self) -> Counts:
        """The counts since the last call."""
        taken = {name: list(pair) for name, pair in self.counts.items()}
        for pair in self.counts.values():
            pair[:] = 0, 0
        return taken

    def _taker(self, index: int, exit_: Exit, shards: int) -> Callable[[list[Any]], Iterator[Emission]]:
        node = exit_.target
        counts = self.counts.setdefault(node.name, [0, 0])
        match node:
            case KeyedNode():
                self._splitters[index] = keyed_kernel(node).splitter(shards)
                return lambda chunk: self._split(index, counts, chunk)
            case SinkNode():
                return lambda chunk: self._prepare(index, counts, node.name, node.sink, chunk)
            case BeamNode():
                return lambda chunk: self._hand_over(index, counts, chunk)
        raise AssertionError(f"{node.kind} '{node.name}' is no exit")

    def _split(self, index: int, counts: list[int], chunk: list[Any]) -> Iterator[Emission]:
        counts[0] += len(chunk)
        splitter = self._splitters[index]
        splitter.add(chunk)
        if splitter.size >= FLUSH_ITEMS:
            yield from self._flush(index)

    def _prepare(self, index: int, counts: list[int], name: str, sink: Sink, chunk: list[Any]) -> Iterator[Emission]:
        counts[0] += len(chunk)
        try:
            payload = sink.prepare(chunk)
        except BadItem as bad:
            item = chunk[bad.index]
            raise ItemError(
                f"sink '{name}' cannot take item {short_repr(item)}: {bad}", stage=name, item=short_repr(item)
            ) from bad
        except FAILURES as error:
            raise self._blame(sink, name, chunk, error) from error
        yield Emission(index, len(chunk), payload)

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
        yield Emission(index, len(chunk), encode(chunk))
