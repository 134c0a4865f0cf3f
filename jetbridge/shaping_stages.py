"""The methods of stages that are about where their work is done, and what is seen of it."""

from __future__ import annotations

import abc
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from jetbridge.arguments import described, function
from jetbridge.errors import PipelineError
from jetbridge.plan.shape import RebalanceNode
from jetbridge.plan.stateless import PeekNode

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetbridge.pipeline import Pipeline


class Placing:
    """How far a stage is spread."""

    _pipeline: Pipeline
    _id: int

    def set_local_parallelism(self, parallelism: int) -> Self:
        """Let at most so many of the stage work at once, for example because what it calls bears no more.

        In Jet this is the number of a stage's processors on each member. Here it
        is a bound, and it can only lower what ``connect(parallelism=...)`` and the
        machine give:

        - Direct: the bound is kept for the stage and all that are fused with it,
          which is from a source or a ``rebalance`` up to the next stage with
          state. Other stages keep the job's parallelism. A stage with state
          works in one process anyway.
        - Flink: Beam gives all stages of a job one parallelism, so the least
          bound of its stages is that of the whole job, over all machines.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> ids = Pipeline.create().read_from(testing.items(1, 2))
            >>> testing.run_kernels(ids.map(str).set_local_parallelism(2))
            ['1', '2']

        Args:
            parallelism: At least 1.

        Returns:
            This stage.

        Raises:
            PipelineError: When it is no positive int.
        """
        if type(parallelism) is not int or parallelism < 1:
            raise PipelineError(
                f"set_local_parallelism of stage '{self._pipeline._name(self._id)}' must be given a positive int; "
                f"got {described(parallelism)}"
            )
        nodes = self._pipeline._nodes
        nodes[self._id] = replace(nodes[self._id], local_parallelism=parallelism)
        return self


class Shaping(abc.ABC):
    """What passes items on as they are."""

    def peek(
        self,
        should_log: Callable[[Any], Any] | None = None,
        to_string: Callable[[Any], Any] | None = None,
    ) -> Self:
        """Log each item and pass it on: logger ``jetbridge.<job name>``, level INFO.

        As Jet's ``peek``.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> prices = Pipeline.create().read_from(testing.items(5, 1200))
            >>> testing.run_kernels(prices.peek(lambda price: price > 1000, lambda price: f"dear: {price}"))
            [5, 1200]

        Args:
            should_log: Whether an item is logged; all are passed on. Without it each is.
            to_string: What is logged of an item; without it its ``repr``.

        Raises:
            PipelineError: When something is no function.
        """
        for name, fn in (("should_log", should_log), ("to_string", to_string)):
            if fn is not None:
                function("peek", name, fn, "item")
        return self._then(PeekNode, "peek", should_log=should_log, to_string=to_string)

    def rebalance(self, key_fn: Callable[[Any], Any] | None = None) -> Self:
        """Deal the items out anew, so that the stages below work on all cores: before much work for each item.

        As Jet's ``rebalance``.

        It is of use where items come from few places: a stream with timestamps,
        which one process reads, a source of one partition that cannot be cut, or
        a stage with state. Elsewhere it costs more than it gives, as every item
        travels between processes. The items keep their times; their order is lost.

        - Direct: without it, the stages below a stage with state work in the
          job's own process. The stages below a ``rebalance``, up to the next one
          with state, work in processes of their own, as many as the job's
          parallelism; with a parallelism of 1 nothing changes.
        - Flink: stages below are no longer fused with those above, and the items
          go over the network to all of the job's slots.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> pages = Pipeline.create().read_from(testing.items("to be", "or not"))
            >>> sorted(testing.run_kernels(pages.rebalance().map(str.split)))
            [['or', 'not'], ['to', 'be']]

        Args:
            key_fn: Items of one key stay together, in order, and meet in one
                place at a time, such as for what that place remembers; for keys
                see ``group_by``. Without it items are dealt evenly, a few at a time.

        Raises:
            PipelineError: When ``key_fn`` is not callable.
        """
        if key_fn is not None:
            function("rebalance", "key_fn", key_fn, "item")
        return self._then(RebalanceNode, "rebalance", key_fn=key_fn)

    @abc.abstractmethod
    def _then(self, kind: Any, name: str, **fields: Any) -> Self:
        """Add a stage behind this one."""
