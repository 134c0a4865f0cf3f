"""Kernels of one's own: the public base class, and the kernel that runs one on the shards of a stage."""

from __future__ import annotations

import abc
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any

from jetbridge.kernels.alarms import KeyStates
from jetbridge.kernels.failure import FAILURES, item_error, short_repr, stage_error
from jetbridge.kernels.keyed import KeyedKernel, Keys, State, decode, restored
from jetbridge.kernels.stateful import ItemsSplitter, Results
from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.times import END

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, MutableMapping

    from jetbridge.errors import ItemError
    from jetbridge.plan.stateful import CustomNode

KeyState = dict[Any, Any]


class CustomKernel(abc.ABC):
    """A stage with state of one's own, for ``stage.custom(factory)`` and ``stage.group_by(fn).custom(factory)``.

    It works on one key at a time, or on the whole stage as one key, which is
    None. The state of a key is a dict of its own: jetbridge keeps it with the
    job's guarantee, and forgets a key whose dict is empty after a step. So what
    the kernel must remember stands there and nowhere else, as values that can
    be stored: an instance is made on each core, and may be made anew at any time.

    How many items come at once is up to the runner; so is how often the
    watermark is told. A kernel whose results depend on neither is right on
    every runner: `jetbridge.custom_conformance.check_kernel` tells.

    Example:
        Orders with their payments, and those that were not paid within a minute:

        >>> from jetbridge import CustomKernel, Pipeline
        >>> class Payments(CustomKernel):
        ...     gives_times = True
        ...
        ...     def process(self, state, key, items, times):
        ...         for item, time in zip(items, times):
        ...             if "order" in state and time > state["order"] + 60_000:
        ...                 yield from self.on_watermark(state, key, time)
        ...             if item["kind"] == "order":
        ...                 state["order"] = time
        ...             elif "order" in state:
        ...                 yield time, (key, state.pop("order"), time)
        ...
        ...     def due(self, state, key):
        ...         return state["order"] + 60_001 if "order" in state else None
        ...
        ...     def on_watermark(self, state, key, watermark):
        ...         order = state.pop("order")
        ...         yield order + 60_000, (key, order, None)

        It is right if it gives the same however it is run:

        >>> from jetbridge.custom_conformance import check_kernel
        >>> events = [{"id": 7, "kind": "order", "at": 0}, {"id": 7, "kind": "payment", "at": 90_000}]
        >>> check_kernel(Payments, events, key_fn=lambda event: event["id"], time_fn=lambda event: event["at"])
        {7: [(60000, (7, 0, None))]}

        In a pipeline:

        >>> orders = Pipeline.create().read_from(Pipeline.from_list("events", events))
        >>> timed = orders.with_timestamps(lambda event: event["at"])
        >>> timed.group_by(lambda event: event["id"]).custom(Payments)
        <BatchStage 'custom'>

    Attributes:
        gives_times: Whether results have times; then each is given as ``(time, result)``.
        drops_late: Whether items behind the watermark of their source partition
            are left out, counted, and given to ``stage.late_items()``.
    """

    gives_times: bool = False
    drops_late: bool = False

    def create(self) -> KeyState:
        """The state of a new key."""
        return {}

    @abc.abstractmethod
    def process(self, state: KeyState, key: Any, items: list[Any], times: list[int] | None) -> Iterable[Any]:
        """Take some items of a key, in order, and give results, for example as a generator.

        Args:
            state: What was kept for the key, to be changed in place.
            key: The key; None for the whole stage.
            items: The items, at least one.
            times: Their times in milliseconds; None when the stage before has none.
        """

    def due(self, state: KeyState, key: Any) -> int | None:
        """The watermark at which a key has something to do without a new item; None when it waits for nothing.

        It is asked after each step.

        Args:
            state: As for `process`.
            key: Likewise.

        Returns:
            A time in milliseconds.
        """
        return None

    def on_watermark(self, state: KeyState, key: Any, watermark: int) -> Iterable[Any]:
        """The watermark has reached what `due` said: no item before it is expected any more.

        Afterwards `due` must give a later one, or None.

        Args:
            state: As for `process`.
            key: Likewise.
            watermark: What the watermark has reached, in milliseconds.

        Returns:
            Results, as `process` gives them.
        """
        return ()

    def on_end(self, state: KeyState, key: Any) -> Iterable[Any]:
        """The end of a bounded input: give what is left; the key is forgotten.

        Unless it is overridden this is `on_watermark` with `jetbridge.times.END`, the
        last of all, for a key that waits for a watermark.

        Args:
            state: As for `process`.
            key: Likewise.

        Returns:
            Results, as `process` gives them.
        """
        return () if self.due(state, key) is None else self.on_watermark(state, key, END)


