"""Sinks that check what they get: the job fails when they do not agree."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.connectors.base import ConnectorContext, Sink, SinkChunk
from jetbridge.kernels.failure import short_repr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class AssertionSink(Sink):
    """Gathers a bounded job's items, and checks them when the job completes.

    Example:
        >>> from jetbridge import Pipeline, testing
        >>> def check(items):
        ...     assert sum(items) == 6, f"their sum is {sum(items)}"
        >>> pipeline = Pipeline.create()
        >>> _ = pipeline.read_from(testing.items(1, 2)).write_to(AssertionSink("sum", check))
        >>> testing.run_kernels(pipeline)
        Traceback (most recent call last):
        AssertionError: their sum is 3

    Args:
        name: The name of its stage.
        check: Called with all items; raises AssertionError when they are not right.
    """

    kind: ClassVar[str] = "assertion"

    def __init__(self, name: str, check: Callable[[list[Any]], None]) -> None:
        super().__init__(name)
        self.check_items = check
        self.items: list[Any] = []

    @property
    def identity(self) -> None:
        """Several may check the same."""
        return None

    def check_stream(self) -> None:
        """Refuse a stream, which never completes.

        Raises:
            SinkError: Always.
        """
        from jetbridge.errors import SinkError

        raise SinkError(f"{self.name} checks when its job completes, and a stream never does: use assert_eventually")

    def open(self, context: ConnectorContext) -> None:
        """Nothing has come yet."""
        super().open(context)
        self.items = []

    def write(self, chunk: SinkChunk) -> None:
        """Keep a chunk."""
        self.items += chunk.items()

    def complete(self) -> None:
        """Check."""
        self.check_items(self.items)


class EventualSink(AssertionSink):
    """Checks a stream's items each time that some have come, until they are right or the time is over."""

    def __init__(self, check: Callable[[list[Any]], None], timeout: float) -> None:
        super().__init__("assert_eventually", check)
        self.timeout = timeout

    def check_stream(self) -> None:
        """A stream is what it is for."""

    def open(self, context: ConnectorContext) -> None:
        """The time begins."""
        super().open(context)
        self._deadline = time.monotonic() + self.timeout
        self._last: AssertionError | None = None
        self._right = False

    def flush(self) -> None:
        """Check, unless it has been right once."""
        if self._right:
            return
        try:
            self.check_items(self.items)
            self._right = True
        except AssertionError as error:
            if time.monotonic() > self._deadline:
                raise AssertionError(f"it did not come true within {self.timeout:g} s; last: {error}") from error

    def complete(self) -> None:
        """For a batch job: check for the last time."""
        if not self._right:
            self.check_items(self.items)


def assert_ordered(expected: Iterable[Any]) -> Sink:
    """A sink whose items must be these, in this order.

    Example:
        >>> from jetbridge import Pipeline
        >>> from jetbridge.testing import items, run_kernels
        >>> pipeline = Pipeline.create()
        >>> _ = pipeline.read_from(items(2, 1)).write_to(assert_ordered([1, 2]))
        >>> run_kernels(pipeline)
        Traceback (most recent call last):
        AssertionError: assert_ordered: item 0 is 2 and should be 1; got [2, 1]

    Args:
        expected: The items.

    Raises:
        AssertionError: In the job, when they are others; it names the first.
    """
    wanted = list(expected)

    def check(got: list[Any]) -> None:
        for index, (one, other) in enumerate(zip(got, wanted, strict=False)):
            if one != other:
                raise AssertionError(
                    f"assert_ordered: item {index} is {short_repr(one)} and should be {short_repr(other)}; "
                    f"got {short_repr(got)}"
                )
        if len(got) != len(wanted):
            raise AssertionError(
                f"assert_ordered: {len(got)} items came and should be {len(wanted)}; got {short_repr(got)}"
            )

    return AssertionSink("assert_ordered", check)


def assert_any_order(expected: Iterable[Any]) -> Sink:
    """A sink whose items must be these, each as often, in any order.

    Example:
        >>> from jetbridge import Pipeline, testing
        >>> pipeline = Pipeline.create()
        >>> _ = pipeline.read_from(testing.items(2, 1)).write_to(testing.assert_any_order([1, 2]))
        >>> testing.run_kernels(pipeline)
        {'assert_any_order': [2, 1]}

    Args:
        expected: The items.

    Raises:
        AssertionError: In the job, when they are others; it names them.
    """
    wanted = list(expected)

    def check(got: list[Any]) -> None:
        missing, extra = _without(wanted, got), _without(got, wanted)
        if missing or extra:
            raise AssertionError(
                f"assert_any_order: missing {short_repr(missing)}, not expected {short_repr(extra)}; "
                f"got {short_repr(got)}"
            )

    return AssertionSink("assert_any_order", check)


def assert_contains(expected: Iterable[Any]) -> Sink:
    """A sink among whose items these must be, each at least as often.

    Example:
        >>> from jetbridge import Pipeline, testing
        >>> pipeline = Pipeline.create()
        >>> _ = pipeline.read_from(testing.items(3, 2, 1)).write_to(testing.assert_contains([2]))
        >>> testing.run_kernels(pipeline)
        {'assert_contains': [3, 2, 1]}

    Args:
        expected: The items.

    Raises:
        AssertionError: In the job, when one is missing; it names it.
    """
    wanted = list(expected)

    def check(got: list[Any]) -> None:
        missing = _without(wanted, got)
        if missing:
            raise AssertionError(f"assert_contains: missing {short_repr(missing)}; got {short_repr(got)}")

    return AssertionSink("assert_contains", check)


def assert_eventually(check: Callable[[list[Any]], None], timeout: float = 30.0) -> Sink:
    """A sink for streams: the job fails unless a check passes in time.

    The check is called with all items so far each time that some have come. Once
    it has passed, the sink takes what comes.

    Example:
        >>> from jetbridge import Pipeline, testing
        >>> def check(items):
        ...     assert len(items) >= 2
        >>> pipeline = Pipeline.create()
        >>> _ = pipeline.read_from(testing.scripted([1, 2, 3])).write_to(testing.assert_eventually(check, timeout=5))
        >>> testing.run_kernels(pipeline)
        {'assert_eventually': [1, 2, 3]}

    Args:
        check: Raises AssertionError while the items are not what they should be.
        timeout: In seconds, from the job's start; looked at when items come.
    """
    return EventualSink(check, timeout)


def _without(items: list[Any], others: list[Any]) -> list[Any]:
    """The items that are not among others, each as often as it lacks."""
    try:
        return list((Counter(items) - Counter(others)).elements())
    except TypeError:  # they cannot be hashed
        left = list(others)
        lacking = []
        for item in items:
            if item in left:
                left.remove(item)
            else:
                lacking.append(item)
        return lacking
