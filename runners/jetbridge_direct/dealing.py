"""What stands below a `rebalance`: it works in a pool of its own, to which its items travel.

The pool that reads sources is apart: a process that is to take many bytes must
wait for them, and one of that pool may wait itself for its results to be taken.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.plan.shape import RebalanceNode
from jetbridge.times import Held, cut
from jetbridge_direct.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from multiprocessing.connection import Connection

    from jetbridge.kernels.keyed import KeyedKernel
    from jetbridge.kernels.segment import Counts, Emission, SegmentKernel
    from jetbridge.plan.fuse import Segment
    from jetbridge_direct.pool import Task


@dataclass(frozen=True)
class Dealt:
    """What one shard of a `rebalance` got in an epoch, as it travels to the pool."""

    node_id: int
    payloads: tuple[bytes, ...]


class Dealing:
    """The `rebalance` stages of a job at work.

    Args:
        size: The number of processes.
        segments: The job's segments.
        keyed: The kernels of stages with state.
        kernels: What stands below each root.
        besides: Connections of the job's process that a new one must not hold.
        end: Called in each process at its end.
    """

    def __init__(
        self,
        size: int,
        segments: tuple[Segment, ...],
        keyed: Mapping[int, KeyedKernel],
        kernels: Mapping[int, SegmentKernel],
        besides: list[Connection],
        end: Callable[[], None] | None = None,
    ) -> None:
        dealt = [segment for segment in segments if isinstance(segment.root, RebalanceNode)]
        self._most = {segment.root.id: min(segment.parallelism or size, size) for segment in dealt}
        self._flying: dict[int, deque[Task]] = {node_id: deque() for node_id in self._most}

        def work(dealt: Dealt) -> Generator[Emission, None, Counts]:
            kernel, below = keyed[dealt.node_id], kernels[dealt.node_id]
            held = Held()
            for payload in dealt.payloads:
                for chunk in kernel.process({}, payload):
                    held.add(chunk)
                    if len(held) >= CHUNK_ITEMS:
                        for piece in cut(held.take(), CHUNK_ITEMS):
                            yield from below.feed(piece)
            for piece in cut(held.take(), CHUNK_ITEMS):
                yield from below.feed(piece)
            yield from below.flush()
            return below.take_counts()

        self._pool = Pool(size, work, end, besides) if self._most else None

    def takes(self, node_id: int) -> bool:
        """Whether it does the work below a root."""
        return node_id in self._most

    def give(self, node_id: int, payloads: tuple[bytes, ...], count: Callable[[Counts], None]) -> Iterator[Emission]:
        """Send what a shard got to a process that is idle; gives what comes of what was sent before."""
        assert self._pool is not None
        flying = self._flying[node_id]
        while (process := self._pool.idle(self._most[node_id])) is None:
            yield from self._first(flying, count)
        flying.append(self._pool.submit(Dealt(node_id, payloads), process))

    def rest(self, node_id: int, count: Callable[[Counts], None]) -> Iterator[Emission]:
        """What still comes of what was sent."""
        flying = self._flying[node_id]
        while flying:
            yield from self._first(flying, count)

    def _first(self, flying: deque[Task], count: Callable[[Counts], None]) -> Iterator[Emission]:
        assert self._pool is not None
        task: Any = flying.popleft()
        while (emission := self._pool.next(task)) is not None:
            yield emission
        count(task.result)

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.close()
