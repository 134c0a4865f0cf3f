"""Event time: timestamps and durations as users give them, and items that carry their times.

A time is an int, milliseconds since 1970 in UTC, as in Jet. A watermark is a
time, too: one of a source partition says that no item before it is expected
there any more.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from jetbridge.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

BEGINNING = -(1 << 62)
"""The watermark before the first item."""
END = 1 << 62
"""The watermark behind the last item of all."""
EARLIEST, LATEST = -8_900_000_000_000, 8_900_000_000_000
"""The bounds of an item's time: the years 1687 to 2252."""
LONGEST = 300_000_000_000
"""The longest duration, about nine years."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_MILLISECOND = dt.timedelta(milliseconds=1)


class TimedItems(list[Any]):
    """A chunk of items with the time of each.

    What looks at items alone takes it as the list that it is.

    Example:
        >>> chunk = TimedItems(["a", "b"], [1000, 2000])
        >>> chunk, chunk.times
        (['a', 'b'], [1000, 2000])

    Attributes:
        times: As many times as there are items. One that lies behind the
            watermark of its source partition is a `Behind`.
    """

    __slots__ = ("times",)

    def __init__(self, items: Iterable[Any] = (), times: list[int] | None = None) -> None:
        super().__init__(items)
        self.times: list[int] = [] if times is None else times

    def on_time(self, late: list[Any], grace: int = 0) -> TimedItems:
        """The items that are on time; this chunk itself if all are.

        Example:
            >>> late = []
            >>> TimedItems(["a", "b"], [5, Behind(1, watermark=3)]).on_time(late), late
            (['a'], ['b'])

        Args:
            late: Gets the others.
            grace: Milliseconds by which an item may lie behind its partition's watermark.
        """
        if Behind not in set(map(type, self.times)):
            return self
        kept = TimedItems()
        for item, time in zip(self, self.times, strict=True):
            if isinstance(time, Behind) and time + grace <= time.watermark:
                late.append(item)
            else:
                kept.append(item)
                kept.times.append(time)
        return kept


class Behind(int):
    """The time of an item that lies behind the watermark which its source partition had before it.

    A number like every other time; only what closes by the watermark looks at
    the rest. So lateness is a matter of the item alone, however items are cut
    into chunks, and whichever engine carries them.

    Example:
        >>> time = Behind(1000, watermark=4000)
        >>> time + 1, time.watermark
        (1001, 4000)

    Attributes:
        watermark: That watermark.
    """

    watermark: int

    def __new__(cls, time: int, watermark: int) -> Behind:  # noqa: D102
        self = super().__new__(cls, time)
        self.watermark = watermark
        return self

    def __reduce__(self) -> tuple[type[Behind], tuple[int, int]]:
        return Behind, (int(self), self.watermark)


class Clock:
    """How far event time is in one source partition.

    Attributes:
        newest: The newest time that each stage with timestamps has given there.
    """

    __slots__ = ("newest",)

    def __init__(self, newest: Mapping[str, int] | None = None) -> None:
        self.newest: dict[str, int] = dict(newest or {})

    def watermark(self, lags: Mapping[str, int]) -> int:
        """The partition's watermark.

        Args:
            lags: How far behind the newest it stays, by stage, in milliseconds.
        """
        known = self.newest
        if not lags or known.keys() < lags.keys():
            return BEGINNING
        return min(known[stage] - lag for stage, lag in lags.items())

    def advance(self, watermark: int, lags: Mapping[str, int]) -> None:
        """Take a watermark that is further than the partition's own."""
        if watermark > BEGINNING:
            for stage, lag in lags.items():
                self.newest[stage] = max(self.newest.get(stage, BEGINNING), watermark + lag)


def of_partitions(marks: Iterable[tuple[int, float]], idle_since: float, before: int = BEGINNING) -> int:
    """The watermark of a reader of several partitions: the least of theirs.

    One that holds the others back and was idle for long is left out, and comes
    back at the watermark of the others (see `Clock.advance`). A lone partition
    always counts, so that a source which is wholly idle waits.

    Example:
        >>> of_partitions([(5000, 90.0), (1000, 10.0)], idle_since=30.0, before=1000)
        5000

    Args:
        marks: For each partition that has not ended its watermark, and when it had an item last.
        idle_since: Who had none since then is idle.
        before: The reader's watermark so far, which never goes back.
    """
    known = list(marks)
    counted = [mark for mark, heard in known if len(known) == 1 or mark > before or heard > idle_since]
    return max(before, min(counted, default=BEGINNING))


def least_known(marks: Iterable[int]) -> int | None:
    """The least of several sources' watermarks; None while one of them is not known, and of no sources.

    Example:
        >>> least_known([5000, 1000]), least_known([5000, BEGINNING]), least_known([])
        (1000, None, None)
    """
    least = min(marks, default=BEGINNING)
    return None if least <= BEGINNING else least


