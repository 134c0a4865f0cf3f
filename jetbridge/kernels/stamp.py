"""Timestamps: the kernel that gives items their times, and says which lie behind their partition's watermark."""

from __future__ import annotations

import logging
import time
from itertools import accumulate, repeat
from operator import lt, sub
from typing import TYPE_CHECKING, Any

from jetbridge.kernels.failure import FAILURES, at_hand, item_error
from jetbridge.plan.times import INGESTION, NATIVE, TimestampNode
from jetbridge.times import BEGINNING, EARLIEST, LATEST, Behind, Clock, TimedItems, in_order, timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECONDS = range(1_000_000_000, 10_000_000_000)
"""Numbers that are seconds of the years 2001 to 2286, and as milliseconds lie in early 1970."""


class StampKernel:
    """Gives items their times.

    Args:
        node: The stage.
        live: Whether it has a watermark: on a batch stage nothing is late.
        logger: The name of the logger that gets hints.

    Attributes:
        clock: That of the source partition whose items come.
    """

    def __init__(self, node: TimestampNode, *, live: bool, logger: str = "jetbridge") -> None:
        self.name = node.name
        self.node = node
        self.live = live
        self.clock = Clock()
        self._logger = logging.getLogger(logger)
        self._hinted = False

    def __call__(self, chunk: list[Any]) -> TimedItems:
        """The chunk with its times."""
        if self.node.fn == NATIVE:
            times = list(chunk.times) if isinstance(chunk, TimedItems) else []
        elif self.node.fn == INGESTION:
            times = [max(int(time.time() * 1000), self.clock.newest.get(self.name, BEGINNING))] * len(chunk)
        else:
            times = self._given(chunk)
        return TimedItems(chunk, self._marked(times) if self.live and times else times)

    timed = __call__

    def _given(self, chunk: list[Any]) -> list[int]:
        fn, items = self.node.fn, iter(chunk)
        assert not isinstance(fn, str)
        try:
            times = [fn(item) for item in items]
        except FAILURES as error:
            raise item_error("with_timestamps", self.name, at_hand(chunk, items), error) from error
        if set(map(type, times)) != {int} or min(times) < EARLIEST or max(times) > LATEST:
            times = self._checked(chunk, times)
        if not self._hinted and times:
            self._hint(times[0])
        return times

    def _checked(self, chunk: list[Any], times: Sequence[Any]) -> list[int]:
        found = []
        for item, value in zip(chunk, times, strict=True):
            try:
                found.append(timestamp(value))
            except ValueError as error:
                raise item_error("with_timestamps", self.name, item, error) from error
        return found

    def _hint(self, first: int) -> None:
        self._hinted = True
        if first in _SECONDS:
            self._logger.warning(
                "with_timestamps '%s': the first time, %d, looks like seconds; as milliseconds it is in early 1970: "
                "multiply by 1000",
                self.name,
                first,
            )

    def _marked(self, times: list[int]) -> list[int]:
        """Mark the times that lie behind the watermark before them, and move the clock on."""
        lag, newest = self.node.lag, self.clock.newest.get(self.name, BEGINNING)
        ordered = in_order(times)
        top = times[-1] if ordered else max(times)
        self.clock.newest[self.name] = max(newest, top)
        if (times[0] if ordered else min(times)) >= (newest if ordered else max(newest, top)) - lag:
            return times
        marks = map(sub, accumulate(times, max, initial=newest), repeat(lag))  # the watermark before each
        if ordered or any(map(lt, times, marks)):
            return [
                Behind(at, mark - lag) if at < mark - lag else at
                for at, mark in zip(times, accumulate(times, max, initial=newest), strict=False)
            ]
        return times
