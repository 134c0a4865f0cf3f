"""Stages: the fluent methods of a pipeline under construction.

Each method adds a node to the pipeline's plan and returns the stage after it.
A stage may be used more than once: each use gets all items.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from typing_extensions import Self

from jetbridge.aggregate_stages import Aggregating
from jetbridge.arguments import described, flag, function
from jetbridge.aside_stages import Extending, NotSiding, Siding
from jetbridge.checks import no_attribute
from jetbridge.coaggregate_stages import CoAggregating
from jetbridge.errors import PipelineError
from jetbridge.hash_join_stages import HashJoining
from jetbridge.plan.keyed import DistinctNode, SortNode
from jetbridge.plan.stateless import FilterNode, FlatMapNode, MapNode, MergeNode
from jetbridge.service_stages import Serving
from jetbridge.shaping_stages import Placing, Shaping
from jetbridge.sides import Side
from jetbridge.stateful_stages import Stateful
from jetbridge.timed_stages import Timing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jetbridge.aggregations import AggregateOperation
    from jetbridge.connectors.base import Sink
    from jetbridge.keyed_stages import GroupedStage
    from jetbridge.pipeline import Pipeline

Result = TypeVar("Result")
ROLLING = (
    "give it times and a window (with_timestamps(...).window(...)), "
    "or use rolling_aggregate(...) for a result after each item"
)
"""The way out for who wants an aggregate of a stream."""


class Stage(Placing):
    """A place in a pipeline."""

    def __init__(self, pipeline: Pipeline, node_id: int) -> None:
        self._pipeline = pipeline
        self._id = node_id

    @property
    def name(self) -> str:
        """The stage's name: the one that was set, or a default such as ``map-2``.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> words = Pipeline.create().read_from(testing.items("a"))
            >>> words.map(str.upper).map(str.lower).name
            'map-2'
        """
        return self._pipeline._name(self._id)

    def set_name(self, name: str) -> Self:
        """Name the stage, for messages and metrics, and so that saved state finds it again.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> words = Pipeline.create().read_from(testing.items("a"))
            >>> words.map(str.upper).set_name("shout")
            <BatchStage 'shout'>

        Args:
            name: Unique within the pipeline.

        Returns:
            This stage.

        Raises:
            PipelineError: When another stage has the name, or it is no text.
        """
        self._pipeline._rename(self._id, name)
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} '{self.name}'>"


class SinkStage(Stage, NotSiding):
    """The end of a branch."""

    _on_error_belongs = "call it before write_to, on the stage whose function may fail"

    if not TYPE_CHECKING:  # type checkers would take any name for an attribute

        def __getattr__(self, name: str) -> Any:
            raise no_attribute(self, name, "write_to ends a branch: go on from the stage that it was called on")


class GeneralStage(Stage, Timing, HashJoining, Serving, Shaping, Siding, Extending):
    """What stages of batch and of stream pipelines have in common."""

    def map(self, fn: Callable[[Any], Any]) -> Self:
        """Replace each item by what a function returns; None is an item like any other.

        As Jet's ``map``, which leaves None out. The function returns a new item and
        leaves its argument as it is: other branches of the pipeline get the same object.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> words = Pipeline.create().read_from(testing.items("to", "be"))
            >>> testing.run_kernels(words.map(str.upper))
            ['TO', 'BE']

        Args:
            fn: ``(item) -> result``.

        Raises:
            PipelineError: When ``fn`` is not callable.
        """
        return self._then(MapNode, "map", fn=function("map", "fn", fn, "item"))

    def filter(self, predicate: Callable[[Any], Any]) -> Self:
        """Keep the items for which a function returns something true.

        As Jet's ``filter``.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> numbers = Pipeline.create().read_from(testing.items(1, 2, 3, 4))
            >>> testing.run_kernels(numbers.filter(lambda n: n % 2 == 0))
            [2, 4]

        Args:
            predicate: ``(item) -> whether to keep it``.

        Raises:
            PipelineError: When ``predicate`` is not callable.
        """
        return self._then(FilterNode, "filter", predicate=function("filter", "predicate", predicate, "item"))

    def flat_map(self, fn: Callable[[Any], Iterable[Any]]) -> Self:
        """Replace each item by all items of the iterable that a function returns.

        As Jet's ``flatMap``.

        A generator is drawn from as its items are needed, so one item may give
        more than memory holds.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> lines = Pipeline.create().read_from(testing.items("to be", "or not"))
            >>> testing.run_kernels(lines.flat_map(str.split))
            ['to', 'be', 'or', 'not']

        Args:
            fn: ``(item) -> iterable of results``.

        Raises:
            PipelineError: When ``fn`` is not callable.
        """
        return self._then(FlatMapNode, "flat_map", fn=function("flat_map", "fn", fn, "item"))

    def merge(self, *others: GeneralStage) -> Self:
        """All items of this stage and of others; each source partition's order is kept.

        As Jet's ``merge``.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> pipeline = Pipeline.create()
            >>> odd, even = pipeline.read_from(testing.items(1, 3)), pipeline.read_from(testing.items(2, 4))
            >>> sorted(testing.run_kernels(odd.merge(even)))
            [1, 2, 3, 4]

        Args:
            others: One or more stages of the same pipeline.

        Returns:
            A stream stage when one of them is, else a batch stage.

        Raises:
            PipelineError: When another is no stage of the same pipeline.
        """
        if not others:
            raise PipelineError("merge must be given at least one other stage")
        for other in others:
            if not isinstance(other, GeneralStage):
                raise PipelineError(f"merge must be given stages; got {described(other)}")
            if other._pipeline is not self._pipeline:
                raise PipelineError(
                    f"merge: stage '{other.name}' belongs to another pipeline: build both branches in one"
                )
        node = self._pipeline._add(MergeNode, "merge", (self._id, *(other._id for other in others)))
        kind = StreamStage if any(isinstance(stage, StreamStage) for stage in (self, *others)) else BatchStage
        merged: Any = kind(self._pipeline, node.id)
        return merged  # type: ignore[no-any-return]

    def group_by(self, key_fn: Callable[[Any], Any]) -> GroupedStage[Self]:
        """Group items by a key.

        As Jet's ``groupingKey``.

        Keys are equal as in a dict (1, 1.0 and True are one), and NaN is one
        key. They are of the types None, bool, int, float, str, bytes,
        datetime, date, time, timedelta, Decimal, UUID, Enum, and tuples and
        frozensets of these.

        Example:
            >>> from jetbridge import Pipeline, aggregations, testing
            >>> words = Pipeline.create().read_from(testing.items("tea", "cup", "pot", "teas"))
            >>> sorted(testing.run_kernels(words.group_by(len).aggregate(aggregations.counting())))
            [(3, 3), (4, 1)]

        Args:
            key_fn: ``(item) -> key``.

        Returns:
            A grouped stage, for ``aggregate``, ``distinct`` or ``write_to``.

        Raises:
            PipelineError: When ``key_fn`` is not callable.
        """
        from jetbridge.keyed_stages import GroupedStage

        grouped = GroupedStage(self, function("group_by", "key_fn", key_fn, "item"))
        self._pipeline._groups.append(grouped)
        return grouped

    def distinct(self, key_fn: Callable[[Any], Any] | None = None) -> Self:
        """Keep the first item of each key, and emit it at once.

        As Jet's ``distinct``, of which it is not said which item of a key stays.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> words = Pipeline.create().read_from(testing.items("tea", "cup", "teas", "tea"))
            >>> sorted(testing.run_kernels(words.distinct())), sorted(testing.run_kernels(words.distinct(len)))
            (['cup', 'tea', 'teas'], ['tea', 'teas'])

        Args:
            key_fn: The key of an item; without it the item itself, which must
                then be of a type that can be a key (see `group_by`).

        Raises:
            PipelineError: When ``key_fn`` is not callable.
        """
        if key_fn is not None:
            function("distinct", "key_fn", key_fn, "item")
        return self._then(DistinctNode, "distinct", key_fn=key_fn)

    def write_to(self, sink: Sink) -> SinkStage:
        """Send the items to a sink.

        As Jet's ``writeTo``; a sink may be written to once in a pipeline.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> words = Pipeline.create().read_from(testing.items("to", "be"))
            >>> words.write_to(Pipeline.to_list("words"))
            <SinkStage 'words'>

        Args:
            sink: What ``Pipeline.to_…`` or `jetbridge.sinks` gives.

        Returns:
            The end of this branch, which can be given a name.

        Raises:
            PipelineError: When it is no sink, or this pipeline already writes to it.
        """
        return self._pipeline._write(self, sink)

    def _side(self) -> Side:
        return Side(self)

    def _above(self) -> GeneralStage:
        return self

    def _then(self, kind: Any, name: str, **fields: Any) -> Self:
        node = self._pipeline._add(kind, name, (self._id,), **fields)
        return type(self)(self._pipeline, node.id)


class BatchStage(GeneralStage, Aggregating["BatchStage"], CoAggregating["BatchStage"], Stateful["BatchStage"]):
    """A stage of a bounded pipeline, whose input ends.

    Example:
        >>> from jetbridge import BatchStage, Pipeline, testing
        >>> isinstance(Pipeline.create().read_from(testing.items(1, 2)), BatchStage)
        True
    """

    def _check_that_it_ends(self, operator: str, way_out: str = ROLLING) -> None:
        pass  # it does

    def _aggregated(self, kind: Any, name: str, operation: AggregateOperation) -> BatchStage:
        return self._then(kind, name, key_fn=None, operation=operation)

    def _with_state(self, kind: Any, **fields: Any) -> BatchStage:
        return self._then(kind, kind.kind, key_fn=None, **fields)

    def sort(self, key_fn: Callable[[Any], Any] | None = None, reverse: bool = False) -> BatchStage:
        """All items in order, at the end of the input; equal keys keep the order of arrival.

        As Jet's ``sort``. All items are held in the memory of one worker until the
        input ends.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> words = Pipeline.create().read_from(testing.items("cup", "tea", "saucer"))
            >>> testing.run_kernels(words.sort(len, reverse=True))
            ['saucer', 'cup', 'tea']

        Args:
            key_fn: What to compare; without it the items themselves.
            reverse: The greatest first.

        Raises:
            PipelineError: When ``key_fn`` is not callable, or ``reverse`` no bool.
        """
        if key_fn is not None:
            function("sort", "key_fn", key_fn, "item")
        return self._then(SortNode, "sort", key_fn=key_fn, reverse=flag("sort", "reverse", reverse))


class StreamStage(GeneralStage, Aggregating["StreamStage"], CoAggregating["StreamStage"], Stateful["StreamStage"]):
    """A stage of an unbounded pipeline: what needs the end of the input is refused.

    Example:
        >>> from jetbridge import Pipeline, StreamSource, StreamStage
        >>> isinstance(Pipeline.create().read_from(StreamSource("clicks")), StreamStage)
        True
    """

    def sort(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not on a stream: the least item may still come.

        Example:
            >>> from jetbridge import Pipeline, StreamSource
            >>> Pipeline.create().read_from(StreamSource("clicks")).sort()  # doctest: +ELLIPSIS
            Traceback (most recent call last):
            jetbridge.errors.PipelineError: sort needs the end of its input, and a stream has none: ...

        Args:
            args: Whatever they are.
            kwargs: Likewise.

        Raises:
            PipelineError: Always, with the way out.
        """
        raise endless(
            "sort",
            "give it times and a window (with_timestamps(...).window(...).aggregate(aggregations.sorting())), "
            "or sort in a batch pipeline over what this one writes",
        )

    def _check_that_it_ends(self, operator: str, way_out: str = ROLLING) -> NoReturn:
        raise endless(operator, way_out)

    def _aggregated(self, kind: Any, name: str, operation: AggregateOperation) -> StreamStage:
        return self._then(kind, name, key_fn=None, operation=operation)

    def _with_state(self, kind: Any, **fields: Any) -> StreamStage:
        return self._then(kind, kind.kind, key_fn=None, **fields)


def endless(operator: str, way_out: str) -> PipelineError:
    """The error for an operator that a stream cannot have."""
    return PipelineError(f"{operator} needs the end of its input, and a stream has none: {way_out}")
