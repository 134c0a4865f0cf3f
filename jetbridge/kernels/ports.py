"""Stages with several inputs: what reaches a shard says which input it came by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetbridge.kernels.keyed import Splitter

if TYPE_CHECKING:
    from collections.abc import Iterator


class PortSplitter(Splitter):
    """A splitter of one input, whose payloads begin with the input's number.

    Args:
        splitter: What splits the items of that input.
        port: Its number.
    """

    def __init__(self, splitter: Splitter, port: int) -> None:
        self.splitter = splitter
        self._head = bytes((port,))
        self.__dict__["late"] = splitter.late

    def add(self, chunk: list[Any]) -> None:
        """Take a chunk."""
        self.splitter.add(chunk)
        self.size = self.splitter.size

    def check(self, chunk: list[Any]) -> None:
        """Whether the keys of a chunk can be keys."""
        self.splitter.check(chunk)

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """The parts of each shard."""
        for shard, payload in self.splitter.flush():
            yield shard, self._head + payload
        self.size = self.splitter.size


def ported(payload: bytes) -> tuple[int, Any]:
    """The number of the input that a payload came by, and the payload of that input's own splitter."""
    return payload[0], memoryview(payload)[1:]
