"""Pipelines: what a user builds, stage by stage, before it is submitted.

The names and their meaning are those of Hazelcast Jet's Python API.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, overload

from jetbridge.arguments import described
from jetbridge.connectors.base import Sink, Source
from jetbridge.connectors.embedded import ListSink, ListSource, MapSink, MapSource, StreamSource
from jetbridge.connectors.logger import LoggerSink
from jetbridge.connectors.memory import ItemsSource
from jetbridge.errors import PipelineError
from jetbridge.plan.base import Node
from jetbridge.plan.ends import BeamNode, SinkNode, SourceNode
from jetbridge.plan.graph import Plan, checked, named
from jetbridge.plan.keyed import KeyedNode
from jetbridge.plan.render import to_dot, to_mermaid, to_svg
from jetbridge.plan.side import FailedNode
from jetbridge.plan.stateless import MergeNode
from jetbridge.stages import BatchStage, SinkStage, Stage, StreamStage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jetbridge.keyed_stages import GroupedStage
    from jetbridge.windowed_stages import WindowedStage

NodeT = TypeVar("NodeT", bound=Node)
StageT = TypeVar("StageT", bound=Stage)


class Pipeline:
    """A graph of stages from sources to sinks.

    Example:
        >>> from jetbridge import Pipeline
        >>> pipeline = Pipeline.create()
        >>> stage = pipeline.read_from(Pipeline.from_list("numbers", [1, 2, 3, 4, 5]))
        >>> stage.map(lambda x: x * 2).filter(lambda x: x > 4).write_to(Pipeline.to_list("results"))
        <SinkStage 'results'>
        >>> print(pipeline.to_mermaid())
        flowchart LR
          s0(["source numbers"])
          s1["map"]
          s2["filter"]
          s3[("sink results")]
          s0 --> s1
          s1 --> s2
          s2 --> s3
        <BLANKLINE>
    """

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        # The stages that are one with another: its id, theirs, and what they add to its name.
        self._parts: dict[int, dict[int, str]] = {}
        self._groups: list[GroupedStage[Any] | WindowedStage[Any]] = []

    @staticmethod
    def create() -> Pipeline:
        """A new, empty pipeline.

        Example:
            >>> from jetbridge import Pipeline
            >>> Pipeline.create()
            <Pipeline of 0 stages>
        """
        return Pipeline()

    @staticmethod
    def from_list(name: str, items: Iterable[Any]) -> Source:
        """A batch source of items that travel with the job; no stored list is made.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> numbers = Pipeline.create().read_from(Pipeline.from_list("numbers", range(3)))
            >>> testing.run_kernels(numbers)
            [0, 1, 2]

        Args:
            name: The source's name.
            items: The items; they are copied now.

        Raises:
            PipelineError: When ``items`` cannot be iterated or is a text, bytes or a mapping, or the name is no text.
        """
        return ItemsSource(name, items)

    @staticmethod
    def from_map(name: str) -> Source:
        """A batch source of a stored map's entries, as ``(key, value)``.

        The map is read in pages by key; an entry that changes while the job
        reads is seen before or after its change.

        Example:
            >>> from jetbridge import Pipeline
            >>> prices = Pipeline.create().read_from(Pipeline.from_map("prices"))
            >>> prices.filter(lambda entry: entry[1] > 5).write_to(Pipeline.to_list("dear"))
            <SinkStage 'dear'>

        Args:
            name: The map's name; one that nobody has written is empty.

        Raises:
            PipelineError: When the name is no text.
        """
        return MapSource(name)

    @staticmethod
    def to_list(name: str, clear: bool = False) -> Sink:
        """A sink that appends items to a stored list, in each partition's order.

        What one epoch of the job appended is seen whole or not at all. With
        EXACTLY_ONCE each item is there once; with AT_LEAST_ONCE items of before a
        crash may come again behind it; with NONE a job that starts afresh appends
        them all again, unless ``clear`` is set.

        Example:
            >>> from jetbridge import Pipeline
            >>> numbers = Pipeline.create().read_from(Pipeline.from_list("numbers", [1, 2, 3]))
            >>> numbers.write_to(Pipeline.to_list("results", clear=True))
            <SinkStage 'results'>

        Args:
            name: The list's name.
            clear: Empty the list in the first commit of each fresh start.

        Raises:
            PipelineError: When the name is no text, or ``clear`` no bool.
        """
        return ListSink(name, clear=clear)

    @staticmethod
    def to_map(name: str) -> Sink:
        """A sink that puts ``(key, value)`` items into a stored map; the last write of a key wins.

        Which write of a key is the last is settled within a source partition, and
        below a stage with keys within a key. With EXACTLY_ONCE the map is what a run
        without failures leaves; with less it may show older values for a while after
        a crash, until the items come again.

        Example:
            >>> from jetbridge import Pipeline
            >>> sales = Pipeline.create().read_from(Pipeline.from_list("sales", [("tea", 3), ("cup", 9)]))
            >>> sales.write_to(Pipeline.to_map("prices"))
            <SinkStage 'prices'>

        Args:
            name: The map's name.

        Raises:
            PipelineError: When the name is no text.
        """
        return MapSink(name)

    @staticmethod
    def to_logger() -> Sink:
        """A sink that logs each item: logger ``jetbridge.<job name>``, level INFO, on the client's console.

        Example:
            >>> from jetbridge import Pipeline
            >>> numbers = Pipeline.create().read_from(Pipeline.from_list("numbers", [1, 2, 3]))
            >>> numbers.write_to(Pipeline.to_logger())
            <SinkStage 'logger'>
        """
        return LoggerSink()

    @overload
    def read_from(self, source: StreamSource) -> StreamStage: ...  # type: ignore[overload-overlap]

    @overload
    def read_from(self, source: Source) -> BatchStage: ...

    def read_from(self, source: Source) -> BatchStage | StreamStage:
        """Start a stage that reads a source.

        Example:
            >>> from jetbridge import Pipeline, StreamSource
            >>> pipeline = Pipeline.create()
            >>> pipeline.read_from(Pipeline.from_list("numbers", [1, 2])), pipeline.read_from(StreamSource("clicks"))
            (<BatchStage 'numbers'>, <StreamStage 'clicks'>)

        Args:
            source: What ``Pipeline.from_…``, ``ListSource`` or `jetbridge.sources` gives.

        Returns:
            A batch stage, or a stream stage for a source that never ends.

        Raises:
            PipelineError: When ``source`` is no source.
        """
        if not isinstance(source, Source):
            hint = ": call it first" if callable(source) else ""
            raise PipelineError(
                f"read_from must be given a source, such as Pipeline.from_list(name, items); "
                f"got {described(source)}{hint}"
            )
        node = self._add(SourceNode, source.name, (), source=source)
        return (BatchStage if source.bounded else StreamStage)(self, node.id)

    def plan(self) -> Plan:
        """The pipeline as an immutable plan, which is what a runner gets.

        Example:
            >>> from jetbridge import Pipeline
            >>> pipeline = Pipeline.create()
            >>> numbers = pipeline.read_from(Pipeline.from_list("numbers", [1]))
            >>> stage = numbers.map(str).write_to(Pipeline.to_list("all"))
            >>> [node.name for node in pipeline.plan().nodes]
            ['numbers', 'map', 'all']

        Raises:
            PipelineError: When it has no source, no sink, or a stage that nothing reads.
        """
        for group in self._groups:
            if not group._used:
                what, ways_on = group._unread()
                raise PipelineError(
                    f"nothing reads the {what} after '{group._stage.name}': go on with {ways_on}, or remove it"
                )
        return checked(self._nodes)

    def to_dot(self) -> str:
        """The graph in the language of Graphviz.

        Example:
            >>> from jetbridge import Pipeline
            >>> pipeline = Pipeline.create()
            >>> stage = pipeline.read_from(Pipeline.from_list("numbers", [1])).write_to(Pipeline.to_list("all"))
            >>> pipeline.to_dot().splitlines()[0]
            'digraph pipeline {'
        """
        return to_dot(named(self._nodes))

    def to_mermaid(self) -> str:
        """The graph in the language of Mermaid, as GitHub shows it.

        Example:
            >>> from jetbridge import Pipeline
            >>> pipeline = Pipeline.create()
            >>> stage = pipeline.read_from(Pipeline.from_list("numbers", [1])).write_to(Pipeline.to_list("all"))
            >>> pipeline.to_mermaid().splitlines()[0]
            'flowchart LR'
        """
        return to_mermaid(named(self._nodes))

    def _repr_svg_(self) -> str:
        """The picture that a notebook shows."""
        return to_svg(named(self._nodes))

    def __repr__(self) -> str:
        count = len(self._nodes)
        return f"<Pipeline of {count} stage{'' if count == 1 else 's'}>"

    def _add(self, kind: type[NodeT], name: str, inputs: tuple[int, ...], **fields: Any) -> NodeT:
        node = kind(id=len(self._nodes), name=name, named=False, inputs=inputs, **fields)
        self._nodes.append(node)
        return node

    def _rename(self, node_id: int, name: str) -> None:
        if not isinstance(name, str) or not name.strip():
            raise PipelineError(f"a stage's name must be a text that is not empty; got {described(name)}")
        for node in self._nodes:
            if node.named and node.name == name and node.id != node_id:
                raise PipelineError(f"two stages are named '{name}': give one of them another name with set_name")
        self._nodes[node_id] = replace(self._nodes[node_id], name=name, named=True)
        for part, suffix in self._parts.get(node_id, {}).items():
            self._rename(part, f"{name}-{suffix}")

    def _on_error(self, stage: StageT, then: Any) -> StageT:
        node = self._nodes[stage._id]
        calls = isinstance(node, KeyedNode) or any(map(callable, node.functions.values()))
        if not calls or isinstance(node, (SourceNode, BeamNode)):
            raise PipelineError(f"on_error: {node.kind} '{stage.name}' calls no function of an item")
        whole = [*self._parts.get(node.id, {}), node.id]
        if isinstance(then, Sink):
            failed = [self._add(FailedNode, "on_error", (each,)).id for each in whole]
            if len(failed) > 1:
                failed = [self._add(MergeNode, "merge", tuple(failed)).id]
            self._write(Stage(self, failed[0]), then)
        elif then not in ("fail", "skip"):
            raise PipelineError(f"on_error must be given 'fail', 'skip' or a sink; got {described(then)}")
        for each in whole:
            self._nodes[each] = replace(self._nodes[each], on_error=then if then == "fail" else "skip")
        return stage

    def _name(self, node_id: int) -> str:
        return named(self._nodes)[node_id].name

    def _write(self, stage: Stage, sink: Sink) -> SinkStage:
        if not isinstance(sink, Sink):
            hint = ": call it first" if callable(sink) else ""
            raise PipelineError(
                f"write_to must be given a sink, such as Pipeline.to_list(name); got {described(sink)}{hint}"
            )
        for node in self._nodes:
            same = isinstance(node, SinkNode) and (
                node.sink is sink or (sink.identity is not None and node.sink.identity == sink.identity)
            )
            if same:
                raise PipelineError(
                    f"{sink.kind} '{sink.name}' is already a sink of this pipeline: "
                    "merge the stages and write once, or write to another one"
                )
        node = self._add(SinkNode, sink.name, (stage._id,), sink=sink)
        return SinkStage(self, node.id)


__all__ = ["ListSource", "Pipeline", "StreamSource"]
