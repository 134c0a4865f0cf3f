"""What a sink is given, and how it refuses an item."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SinkChunk:
    """A numbered chunk for a sink; `Sink` has an example.

    Attributes:
        run: The run's id.
        stage: The sink stage's name.
        shard: In what its number counts: on Flink the shard or source partition that the items come from, on the
            Direct runner, where one process writes, always "0".
        sequence: The chunk's number within (run, stage, shard), from 0.
        count: How many items it holds.
        payload: What the sink's ``prepare`` made of them.
    """

    run: str
    stage: str
    shard: str
    sequence: int
    count: int
    payload: bytes

    def items(self) -> list[Any]:
        """The items, for sinks that keep the default ``prepare``."""
        items: list[Any] = pickle.loads(self.payload)
        return items


class BadItem(Exception):
    """Raised by ``Sink.prepare`` for an item that the sink cannot take.

    Attributes:
        index: The item's index in the list that was given.
    """

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index
