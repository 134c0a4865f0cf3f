"""Windows: how a stage's items are divided by their times, and the results of windows.

Example:
    >>> tumbling(60_000)
    SlidingWindow(size=60000, step=60000)
    >>> from datetime import timedelta
    >>> sliding(timedelta(hours=1), timedelta(minutes=1))
    SlidingWindow(size=3600000, step=60000)
    >>> session(timedelta(minutes=30))
    SessionWindow(gap=1800000)

The semantics are Jet's: windows start at multiples of their step since 1970 in
UTC, hold their start and not their end, and a window's result has the time of
its last millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from jetbridge.errors import PipelineError
from jetbridge.times import duration

if TYPE_CHECKING:
    import datetime as dt


@dataclass(frozen=True)
class Window:
    """How items are divided; `tumbling`, `sliding` and `session` make one.

    Example:
        >>> from jetbridge import windows
        >>> isinstance(windows.tumbling(1000), windows.Window)
        True
    """


@dataclass(frozen=True)
class SlidingWindow(Window):
    """Windows of one size, one at each step; tumbling ones when both are equal.

    Example:
        >>> SlidingWindow(size=1000, step=1000) == tumbling(1000)
        True

    Attributes:
        size: In milliseconds.
        step: In milliseconds.
    """

    size: int
    step: int


@dataclass(frozen=True)
class SessionWindow(Window):
    """Windows of activity: one ends when nothing came for a time.

    Example:
        >>> SessionWindow(gap=1000) == session(1000)
        True

    Attributes:
        gap: That time, in milliseconds.
    """

    gap: int


class WindowResult(NamedTuple):
    """The result of a window.

    Example:
        >>> from jetbridge import WindowResult
        >>> start, end, value, is_early = WindowResult(0, 60_000, 17)
        >>> (end - start) // 1000, value, is_early
        (60, 17, False)

    Attributes:
        start: Its first millisecond, since 1970.
        end: The first millisecond behind it.
        value: What the operation gave.
        is_early: Whether more may come: see ``early_results_period``.
    """

    start: int
    end: int
    value: Any
    is_early: bool = False


class KeyedWindowResult(NamedTuple):
    """The result of a window for one key.

    Example:
        >>> from jetbridge import KeyedWindowResult
        >>> result = KeyedWindowResult(start=0, end=60_000, key="tea", value=17)
        >>> result.key, result.value
        ('tea', 17)

    Attributes:
        start: The window's first millisecond, since 1970.
        end: The first millisecond behind it.
        key: The key.
        value: What the operation gave.
        is_early: Whether more may come: see ``early_results_period``.
    """

    start: int
    end: int
    key: Any
    value: Any
    is_early: bool = False


def tumbling(size: int | dt.timedelta) -> SlidingWindow:
    """Windows side by side: each item is in one.

    Example:
        >>> from datetime import timedelta
        >>> from jetbridge import windows
        >>> windows.tumbling(timedelta(minutes=1))
        SlidingWindow(size=60000, step=60000)

    Args:
        size: In milliseconds, or a timedelta.

    Raises:
        PipelineError: When it is not positive.
    """
    millis = duration("tumbling", "size", size)
    return SlidingWindow(millis, millis)


def sliding(size: int | dt.timedelta, step: int | dt.timedelta) -> SlidingWindow:
    """Windows that overlap: each item is in ``size / step`` of them.

    Example:
        >>> from jetbridge import Pipeline, aggregations, testing, windows
        >>> clicks = Pipeline.create().read_from(testing.items(1, 7)).with_timestamps(lambda at: at)
        >>> counts = clicks.window(windows.sliding(10, 5)).aggregate(aggregations.counting())
        >>> testing.run_kernels(counts.map(lambda window: (window.end, window.value)))
        [(5, 1), (10, 2), (15, 1)]

    Args:
        size: In milliseconds, or a timedelta.
        step: How far each starts behind the one before it, likewise.

    Raises:
        PipelineError: When the step is larger than the size or does not divide it.
    """
    whole, part = duration("sliding", "size", size), duration("sliding", "step", step)
    if part > whole:
        raise PipelineError(f"sliding's step must not be larger than its size; got size {whole} and step {part}")
    if whole % part:
        raise PipelineError(f"sliding's step must divide its size; got size {whole} and step {part}")
    return SlidingWindow(whole, part)


def session(gap: int | dt.timedelta) -> SessionWindow:
    """Windows of activity: items of one key are together while less than a gap lies between them.

    Example:
        >>> from jetbridge import Pipeline, aggregations, testing, windows
        >>> clicks = Pipeline.create().read_from(testing.items(1, 7, 30)).with_timestamps(lambda at: at)
        >>> visits = clicks.window(windows.session(10)).aggregate(aggregations.counting())
        >>> testing.run_kernels(visits.map(lambda window: (window.start, window.end, window.value)))
        [(1, 17, 2), (30, 40, 1)]

    Args:
        gap: In milliseconds, or a timedelta. The window ends a gap behind its last item.

    Raises:
        PipelineError: When it is not positive.
    """
    return SessionWindow(duration("session", "gap", gap))