class CustomKeyedKernel(KeyedKernel):
    """Runs a `CustomKernel` on the keys of a shard."""

    kind = "custom"
    timed = True

    def __init__(self, node: CustomNode) -> None:
        super().__init__(node.name)
        self.node = node
        self.single = node.key_fn is None
        self.kernel: CustomKernel = node.kernel()
        self._careful = False

    def be_careful(self) -> None:
        """Give the user's kernel one item at a time, and leave out those that it fails on."""
        self._careful = True

    def splitter(self, shards: int, port: int = 0) -> ItemsSplitter:
        """A splitter that keeps every item and its time."""
        return ItemsSplitter(Keys(self.kind, self.name, self.node.key_fn, shards), drops_late=self.node.drops_late)

    def new_state(self) -> State:
        """No keys."""
        return KeyStates(self._due)

    def _due(self, mine: KeyState, key: Any) -> int | None:
        try:
            return self.kernel.due(mine, key)
        except FAILURES as error:
            raise self._error("asking when it is due", key, error) from error

    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """Give each key its items."""
        assert isinstance(state, KeyStates)
        keys, groups, odd, times_of = decode(payload)
        keys = self.last = restored(keys, odd)
        results = Results()
        for at, (key, items) in enumerate(zip(keys, groups, strict=True)):
            times = None if times_of is None else [int(time) for time in times_of[at]]
            mine = self._of(state, key)
            for part, their in _one_by_one(items, times) if self._careful else [(items, times)]:
                step = partial(self.kernel.process, mine, key, part, their)
                yield from self._given(step, part, key, results)
            self._keep(state, key, mine)
        if results.items:
            yield results.take()

    def _of(self, state: MutableMapping[Any, Any], key: Any) -> KeyState:
        mine = state.get(key)
        if mine is not None:
            return mine  # type: ignore[no-any-return]
        try:
            mine = self.kernel.create()
        except FAILURES as error:
            raise self._error("creating the state", key, error) from error
        if not isinstance(mine, dict):
            error = TypeError(f"create must return a dict; got {short_repr(mine)} ({type(mine).__name__})")
            raise self._error("creating the state", key, error)
        return mine

    def _keep(self, state: KeyStates, key: Any, mine: KeyState) -> None:
        if mine:
            state[key] = mine
        else:
            state.pop(key, None)
        state.touched(key)

    def _given(
        self, step: Callable[[], Iterable[Any]], items: list[Any], key: Any, results: Results
    ) -> Iterator[list[Any]]:
        """Add the results of a step, and yield chunks that are full."""
        try:
            drawn = step()
            for output in list(drawn) if self._careful else drawn:
                results.add(*self._timed(output))
                if len(results.items) >= CHUNK_ITEMS:
                    yield results.take()
        except FAILURES as error:
            alone = item_error(self.kind, self.name, items[0], error) if len(items) == 1 else None
            if not self._careful or alone is None:
                raise (alone or self._error("processing items", key, error)) from error
            self._leave_out(items[0], alone, error)

    def _timed(self, output: Any) -> tuple[Any, int | None]:
        if not self.node.gives_times:
            return output, None
        if not (isinstance(output, tuple) and len(output) == 2 and type(output[0]) is int):
            raise TypeError(f"a kernel that gives times gives (time, result); got {short_repr(output)}")
        return output[1], output[0]

    def _leave_out(self, item: Any, failure: ItemError, error: BaseException) -> None:
        failure.__cause__ = error
        self.failed.append((item, failure))

    def _error(self, doing: str, key: Any, error: BaseException) -> ItemError:
        return stage_error(self.kind, self.name, doing if self.single else f"{doing} of key {short_repr(key)}", error)

    def due(self, state: State) -> int | None:
        """When the first key is due."""
        assert isinstance(state, KeyStates)
        first = state.alarms.first()
        return None if first is None else first[0]

    def on_watermark(self, state: State, watermark: int) -> Iterator[list[Any]]:
        """Call the user's kernel for each key that is due."""
        assert isinstance(state, KeyStates)
        touched: list[Any] = []
        self.last = touched
        results = Results()
        while (first := state.alarms.first()) is not None and first[0] <= watermark:
            at, key = first
            touched.append(key)
            mine = state[key]
            self._all_of(self.kernel.on_watermark, mine, key, results, watermark)
            again = self._due(mine, key) if mine else None
            if again is not None and again <= at:
                error = RuntimeError(f"on_watermark was called at {watermark} and it is due at {again} still")
                raise self._error("moving on", key, error)
            self._keep(state, key, mine)
            if len(results.items) >= CHUNK_ITEMS:
                yield results.take()
        if results.items:
            yield results.take()

    def on_end(self, state: State) -> Iterator[list[Any]]:
        """Let every key give what is left, and forget it."""
        touched: list[Any] = []
        self.last = touched
        results = Results()
        for key in list(state):
            touched.append(key)
            self._all_of(self.kernel.on_end, state.pop(key), key, results)
            if len(results.items) >= CHUNK_ITEMS:
                yield results.take()
        if results.items:
            yield results.take()

    def _all_of(self, step: Callable[..., Iterable[Any]], mine: KeyState, key: Any, results: Results, *at: int) -> None:
        """All results of a step, since a host that stops in between would not come back to the rest."""
        try:
            given = [self._timed(output) for output in step(mine, key, *at)]
        except FAILURES as error:
            failure = self._error("the watermark", key, error)
            if not self._careful:
                raise failure from error
            self._leave_out(mine if self.single else (key, mine), failure, error)
            mine.clear()
            return
        for output, time in given:
            results.add(output, time)

    def add(self, state: State, keys: Any, values: Any, gone: Any = ()) -> None:
        """Put stored keys back."""
        assert isinstance(state, KeyStates)
        state.put_back(keys, values, gone)


def _one_by_one(items: list[Any], times: list[int] | None) -> Iterator[tuple[list[Any], list[int] | None]]:
    for item, time in zip(items, repeat(0) if times is None else times, strict=False):
        yield [item], None if times is None else [time]
