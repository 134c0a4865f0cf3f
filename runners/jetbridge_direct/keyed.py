"""The work of stages with state on the Direct runner: payloads of their shards, and what they emit in time."""

from __future__ import annotations

import abc
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from jetbridge.errors import ItemError, JetbridgeError
from jetbridge.kernels.aside import with_aside
from jetbridge.kernels.failure import stage_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jetbridge.kernels.keyed import KeyedKernel
    from jetbridge.kernels.segment import Counts, Emission
    from jetbridge_direct.dealing import Dealing
    from jetbridge_direct.state import StageState


class KeyedWork(abc.ABC):
    """What a `JobHost` does for stages with state.

    Attributes:
        failure: What has gone wrong.
        state: The state of each stage, by id.
        stopping: Whether the epoch is to end soon.
    """

    failure: JetbridgeError | None
    state: dict[int, StageState]
    stopping: bool
    _keyed: dict[int, KeyedKernel]
    _above: dict[int, list[int]]
    _parked: dict[bytes, bytes]
    _dealing: Dealing | None
    _ended: set[int]
    _draining: set[int]
    _watermarks: dict[int, int]
    _early_at: dict[int, float]
    _shards: int
    _most_records: int
    _seconds: float
    _bytes_left: float

    def process(self, node_id: int, shard: int, payloads: Iterable[bytes]) -> Iterator[Emission]:
        """A shard's payloads for a stage with state, as `pair` gave them."""
        kernel, stage = self._keyed[node_id], self.state[node_id]
        try:
            if self._dealing is not None and self._dealing.takes(node_id):
                given = tuple(map(self._parked.pop, payloads))
                yield from self._dealing.give(node_id, given, self._count)
                return
            state = stage.shard(shard)
            for token in payloads:
                for chunk in with_aside(kernel, kernel.process(state, self._parked.pop(token))):
                    yield from self._hold(node_id, chunk)
                stage.changed(shard)
            stage.settle(shard)
        except JetbridgeError as error:
            self.failure = error
            raise
        except Exception as error:
            self.failure = stage_error(kernel.kind, kernel.name, "updating its state", error)
            raise

    def finish(self, node_id: int) -> Iterator[Emission]:
        """The end of a stage's part of an epoch; at the end of its input, what it still has to emit."""
        kernel, stage = self._keyed[node_id], self.state[node_id]
        try:
            if self._dealing is not None and self._dealing.takes(node_id):
                yield from self._dealing.rest(node_id, self._count)
            if self._most_records > 0:
                self._check_records(kernel, stage)
            if node_id not in self._ended and all(self._has_ended(above) for above in self._above[node_id]):
                if node_id not in self._draining:
                    for number, payload in kernel.woken(self._shards).items():
                        state = stage.shard(number)
                        if payload:
                            for chunk in kernel.process(state, payload):
                                yield from self._hold(node_id, chunk)
                            stage.changed(number)
                self._draining.add(node_id)
                yield from self._drain(node_id, kernel, stage)
            elif node_id not in self._ended and kernel.timed:
                yield from self._advance(node_id, kernel, stage)
                if self._early_is_due(node_id):
                    yield from self._give_early(node_id, kernel, stage)
            elif node_id not in self._ended:
                self._watermarks[node_id] = self._watermark_before(node_id)
            yield from self._last(node_id)
        except JetbridgeError as error:
            self.failure = error
            raise

    def _drain(self, node_id: int, kernel: KeyedKernel, stage: StageState) -> Iterator[Emission]:
        deadline = time.monotonic() + self._seconds
        for number in stage.numbers():
            state = stage.shard(number)
            with closing(with_aside(kernel, kernel.on_end(state))) as chunks:
                stopped = False
                for chunk in chunks:
                    for emission in self._hold(node_id, chunk):
                        self._bytes_left -= len(emission.payload)
                        yield emission
                    if self._is_over(deadline) and not kernel.failed:
                        stopped = True
                        break
            stage.drained(number, wholly=not stopped or not state)
            if stopped:
                return
        self._ended.add(node_id)

    def _advance(self, node_id: int, kernel: KeyedKernel, stage: StageState) -> Iterator[Emission]:
        """Let shards emit what is due at the watermark."""
        watermark, deadline = self._watermark_before(node_id), time.monotonic() + self._seconds
        for number in stage.due_by(watermark):
            with closing(with_aside(kernel, kernel.on_watermark(stage.shard(number), watermark))) as chunks:
                for chunk in chunks:
                    for emission in self._hold(node_id, chunk):
                        self._bytes_left -= len(emission.payload)
                        yield emission
                    if self._is_over(deadline) and not kernel.failed:
                        break
            stage.changed(number)
            stage.settle(number)
            if self._is_over(deadline):
                break
        if stage.next_due() > watermark:
            self._watermarks[node_id] = watermark

    def _is_over(self, deadline: float) -> bool:
        """Whether an epoch's time is over, or it holds as much as it may.

        Between a chunk and what was left out of it because of an error no epoch ends: one commit has both.
        """
        return time.monotonic() >= deadline or self._bytes_left <= 0 or self.stopping

    def _give_early(self, node_id: int, kernel: KeyedKernel, stage: StageState) -> Iterator[Emission]:
        """Let the shards in which something has changed emit what is so far."""
        self._early_at[node_id] = time.monotonic() + kernel.period / 1000
        for number in sorted(stage.news):
            for chunk in with_aside(kernel, kernel.early(stage.shard(number))):
                yield from self._hold(node_id, chunk)
            stage.told(number)

    def _check_records(self, kernel: KeyedKernel, stage: StageState) -> None:
        held = stage.records()
        if held > self._most_records:
            raise ItemError(
                f"{kernel.kind} '{kernel.name}' holds {held} records, more than the "
                f"max_processor_accumulated_records of {self._most_records}",
                stage=kernel.name,
            )

    def _early_is_due(self, node_id: int) -> bool:
        """Whether a stage's period is over, and something has changed since its last early results."""
        return bool(self.state[node_id].news) and time.monotonic() >= self._early_at[node_id]

    @abc.abstractmethod
    def _count(self, counts: Counts) -> None:
        """Add to the job's counts."""

    @abc.abstractmethod
    def _has_ended(self, root: int) -> bool:
        """Whether a root has emitted all that it will."""

    @abc.abstractmethod
    def _watermark_before(self, node_id: int) -> int:
        """The watermark of what reaches a stage."""

    @abc.abstractmethod
    def _hold(self, node_id: int, chunk: list[Any]) -> Iterator[Emission]:
        """Pass a chunk on to the stages below, with others if it is small."""

    @abc.abstractmethod
    def _last(self, node_id: int) -> Iterator[Emission]:
        """Pass on what is still held."""