def cut(chunk: list[Any], size: int) -> Iterator[list[Any]]:
    """A chunk in pieces, with their times if it has any.

    Example:
        >>> [piece.times for piece in cut(TimedItems("abc", [1, 2, 3]), 2)]
        [[1, 2], [3]]
    """
    if type(chunk) is not TimedItems:
        for at in range(0, len(chunk), size):
            yield chunk[at : at + size]
        return
    for at in range(0, len(chunk), size):
        yield TimedItems(chunk[at : at + size], chunk.times[at : at + size])


def untimed(chunk: list[Any]) -> list[Any]:
    """A chunk as a plain list, as it is stored.

    Example:
        >>> type(untimed(TimedItems("a", [1])))
        <class 'list'>
    """
    return chunk if type(chunk) is list else list(chunk)


class Held:
    """Chunks on their way into one: all with times, or none of them.

    Example:
        >>> held = Held()
        >>> for chunk in (TimedItems("a", [1]), TimedItems("b", [2])):
        ...     held.add(chunk)
        >>> len(held), held.take().times, len(held)
        (2, [1, 2], 0)
    """

    __slots__ = ("_chunk",)

    def __init__(self) -> None:
        self._chunk: list[Any] = []

    def __len__(self) -> int:
        return len(self._chunk)

    def add(self, chunk: list[Any]) -> None:
        """Add a chunk."""
        mine = self._chunk
        if not mine:
            timed = type(chunk) is TimedItems
            mine = self._chunk = TimedItems() if timed else []
        elif isinstance(mine, TimedItems) and type(chunk) is not TimedItems:
            mine = self._chunk = list(mine)
        mine += chunk
        if isinstance(mine, TimedItems):
            mine.times += chunk.times  # type: ignore[attr-defined]

    def take(self) -> list[Any]:
        """All that was added; nothing is held afterwards."""
        taken, self._chunk = self._chunk, []
        return taken


def timestamp(value: Any) -> int:
    """A time as milliseconds since 1970.

    Example:
        >>> import datetime
        >>> timestamp(datetime.datetime(2013, 1, 1, tzinfo=datetime.timezone.utc))
        1356998400000

    Args:
        value: An int of milliseconds, or a datetime with a time zone.

    Raises:
        ValueError: When it is neither; the message says what was got.
    """
    if type(value) is int:
        time = value
    elif isinstance(value, dt.datetime):
        if value.tzinfo is None:
            raise ValueError(
                f"a timestamp needs a time zone; got {value!r}: value.replace(tzinfo=timezone.utc) says that it is UTC"
            )
        time = (value - _EPOCH) // _MILLISECOND
    else:
        hint = ""
        if isinstance(value, float):
            hint = ": give int(value), or int(value * 1000) for seconds"
        elif isinstance(value, dt.date):
            hint = ": a date has no hour; give a datetime with a time zone"
        raise ValueError(
            "a timestamp must be an int of milliseconds since 1970 or a datetime; "
            f"got {value!r} ({type(value).__name__}){hint}"
        )
    if not EARLIEST <= time <= LATEST:
        raise ValueError(
            f"a timestamp must be between {EARLIEST} and {LATEST} milliseconds, the years 1687 to 2252; got {time}"
        )
    return time


def duration(operator: str, parameter: str, value: Any, *, least: int = 1) -> int:
    """A length of time as milliseconds.

    Example:
        >>> import datetime
        >>> duration("tumbling", "size", datetime.timedelta(seconds=2))
        2000

    Args:
        operator: Who was given it, for messages.
        parameter: As what.
        value: An int of milliseconds, or a timedelta.
        least: The least that it may be.

    Raises:
        PipelineError: When it is neither, or too small.
    """
    if isinstance(value, dt.timedelta):
        millis = value // _MILLISECOND
        if millis * _MILLISECOND != value:
            raise PipelineError(f"{operator}'s {parameter} must be whole milliseconds; got {value!r}")
    elif type(value) is int:
        millis = value
    else:
        raise PipelineError(
            f"{operator}'s {parameter} must be an int of milliseconds or a timedelta; "
            f"got {value!r} ({type(value).__name__})"
        )
    if not least <= millis <= LONGEST:
        bound = f"at least {least}" if millis < least else f"at most {LONGEST}"
        raise PipelineError(f"{operator}'s {parameter} must be {bound} milliseconds; got {millis}")
    return millis


def in_order(times: Sequence[int]) -> bool:
    """Whether times never go back; much quicker than a loop, as sorting finds out in C."""
    return times == sorted(times)
