"""The host of the kernels on the Direct runner: what a job keeps between its epochs.

Beam's DoFns call it by run id. State, offsets and buffers live here, in the
job's process; the commit takes from here what an epoch changed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from jetbridge.errors import ItemError, JetbridgeError
from jetbridge.kernels.failure import stage_error
from jetbridge.kernels.rules import keyed_kernel
from jetbridge.kernels.segment import Counts, Emission, SegmentKernel
from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.plan.fuse import fuse
from jetbridge.plan.graph import upstream
from jetbridge.plan.keyed import KeyedNode
from jetbridge.plan.matching import state_kind
from jetbridge_direct.blame import blaming_source
from jetbridge_direct.pool import Pool
from jetbridge_direct.reading import SliceSpec, SourceReader
from jetbridge_direct.spool import Spool
from jetbridge_direct.state import StageState
from jetbridge_direct.transforms import WAKE

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator

    from jetbridge.connectors.base import ConnectorContext
    from jetbridge.kernels.keyed import KeyedKernel
    from jetbridge.plan.base import Node
    from jetbridge.plan.graph import Plan

EPOCH_BYTES = 64 << 20
"""How much an epoch may hold of what goes to shards and sinks before it ends."""


class JobHost:
    """A job at work.

    Args:
        plan: Its plan.
        run: The run's id.
        shards: The number of shards of each stage with state.
        logger: The name of the job's logger.
        job: The job's id in the journal.
        journal: A connection to the journal of state, for a job with a guarantee.
        most_records: How many entries a stage's state in memory may have; -1 for any number.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        run: str,
        shards: int,
        logger: str,
        job: str = "",
        journal: Callable[[], sqlite3.Connection] | None = None,
        most_records: int = -1,
    ) -> None:
        self.plan = plan
        self.run = run
        self.segments = fuse(plan)
        self.failure: JetbridgeError | None = None
        self.counts: Counts = {node.name: [0, 0] for node in plan.nodes}
        self.pending = {node.id: Spool() for node in plan.sinks}
        self._kernels = {segment.root.id: SegmentKernel(segment, shards, logger) for segment in self.segments}
        self._keyed: dict[int, KeyedKernel] = {node.id: keyed_kernel(node) for node in plan.keyed}
        self.state = {node_id: StageState(kernel, job, journal) for node_id, kernel in self._keyed.items()}
        self._most_records = most_records
        self._shards = shards
        self._above = {
            segment.root.id: [s.root.id for s in self.segments if any(e.target is segment.root for e in s.exits)]
            for segment in self.segments
        }
        self._wakes = {
            segment.root.id: [i for i, e in enumerate(segment.exits) if isinstance(e.target, KeyedNode)]
            for segment in self.segments
        }
        self._held: dict[int, list[Any]] = {node.id: [] for node in (*plan.keyed, *plan.beam)}
        self._ended: set[int] = set()
        self._draining: set[int] = set()
        self._pool: Pool | None = None
        self._seconds = self._bytes_left = 0.0
        self.stopping = False
        self.readers = {node.id: SourceReader(node) for node in plan.sources}

    def open(
        self,
        context: Callable[[str], ConnectorContext],
        checkpoint: dict[str, Any] | None = None,
        *,
        keep: bool = True,
    ) -> None:
        """Open the sources in this process, and fix where they start.

        Args:
            context: Gives each connector its context.
            checkpoint: What `checkpoint` gave when the run stood where it is to go on.
            keep: Whether the journal goes on; else all state is read from it now.
        """
        known = {} if checkpoint is None else checkpoint["sources"]
        for reader in self.readers.values():
            with blaming_source(reader.node):
                reader.source.open(context(reader.node.name))
            reader.begin(known.get(reader.node.name, {}).get("partitions", {}))
        if checkpoint is None:
            return
        self._ended = {node.id for node in self.plan.sources if self.readers[node.id].ended and node.name in known}
        for node in self.plan.keyed:
            stage = checkpoint["stages"].get(node.name)
            if stage is not None:
                self.state[node.id].restore(stage["progress"], keep=keep)
                if all(self._has_ended(above) for above in self._above[node.id]):
                    self._ended |= {node.id} if stage["ended"] else set()
                    self._draining |= {node.id} if stage["draining"] else set()
        if checkpoint["run"] == self.run:  # a job that starts from another one's snapshot counts for itself
            for name, pair in checkpoint["counts"].items():
                if name in self.counts:
                    self.counts[name] = list(pair)

    def checkpoint(self) -> dict[str, Any]:
        """Where the run stands, as plain values; what the stages' states changed is not in it."""

        def default(node: Node) -> str | None:
            return None if node.named else upstream(self.plan, node)

        return {
            "format": 1,
            "run": self.run,
            "shards": self._shards,
            "sources": {
                node.name: {
                    "kind": node.source.kind,
                    "name": node.source.name,
                    "default": default(node),
                    "partitions": self.readers[node.id].offsets(),
                }
                for node in self.plan.sources
            },
            "stages": {
                node.name: {
                    "kind": state_kind(node),
                    "default": default(node),
                    "ended": node.id in self._ended,
                    "draining": node.id in self._draining,
                    "progress": self.state[node.id].progress(),
                }
                for node in self.plan.keyed
            },
            "sinks": {
                node.name: {"kind": node.sink.kind, "name": node.sink.name, "default": default(node)}
                for node in self.plan.sinks
            },
            "counts": {name: list(pair) for name, pair in self.counts.items()},
        }

    def has_input(self) -> bool:
        """Whether an epoch would find anything to do; looks at streams, and waits for nothing."""
        for node_id, reader in self.readers.items():
            # A source that has nothing at all still needs the epoch in which it ends.
            if node_id not in self._ended and (reader.ended or reader.ready()):
                return True
        return any(
            node.id not in self._ended and all(self._has_ended(above) for above in self._above[node.id])
            for node in self.plan.keyed
        )

    def fork(self, parallelism: int, context: Callable[[str], ConnectorContext]) -> None:
        """Start the pool; before the job's first Beam run, while there are no threads."""
        if parallelism < 2:
            return
        opened: set[int] = set()

        def work(spec: SliceSpec) -> Any:
            reader = self.readers[spec.node_id]
            if spec.node_id not in opened:
                opened.add(spec.node_id)
                reader.source.open(context(reader.node.name))
            return reader.work(spec, self._kernels[spec.node_id])

        self._pool = Pool(parallelism, work)

    def close(self) -> None:
        """End the pool and close the sources."""
        if self._pool is not None:
            self._pool.close()
        for reader in self.readers.values():
            reader.source.close()

    @property
    def done(self) -> bool:
        """Whether every stage has emitted all that it will."""
        return all(self._has_ended(segment.root.id) for segment in self.segments)

    def _has_ended(self, root: int) -> bool:
        if root in self.readers or root in self._keyed:
            return root in self._ended
        return all(self._has_ended(above) for above in self._above[root])

    def begin_epoch(self, seconds: float) -> None:
        """Give the next Beam run its time; ``inf`` reads all there is."""
        active = sum(not reader.ended for reader in self.readers.values())
        self._seconds = seconds / max(active, 1)
        self._bytes_left = EPOCH_BYTES if seconds != float("inf") else float("inf")

    def take_counts(self) -> None:
        """Add up what the fused stages counted in this process."""
        for kernel in self._kernels.values():
            self._count(kernel.take_counts())

    def _count(self, counts: Counts) -> None:
        for name, (received, emitted) in counts.items():
            pair = self.counts[name]
            pair[0] += received
            pair[1] += emitted

    def read(self, node_id: int) -> Iterator[Emission]:
        """A source's part of an epoch."""
        reader, kernel = self.readers[node_id], self._kernels[node_id]
        deadline = time.monotonic() + self._seconds
        try:
            if not reader.ended:
                pool = None if reader.local else self._pool
                for step in reader.read(kernel) if pool is None else reader.read_ahead(pool):
                    if isinstance(step, Emission):
                        self._bytes_left -= len(step.payload)
                        yield step
                    elif step is not None:
                        self._count(step)
                    elif time.monotonic() >= deadline or self._bytes_left <= 0 or self.stopping:
                        break
            yield from self._last(node_id)
            if reader.ended:
                self._ended.add(node_id)
        except JetbridgeError as error:
            self.failure = error
            raise

    def process(self, node_id: int, shard: int, payloads: Iterable[bytes]) -> Iterator[Emission]:
        """A shard's payloads for a stage with state."""
        kernel, stage = self._keyed[node_id], self.state[node_id]
        try:
            state = stage.shard(shard)
            for payload in payloads:
                for chunk in kernel.process(state, payload):
                    yield from self._hold(node_id, chunk)
                stage.changed(shard)
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
            if self._most_records > 0:
                self._check_records(kernel, stage)
            if node_id not in self._ended and all(self._has_ended(above) for above in self._above[node_id]):
                if kernel.always and node_id not in self._draining:
                    stage.shard(0)
                self._draining.add(node_id)
                yield from self._drain(node_id, kernel, stage)
            yield from self._last(node_id)
        except JetbridgeError as error:
            self.failure = error
            raise

    def _drain(self, node_id: int, kernel: KeyedKernel, stage: StageState) -> Iterator[Emission]:
        deadline = time.monotonic() + self._seconds
        for number in stage.numbers():
            state = stage.shard(number)
            for chunk in kernel.on_end(state):
                for emission in self._hold(node_id, chunk):
                    self._bytes_left -= len(emission.payload)
                    yield emission
                if time.monotonic() >= deadline or self._bytes_left <= 0 or self.stopping:
                    stage.drained(number, wholly=not state)
                    return
            stage.drained(number, wholly=True)
        self._ended.add(node_id)

    def _check_records(self, kernel: KeyedKernel, stage: StageState) -> None:
        held = stage.records()
        if held > self._most_records:
            raise ItemError(
                f"{kernel.kind} '{kernel.name}' holds {held} records, more than the "
                f"max_processor_accumulated_records of {self._most_records}",
                stage=kernel.name,
            )

    def gather(self, node_id: int, item: Any) -> Iterator[Emission]:
        """An item that a user's Beam transform gave."""
        held = self._held[node_id]
        held.append(item)
        if len(held) >= CHUNK_ITEMS:
            self._held[node_id] = []
            yield from self._feed(node_id, held)

    def gathered(self, node_id: int) -> Iterator[Emission]:
        """The end of such a transform's part of an epoch."""
        yield from self._last(node_id)

    def collect(self, node_id: int, count: int, payload: bytes) -> None:
        """A sink's chunk, kept for the commit."""
        self.pending[node_id].append(count, payload)

    def _hold(self, node_id: int, chunk: list[Any]) -> Iterator[Emission]:
        """Join the small chunks of shards, so that the stages below see full ones."""
        held = self._held[node_id]
        held += chunk
        if len(held) >= CHUNK_ITEMS:
            self._held[node_id] = []
            yield from self._feed(node_id, held)

    def _feed(self, node_id: int, items: list[Any]) -> Iterator[Emission]:
        kernel = self._kernels[node_id]
        for at in range(0, len(items), CHUNK_ITEMS):
            yield from kernel.feed(items[at : at + CHUNK_ITEMS])

    def _last(self, node_id: int) -> Iterator[Emission]:
        if held := self._held.get(node_id):
            self._held[node_id] = []
            yield from self._feed(node_id, held)
        yield from self._kernels[node_id].flush()
        for index in self._wakes[node_id]:
            yield Emission(index, WAKE, b"")
