"""The methods with state of the user's own, which whole stages and grouped stages share."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from jetbridge.arguments import described, function
from jetbridge.errors import PipelineError
from jetbridge.kernels.custom import CustomKernel
from jetbridge.kernels.failure import FAILURES, describe
from jetbridge.plan.stateful import CustomNode, FilterStatefulNode, FlatMapStatefulNode, MapStatefulNode
from jetbridge.plan.times import has_times
from jetbridge.times import duration

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable

    from jetbridge.stages import GeneralStage

ResultT = TypeVar("ResultT")


class Stateful(abc.ABC, Generic[ResultT]):
    """What can keep state: a whole stage or, after a ``group_by``, each key."""

    def map_stateful(
        self,
        create: Callable[[], Any],
        fn: Callable[..., Any],
        ttl: int | dt.timedelta | None = None,
        on_evict: Callable[..., Any] | None = None,
        delete_state_predicate: Callable[[Any], Any] | None = None,
    ) -> ResultT:
        """Replace each item by what a function returns that also has a state, and may change it.

        As Jet's ``mapStateful``.

        There is one state for the whole stage or, after a ``group_by``, one for
        each key. The function changes it in place, so it is an object that can
        be changed: a dict, a list, an instance of a class of yours, or
        ``types.SimpleNamespace(count=0)`` where it is a number that is replaced
        by another one. It is stored with the job's guarantee, so what is in it
        must be values that can be stored.

        As for ``map``, None is an item like any other (in Jet it emits nothing):
        ``flat_map_stateful`` is there for items that give nothing.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> def change(state, sensor, reading):
            ...     before, state["last"] = state.get("last", 0), reading[1]
            ...     return sensor, reading[1] - before
            >>> readings = Pipeline.create().read_from(testing.items(("hall", 18), ("hall", 21)))
            >>> testing.run_kernels(readings.group_by(lambda reading: reading[0]).map_stateful(dict, change))
            [('hall', 18), ('hall', 3)]

            Without a ``group_by``, with an object as its state:

            >>> from types import SimpleNamespace
            >>> def numbered(state, word):
            ...     state.count += 1
            ...     return state.count, word
            >>> words = Pipeline.create().read_from(testing.items("to", "be"))
            >>> testing.run_kernels(words.map_stateful(lambda: SimpleNamespace(count=0), numbered))
            [(1, 'to'), (2, 'be')]

        Args:
            create: Makes the state that an item finds when there is none.
            fn: ``(state, item) -> output`` or, after a ``group_by``,
                ``(state, key, item) -> output``. The output has the time of its
                item. A list, dict or set is copied when it is emitted, and so is
                the state itself; what is inside them must not be changed later.
            ttl: How long a state lives after the newest of its items, in
                milliseconds of event time or as a timedelta: an item that is
                later than that finds a new state, and when the watermark has
                passed that time the state is dropped. At the end of a bounded
                input all are dropped. An item behind the watermark of its source
                partition is late, and left out: see ``late_items``. Unlike in
                Jet an item need not wait for the watermark to find a new state,
                so that the results do not depend on when a runner tells of it.
                Without a ttl a state lives as long as the job.
            on_evict: ``(state, time) -> output`` or, after a ``group_by``,
                ``(state, key, time) -> output``, called when a state is dropped
                because of its ttl; None gives no output. The time is that of the
                newest item plus the ttl, and the output's own.
            delete_state_predicate: ``(state) -> bool``, called after each item: a
                state for which it is true is dropped, without ``on_evict``.

        Raises:
            PipelineError: When something is no function, ``ttl`` is no duration, or
                the items have no times for it.
        """
        return self._stateful(MapStatefulNode, create, fn, ttl, on_evict, delete_state_predicate)

    def filter_stateful(
        self,
        create: Callable[[], Any],
        fn: Callable[..., Any],
        ttl: int | dt.timedelta | None = None,
        delete_state_predicate: Callable[[Any], Any] | None = None,
    ) -> ResultT:
        """Keep the items for which a function returns something true that also has a state, and may change it.

        As Jet's ``filterStateful``.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> def has_changed(state, n):
            ...     before, state["last"] = state.get("last"), n
            ...     return n != before
            >>> numbers = Pipeline.create().read_from(testing.items(1, 1, 2, 1))
            >>> testing.run_kernels(numbers.filter_stateful(dict, has_changed))
            [1, 2, 1]

        Args:
            create: As for `map_stateful`.
            fn: ``(state, item) -> bool`` or, after a ``group_by``, ``(state, key, item) -> bool``.
            ttl: As for `map_stateful`. A state is dropped without a word: a filter gives no other items.
            delete_state_predicate: As for `map_stateful`.

        Raises:
            PipelineError: As `map_stateful` does.
        """
        return self._stateful(FilterStatefulNode, create, fn, ttl, None, delete_state_predicate)

    def flat_map_stateful(
        self,
        create: Callable[[], Any],
        fn: Callable[..., Iterable[Any]],
        ttl: int | dt.timedelta | None = None,
        on_evict: Callable[..., Iterable[Any] | None] | None = None,
        delete_state_predicate: Callable[[Any], Any] | None = None,
    ) -> ResultT:
        """Replace each item by all items of the iterable that a function returns, which also has a state.

        As Jet's ``flatMapStateful``.

        Example:
            The visits to a site: the clicks of a visitor until there is none for half an hour.

            >>> from jetbridge import Pipeline, testing
            >>> def click(visit, visitor, item):
            ...     visit.append(item[2])
            ...     return []
            >>> clicks = Pipeline.create().read_from(testing.items(("ann", 0, "/"), ("ann", 7, "/shop")))
            >>> by_visitor = clicks.with_timestamps(lambda item: item[1]).group_by(lambda item: item[0])
            >>> ended = lambda visit, visitor, time: [(visitor, visit)]
            >>> testing.run_kernels(by_visitor.flat_map_stateful(list, click, ttl=1_800_000, on_evict=ended))
            [('ann', ['/', '/shop'])]

        Args:
            create: As for `map_stateful`.
            fn: ``(state, item) -> iterable`` or, after a ``group_by``,
                ``(state, key, item) -> iterable``. A generator may change the
                state between its items.
            ttl: As for `map_stateful`.
            on_evict: As for `map_stateful`, but it returns an iterable, or None.
            delete_state_predicate: As for `map_stateful`; called when the iterable has ended.

        Raises:
            PipelineError: As `map_stateful` does.
        """
        return self._stateful(FlatMapStatefulNode, create, fn, ttl, on_evict, delete_state_predicate)

    def custom(self, kernel_factory: Callable[[], CustomKernel]) -> ResultT:
        """Run a kernel of your own, for what no other stage does: any state, and results at times of its choice.

        What a processor of one's own is in Jet (``customTransform``), and a keyed process function in Flink.

        Example:
            >>> from jetbridge import CustomKernel, Pipeline, testing
            >>> class Steps(CustomKernel):
            ...     def process(self, state, key, items, times):
            ...         for item in items:
            ...             before, state["last"] = state.get("last", 0), item
            ...             yield item - before
            >>> testing.run_kernels(Pipeline.create().read_from(testing.items(1, 5, 7)).custom(Steps))
            [1, 4, 2]

        Args:
            kernel_factory: Makes the kernel, a `jetbridge.CustomKernel`, without
                arguments: its class, or a lambda that gives some. It is called
                on each core, and once now.

        Raises:
            PipelineError: When it makes none.
        """
        function("custom", "kernel_factory", kernel_factory)
        try:
            kernel = kernel_factory()
        except FAILURES as error:
            raise PipelineError(f"custom: the kernel_factory failed: {describe(error)}") from error
        if not isinstance(kernel, CustomKernel):
            raise PipelineError(f"custom: the kernel_factory must make a CustomKernel; got {described(kernel)}")
        fields = {"kernel": kernel_factory, "gives_times": kernel.gives_times, "late": kernel.drops_late}
        return self._with_state(CustomNode, **fields)

    def _stateful(
        self, kind: Any, create: Any, fn: Any, ttl: Any, on_evict: Any, delete_state_predicate: Any
    ) -> ResultT:
        operator = kind.kind
        above: Any = self._above()
        before = "state" if above is self else "state, key"
        function(operator, "create", create, "")
        function(operator, "fn", fn, f"{before}, item")
        if on_evict is not None:
            function(operator, "on_evict", on_evict, f"{before}, time")
        if delete_state_predicate is not None:
            function(operator, "delete_state_predicate", delete_state_predicate, "state")
        if ttl is not None:
            ttl = duration(operator, "ttl", ttl)
            stage = self._above()
            nodes = stage._pipeline._nodes
            if not has_times(nodes, nodes[stage._id]):
                raise PipelineError(
                    f"{operator} needs the times of the items for its ttl, and those of '{stage.name}' have none: "
                    "call with_timestamps(fn) behind the source"
                )
        elif on_evict is not None:
            raise PipelineError(f"{operator}: on_evict is called when a state's ttl is over: give a ttl, too")
        return self._with_state(kind, create=create, fn=fn, ttl=ttl, on_evict=on_evict, delete=delete_state_predicate)

    @abc.abstractmethod
    def _above(self) -> GeneralStage:
        """The stage whose items it gets."""

    @abc.abstractmethod
    def _with_state(self, kind: Any, **fields: Any) -> ResultT:
        """Add the stage."""
