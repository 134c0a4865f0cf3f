"""Panes: what the frames in a sliding window come to for each key, kept from one step to the next.

A window's result could be combined anew from all its frames at each step. Instead,
where the operation has an inverse, the frame that leaves is deducted. Otherwise the
frames of a key are a queue of two stacks: of the older ones each suffix is known, of
the newer ones the whole, so that a result is one of these combined with the other,
and each frame is combined about three times in all.

Nothing here is stored: it is made anew from the frames.
"""

from __future__ import annotations

import abc
import copy
from bisect import insort
from typing import TYPE_CHECKING, Any

from jetbridge.aggregations import Initial

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from jetbridge.aggregations import AggregateOperation

Frame = Any
"""A frame's number, which is its start divided by the step; or with it the end of the first window that it counts for,
when it holds items that were late for earlier ones."""

_ATOMS = frozenset({int, float, str, bytes, bool, complex, type(None)})
_SIZED = (list, dict, set, tuple, str, bytes)
_SMALL = 32


def place(frame: Frame) -> tuple[int, int]:
    """Where a frame stands among others.

    Example:
        >>> sorted([(3, 50), 3, 2], key=place)
        [2, 3, (3, 50)]
    """
    return frame if isinstance(frame, tuple) else (frame, 0)


class Combining:
    """Combines accumulators that are still needed afterwards.

    Example:
        >>> from jetbridge.aggregations import to_list
        >>> combining, frame = Combining(to_list()), ["a"]
        >>> combining.add(combining.own(frame), ["b"]), frame
        (['a', 'b'], ['a'])

    Args:
        operation: Its ``combine`` may change what it is given first. It keeps
            nothing of the second that may change later, unless it is a plain
            combiner of `folding`, whose author need not know of that.
    """

    def __init__(self, operation: AggregateOperation) -> None:
        self.create = operation.create
        self.combine = operation.combine
        self.wary = operation.combine is None or isinstance(operation.create, Initial)

    def own(self, acc: Any) -> Any:
        """An accumulator that may be changed, and leaves this one as it is."""
        if type(acc) in _ATOMS or fixed(acc):
            return acc
        if self.wary:
            return copy.deepcopy(acc)
        assert self.combine is not None
        return self.combine(self.create(), acc)

    def add(self, mine: Any, acc: Any) -> Any:
        """Combine an accumulator of one's own with one that stays."""
        assert self.combine is not None
        if self.wary and type(acc) not in _ATOMS and not fixed(acc):
            acc = copy.deepcopy(acc)
        return self.combine(mine, acc)


def fixed(value: Any) -> bool:
    """Whether nobody can change a value in place.

    Example:
        >>> fixed((1, "a")), fixed((1, []))
        (True, False)
    """
    if type(value) is not tuple:
        return type(value) in _ATOMS
    for part in value:  # noqa: SIM110 - a loop is quicker for what is this short
        if type(part) not in _ATOMS and not fixed(part):
            return False
    return True


class Panes(abc.ABC):
    """The frames in a window.

    Args:
        frames: The accumulators of each key, by frame.
        combining: How they are combined.

    Attributes:
        entered: The frames that are in the window, in order.
    """

    def __init__(self, frames: Mapping[Frame, dict[Any, Any]], combining: Combining) -> None:
        self.frames = frames
        self.combining = combining
        self.entered: list[Frame] = []
        self._inside: set[Frame] = set()
        self._panes: dict[Any, Any] = {}
        self._stale: set[Any] = set()

    def __contains__(self, frame: Frame) -> bool:
        return frame in self._inside

    def enter(self, frame: Frame) -> None:
        """Take a frame in."""
        newest = not self.entered or place(frame) > place(self.entered[-1])
        insort(self.entered, frame, key=place)
        self._inside.add(frame)
        if not newest:
            self.touch(self.frames[frame])
            return
        panes, stale = self._panes, self._stale
        for key, acc in self.frames[frame].items():
            if key in panes:
                panes[key] = self._grown(panes[key], frame, acc)
            elif key not in stale:
                panes[key] = self._begun(frame, acc)

    def touch(self, keys: Collection[Any]) -> None:
        """Something has changed for keys in a frame that is in the window."""
        for key in keys:
            self._panes.pop(key, None)
        self._stale.update(keys)

    def leave(self, frame: Frame) -> None:
        """Let the oldest frame go."""
        assert self.entered[0] == frame
        self._settle()
        del self.entered[0]
        self._inside.discard(frame)
        panes = self._panes
        for key, acc in self.frames[frame].items():
            pane = self._shrunk(panes[key], key, acc)
            if pane is None:
                del panes[key]
            else:
                panes[key] = pane

    def values(self, keys: Collection[Any] | None = None) -> list[tuple[Any, Any]]:
        """The keys in the window with what their frames come to, which belongs to the caller.

        Args:
            keys: Those to look at; all by default.
        """
        self._settle()
        panes, value = self._panes, self._value
        if keys is not None:
            panes = {key: panes[key] for key in keys if key in panes}
        return [(key, value(pane, key)) for key, pane in panes.items()]

    def _settle(self) -> None:
        """Make the panes of keys anew in which something has changed."""
        for key in self._stale:
            frames = [frame for frame in self.entered if key in self.frames[frame]]
            if frames:
                self._panes[key] = self._made(key, frames)
        self._stale = set()

    @abc.abstractmethod
    def _begun(self, frame: Frame, acc: Any) -> Any:
        """The pane of a key with its first frame."""

    @abc.abstractmethod
    def _grown(self, pane: Any, frame: Frame, acc: Any) -> Any:
        """A pane with one more frame."""

    @abc.abstractmethod
    def _shrunk(self, pane: Any, key: Any, acc: Any) -> Any:
        """A pane without its oldest frame; None when nothing is left."""

    @abc.abstractmethod
    def _made(self, key: Any, frames: list[Frame]) -> Any:
        """The pane of a key with some frames, in order."""

    @abc.abstractmethod
    def _value(self, pane: Any, key: Any) -> Any:
        """What a pane comes to."""


