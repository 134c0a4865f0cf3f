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
from jetbridge.times import BEGINNING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

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
        >>> sorted([(3, 50), 3, 2, (-2, 0), -2, (-2, -5)], key=place)
        [-2, (-2, -5), (-2, 0), 2, 3, (3, 50)]
    """
    return frame if isinstance(frame, tuple) else (frame, BEGINNING)


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

    def own_all(self, accs: Collection[Any]) -> Iterable[Any]:
        """Each of some accumulators as one that may be changed."""
        return accs if _ATOMS.issuperset(map(type, accs)) else map(self.own, accs)

    def add(self, mine: Any, acc: Any) -> Any:
        """Combine an accumulator of one's own with one that stays."""
        assert self.combine is not None
        if self.wary and type(acc) not in _ATOMS and not fixed(acc):
            acc = copy.deepcopy(acc)
        return self.combine(mine, acc)

    def add_all(self, mine: Iterable[Any], accs: Collection[Any]) -> Iterator[Any]:
        """Combine each of some accumulators of one's own with one that stays."""
        assert self.combine is not None
        return map(self.combine if not self.wary or _ATOMS.issuperset(map(type, accs)) else self.add, mine, accs)


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
        accs = self.frames[frame]
        if newest:
            stale = self._stale
            self._grow(frame, {key: acc for key, acc in accs.items() if key not in stale} if stale else accs)
        else:
            self.touch(accs)

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
        self._shrink(frame, self.frames[frame])

    def values(self, keys: Collection[Any] | None = None) -> dict[Any, Any]:
        """The keys in the window with what their frames come to, which belongs to the caller.

        Args:
            keys: Those to look at; all by default.
        """
        self._settle()
        panes = self._panes
        return self._values(panes if keys is None else {key: panes[key] for key in keys if key in panes})

    def _settle(self) -> None:
        """Make the panes of keys anew in which something has changed."""
        for key in self._stale:
            frames = [frame for frame in self.entered if key in self.frames[frame]]
            if frames:
                self._panes[key] = self._made(key, frames)
        self._stale = set()

    @abc.abstractmethod
    def _grow(self, frame: Frame, accs: Mapping[Any, Any]) -> None:
        """Take one more frame into the panes of its keys."""

    @abc.abstractmethod
    def _shrink(self, frame: Frame, accs: Mapping[Any, Any]) -> None:
        """Take their oldest frame out of the panes of its keys."""

    @abc.abstractmethod
    def _made(self, key: Any, frames: list[Frame]) -> Any:
        """The pane of a key with some frames, in order."""

    @abc.abstractmethod
    def _values(self, panes: Mapping[Any, Any]) -> dict[Any, Any]:
        """What panes come to."""


class RunningPanes(Panes):
    """For operations with an inverse: a pane is an accumulator. All keys of a frame are handled by functions in C."""

    def __init__(self, frames: Mapping[Frame, dict[Any, Any]], combining: Combining, deduct: Any) -> None:
        super().__init__(frames, combining)
        self._deduct = deduct
        self._newest: dict[Any, Frame] = {}  # the newest frame of each key: a key leaves with it

    def _grow(self, frame: Frame, accs: Mapping[Any, Any]) -> None:
        panes, combining = self._panes, self.combining
        self._newest.update(dict.fromkeys(accs, frame))
        if not panes.keys() >= accs.keys():
            new = {key: acc for key, acc in accs.items() if key not in panes}
            accs = {key: acc for key, acc in accs.items() if key in panes}
            panes.update(zip(new, combining.own_all(new.values()), strict=True))
        panes.update(zip(accs, combining.add_all(map(panes.__getitem__, accs), accs.values()), strict=True))

    def _shrink(self, frame: Frame, accs: Mapping[Any, Any]) -> None:
        panes, newest = self._panes, self._newest
        gone = {key for key in accs if newest[key] == frame}
        if gone:
            for key in gone:
                del panes[key], newest[key]
            accs = {key: acc for key, acc in accs.items() if key not in gone}
        panes.update(zip(accs, map(self._deduct, map(panes.__getitem__, accs), accs.values()), strict=True))

    def _made(self, key: Any, frames: list[Frame]) -> Any:
        self._newest[key] = frames[-1]
        total = self.combining.own(self.frames[frames[0]][key])
        for frame in frames[1:]:
            total = self.combining.add(total, self.frames[frame][key])
        return total

    def _values(self, panes: Mapping[Any, Any]) -> dict[Any, Any]:
        return dict(zip(panes, self.combining.own_all(panes.values()), strict=True))


class StackedPanes(Panes):
    """A pane is ``[suffixes, whole, frames]``: of the older frames each suffix, the shortest first, of the newer ones
    the whole and which they are. Without suffixes (None) it is just the frames: of what grows, such as lists, each
    suffix would be nearly as large as all of it.
    """  # noqa: D205

    def _grow(self, frame: Frame, accs: Mapping[Any, Any]) -> None:
        panes, own, add = self._panes, self.combining.own, self.combining.add
        for key, acc in accs.items():
            pane = panes.get(key)
            if pane is None:
                panes[key] = [[], own(acc), [frame]]
                continue
            suffixes, whole, frames = pane
            if suffixes is not None:
                pane[1] = add(whole, acc) if frames else own(acc)
            frames.append(frame)

    def _shrink(self, frame: Frame, accs: Mapping[Any, Any]) -> None:
        panes = self._panes
        for key in accs:
            suffixes, _, frames = panes[key]
            if suffixes:
                suffixes.pop()
                left = suffixes or frames
            else:
                del frames[0]
                left = frames
                if frames and suffixes is not None:
                    panes[key] = self._made(key, frames)
            if not left:
                del panes[key]

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

    def _values(self, panes: Mapping[Any, Any]) -> dict[Any, Any]:
        value = self._value
        return {key: value(key, *pane) for key, pane in panes.items()}

    def _value(self, key: Any, suffixes: list[Any] | None, whole: Any, frames: list[Frame]) -> Any:
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
