"""The methods of stages for what goes aside, and for parts that come from elsewhere."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from typing_extensions import Self

from jetbridge.arguments import described, function
from jetbridge.errors import PipelineError
from jetbridge.plan.ends import BeamNode
from jetbridge.plan.side import LateNode

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetbridge.connectors.base import Sink
    from jetbridge.pipeline import Pipeline

Result = TypeVar("Result")


class Siding(abc.ABC):
    """What leaves a stage beside its results."""

    _pipeline: Pipeline
    _id: int

    def on_error(self, then: str | Sink) -> Self:
        """What becomes of an item on which the user's function in this stage raises.

        Jet has no such thing; Flink has side outputs for it, and Beam's libraries call the sink a dead-letter queue.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> texts = Pipeline.create().read_from(testing.items("1", "two", "3"))
            >>> testing.run_kernels(texts.map(int).on_error("skip"))
            [1, 3]
            >>> texts.map(int).on_error(Pipeline.to_list("bad"))
            <BatchStage 'map-2'>

        Args:
            then: ``"fail"``, the default: the job fails. ``"skip"``: it goes on
                without the item, and the metrics count it. Or a sink, which gets
                a `FailedItem` with the job's guarantee: each just once with
                EXACTLY_ONCE. A function of an item in a stage with state, such as
                an accumulator, must not have changed anything when it raises.

        Returns:
            This stage.

        Raises:
            PipelineError: When ``then`` is none of these, or no function of a user's is called here.
        """
        stage: Any = self
        result: Self = self._pipeline._on_error(stage, then)
        return result

    def late_items(self) -> Self:
        """The items that came too late for this stage's windows, matches or states, without times.

        Jet drops them; this is Flink's ``sideOutputLateData``.

        Example:
            >>> from jetbridge import Pipeline, aggregations, testing, windows
            >>> clicks = Pipeline.create().read_from(testing.scripted([1, 5, 12, 3])).with_timestamps(lambda at: at)
            >>> counts = clicks.window(windows.tumbling(10)).aggregate(aggregations.counting())
            >>> testing.run_kernels(counts.late_items())
            [3]

        Raises:
            PipelineError: When this stage has neither windows, nor joins by times, nor a ttl.
        """
        node = self._pipeline._nodes[self._id]
        if not getattr(node, "drops_late", False):
            raise PipelineError(
                f"late_items: nothing is late for {node.kind} '{self._pipeline._name(self._id)}': call it behind a "
                "window, a join by times, or a stage whose state has a ttl"
            )
        return self._then(LateNode, "late_items")

    @abc.abstractmethod
    def _then(self, kind: Any, name: str, **fields: Any) -> Self:
        """Add a stage behind this one."""


class NotSiding:
    """What calls no function of an item, so that nothing leaves it beside its results."""

    _on_error_belongs: str

    def on_error(self, then: str | Sink) -> NoReturn:
        """Not here: it belongs to the stage whose function may fail.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> sink = Pipeline.create().read_from(testing.items("a")).write_to(Pipeline.to_list("words"))
            >>> sink.on_error("skip")  # doctest: +ELLIPSIS
            Traceback (most recent call last):
            jetbridge.errors.PipelineError: on_error cannot be called on <SinkStage 'words'>: call it before ...

        Args:
            then: As for the stages that have it.

        Raises:
            PipelineError: Always, with the way out.
        """
        raise PipelineError(f"on_error cannot be called on {self!r}: {self._on_error_belongs}")


class Extending(abc.ABC):
    """Parts of pipelines that are made elsewhere."""

    def apply(self, fn: Callable[[Self], Result]) -> Result:
        """Call a function with this stage, to use a part of a pipeline again.

        As Jet's ``apply``.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> def cleaned(stage):
            ...     return stage.map(str.strip).filter(bool)
            >>> testing.run_kernels(Pipeline.create().read_from(testing.items(" a", " ")).apply(cleaned))
            ['a']

        Args:
            fn: ``(this stage) -> another stage``.

        Returns:
            What the function returned.

        Raises:
            PipelineError: When ``fn`` is not callable, or returns no stage.
        """
        from jetbridge.keyed_stages import GroupedStage
        from jetbridge.stages import Stage

        result: Result = function("apply", "fn", fn)(self)
        if not isinstance(result, (Stage, GroupedStage)):
            raise PipelineError(f"apply: the function must return a stage; got {described(result)}")
        return result

    def apply_beam(self, ptransform: Any) -> Self:
        """Run a Beam PTransform on the items.

        On the Direct runner a transform that groups, windows or keeps state
        makes the whole job one epoch, so its input must fit in memory; on a
        stream it is refused when the job is submitted. What Beam cannot apply,
        and what gives several PCollections, is refused then on every runner.

        Example:
            >>> import apache_beam as beam
            >>> from jetbridge import Pipeline, testing
            >>> words = Pipeline.create().read_from(testing.items("to", "be"))
            >>> words.apply_beam(beam.Map(str.upper)).write_to(Pipeline.to_list("shouted"))
            <SinkStage 'shouted'>

        Args:
            ptransform: An ``apache_beam.PTransform`` from one PCollection to one.

        Raises:
            PipelineError: When it is no PTransform.
        """
        if not (hasattr(ptransform, "expand") and hasattr(ptransform, "default_label")):
            raise PipelineError(f"apply_beam must be given an apache_beam.PTransform; got {described(ptransform)}")
        return self._then(BeamNode, "apply_beam", transform=ptransform)

    @abc.abstractmethod
    def _then(self, kind: Any, name: str, **fields: Any) -> Self:
        """Add a stage behind this one."""