class RunningPanes(Panes):
    """For operations with an inverse: a pane is ``(accumulator, number of frames)``."""

    def __init__(self, frames: Mapping[Frame, dict[Any, Any]], combining: Combining, deduct: Any) -> None:
        super().__init__(frames, combining)
        self._deduct = deduct

    def _begun(self, frame: Frame, acc: Any) -> Any:
        return self.combining.own(acc), 1

    def _grown(self, pane: Any, frame: Frame, acc: Any) -> Any:
        return self.combining.add(pane[0], acc), pane[1] + 1

    def _shrunk(self, pane: Any, key: Any, acc: Any) -> Any:
        return (self._deduct(pane[0], acc), pane[1] - 1) if pane[1] > 1 else None

    def _made(self, key: Any, frames: list[Frame]) -> Any:
        total = self.combining.own(self.frames[frames[0]][key])
        for frame in frames[1:]:
            total = self.combining.add(total, self.frames[frame][key])
        return total, len(frames)

    def _value(self, pane: Any, key: Any) -> Any:
        return self.combining.own(pane[0])


class StackedPanes(Panes):
    """A pane is ``[suffixes, whole, frames]``: of the older frames each suffix, the shortest first, of the newer ones
    the whole and which they are. Without suffixes (None) it is just the frames: of what grows, such as lists, each
    suffix would be nearly as large as all of it.
    """  # noqa: D205

    def _begun(self, frame: Frame, acc: Any) -> Any:
        return [[], self.combining.own(acc), [frame]]

    def _grown(self, pane: Any, frame: Frame, acc: Any) -> Any:
        suffixes, whole, frames = pane
        if suffixes is not None:
            pane[1] = self.combining.add(whole, acc) if frames else self.combining.own(acc)
        frames.append(frame)
        return pane

    def _shrunk(self, pane: Any, key: Any, acc: Any) -> Any:
        suffixes, _, frames = pane
        if suffixes:
            suffixes.pop()
            return pane if suffixes or frames else None
        del frames[0]
        if not frames:
            return None
        return pane if suffixes is None else self._made(key, frames)

    def _made(self, key: Any, frames: list[Frame]) -> Any:
        combining = self.combining
        suffixes: list[Any] = []
        largest = 0
        for frame in reversed(frames):
            acc = self.frames[frame][key]
            total = combining.add(combining.own(acc), suffixes[-1]) if suffixes else combining.own(acc)
            suffixes.append(total)
            if type(total) is not int and isinstance(total, _SIZED):
                largest = max(largest, len(acc))
                if len(total) > 2 * largest + _SMALL:
                    return [None, None, frames]
        return [suffixes, None, []]

    def _value(self, pane: Any, key: Any) -> Any:
        suffixes, whole, frames = pane
        combining = self.combining
        if suffixes:
            mine = combining.own(suffixes[-1])
            return combining.add(mine, whole) if frames else mine
        if suffixes is None:
            total = combining.own(self.frames[frames[0]][key])
            for frame in frames[1:]:
                total = combining.add(total, self.frames[frame][key])
            return total
        return combining.own(whole)


def panes(frames: Mapping[Frame, dict[Any, Any]], operation: AggregateOperation) -> Panes:
    """Panes for an operation, without a frame yet."""
    deduct = getattr(operation, "deduct", None)
    combining = Combining(operation)
    return StackedPanes(frames, combining) if deduct is None else RunningPanes(frames, combining, deduct)
