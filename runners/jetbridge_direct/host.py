"""The host of the kernels on the Direct runner: what a job keeps between its epochs.

Beam's DoFns call it by run id. State, offsets and buffers live here, in the
job's process; the commit takes from here what an epoch changed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from jetbridge.errors import JetbridgeError
from jetbridge.kernels.aside import Aside
from jetbridge.kernels.rules import keyed_kernel
from jetbridge.kernels.segment import Counts, Emission, SegmentKernel, add_counts, none_yet
from jetbridge.kernels.services import Services
from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.plan.fuse import fuse
from jetbridge.plan.hash_join import gates
from jetbridge.plan.keyed import KeyedNode
from jetbridge.plan.matching import described
from jetbridge.plan.services import uses_services
from jetbridge.times import BEGINNING, END, Held, cut
from jetbridge_direct.blame import blaming_source
from jetbridge_direct.dealing import Dealing
from jetbridge_direct.keyed import KeyedWork
from jetbridge_direct.pool import Pool
from jetbridge_direct.reading import SliceSpec, SourceReader
from jetbridge_direct.spool import Spool
from jetbridge_direct.state import StageState

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from jetbridge.connectors.base import ConnectorContext
    from jetbridge.kernels.keyed import KeyedKernel
    from jetbridge.plan.graph import Plan

EPOCH_BYTES = 64 << 20
"""How much an epoch may hold of what goes to shards and sinks before it ends."""

WAKE = -1
"""The shard of a pair that only makes a keyed stage run, so that it can end."""


class JobHost(KeyedWork):
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
        self.counts: Counts = {node.name: none_yet() for node in plan.nodes}
        self.pending = {node.id: Spool() for node in plan.sinks}
        self.services = Services()
        self._kernels = {s.root.id: SegmentKernel(s, shards, logger, self.services) for s in self.segments}
        self._keyed: dict[int, KeyedKernel] = {node.id: keyed_kernel(node) for node in plan.keyed}
        self.state = {node_id: StageState(kernel, job, journal) for node_id, kernel in self._keyed.items()}
        self._most_records = most_records
        self._shards = shards
        self._above = {
            segment.root.id: [s.root.id for s in self.segments if any(e.target is segment.root for e in s.exits)]
            for segment in self.segments
        }
        self._to_keyed = {
            segment.root.id: [i for i, e in enumerate(segment.exits) if isinstance(e.target, KeyedNode)]
            for segment in self.segments
        }
        self._parked: dict[bytes, bytes] = {}
        self._parkings = 0
        self._held: dict[int, Held] = {node.id: Held() for node in (*plan.keyed, *plan.beam)}
        self._ended: set[int] = set()
        self._draining: set[int] = set()
        self._gates = gates(plan)
        self._pool: Pool | None = None
        self._dealing: Dealing | None = None
        self._seconds = self._bytes_left = 0.0
        self.stopping = False
        self.readers = {node.id: SourceReader(node, self._kernels[node.id]) for node in plan.sources}
        # How far event time is behind each root: what a stage with state has emitted, it has emitted up to there.
        self._watermarks = {node.id: BEGINNING for node in plan.keyed}
        # When each stage gives early results next, by the monotonic clock.
        self._early_at = {node.id: time.monotonic() + self._keyed[node.id].period / 1000 for node in plan.keyed}

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
        self.services.context = context
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
                self.state[node.id].restore(
                    stage["progress"],
                    segments=stage.get("segments"),
                    due=stage.get("due"),
                    news=stage.get("news", ()),
                    keep=keep,
                )
                self._watermarks[node.id] = stage.get("watermark", BEGINNING)
                if all(self._has_ended(above) for above in self._above[node.id]):
                    self._ended |= {node.id} if stage["ended"] else set()
                    self._draining |= {node.id} if stage["draining"] else set()
        if checkpoint["run"] == self.run:  # a job that starts from another one's snapshot counts for itself
            for name, pair in checkpoint["counts"].items():
                if name in self.counts:
                    self.counts[name] = none_yet()
                    add_counts(self.counts, {name: pair})

    def checkpoint(self) -> dict[str, Any]:
        """Where the run stands, as plain values; what the stages' states changed is not in it."""
        about = described(self.plan)
        for node in self.plan.sources:
            about["sources"][node.name]["partitions"] = self.readers[node.id].offsets()
        for keyed in self.plan.keyed:
            about["stages"][keyed.name] |= {
                "ended": keyed.id in self._ended,
                "draining": keyed.id in self._draining,
                "progress": self.state[keyed.id].progress(),
                "segments": self.state[keyed.id].segments(),
                "due": dict(self.state[keyed.id].due),
                "news": sorted(self.state[keyed.id].news),
                "watermark": self._watermarks[keyed.id],
            }
        counts = {name: list(pair) for name, pair in self.counts.items()}
        return {"format": 1, "run": self.run, "shards": self._shards, **about, "counts": counts}

    def has_input(self) -> bool:
        """Whether an epoch would find anything to do; looks at streams, and waits for nothing."""
        for node_id, reader in self.readers.items():
            # A source that has nothing at all still needs the epoch in which it ends.
            if node_id not in self._ended and not self._waits(node_id) and (reader.ended or reader.ready()):
                return True
        return any(
            node.id not in self._ended
            and (
                all(self._has_ended(above) for above in self._above[node.id])
                or self.state[node.id].next_due() <= self._watermark_before(node.id)
                or self._early_is_due(node.id)
            )
            for node in self.plan.keyed
        )

    def _waits(self, source: int) -> bool:
        """Whether a source is read later: when what its items are joined with has ended."""
        return not self._gates.get(source, set()) <= self._ended

    def _watermark_before(self, node_id: int) -> int:
        """The watermark of what reaches a stage."""
        return min(self._watermark_behind(above) for above in self._above[node_id])

    def _watermark_behind(self, root: int) -> int:
        if self._has_ended(root):
            return END
        if root in self.readers:
            return self.readers[root].watermark()
        return self._watermarks.get(root, BEGINNING)

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

        end = self.services.close if uses_services(self.plan.nodes) else None
        self._pool = Pool(parallelism, work, end)
        connections = self._pool.connections
        self._dealing = Dealing(parallelism, self.segments, self._keyed, self._kernels, connections, end)

    def close(self) -> None:
        """End the pool, destroy the services and close the sources."""
        if self._pool is not None:
            self._pool.close()
        if self._dealing is not None:
            self._dealing.close()
        self.services.close()
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
        if seconds == float("inf"):
            self._gates = {}  # there is no later: items wait in their stage
        active = sum(not reader.ended and not self._waits(node_id) for node_id, reader in self.readers.items())
        self._seconds = seconds / max(active, 1)
        self._bytes_left = EPOCH_BYTES if seconds != float("inf") else float("inf")

    def take_counts(self) -> None:
        """Add up what the fused stages counted in this process."""
        for kernel in self._kernels.values():
            self._count(kernel.take_counts())

    def _count(self, counts: Counts) -> None:
        add_counts(self.counts, counts)

    def read(self, node_id: int) -> Iterator[Emission]:
        """A source's part of an epoch."""
        reader, kernel = self.readers[node_id], self._kernels[node_id]
        deadline = time.monotonic() + self._seconds
        try:
            if not reader.ended and not self._waits(node_id):
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

    def pair(self, node_id: int, emission: Emission) -> tuple[int, bytes]:
        """An emission as Beam sees it: for a stage with state Beam groups by shard what stands for the payloads.

        They stay here, since Beam would copy each several times on its way through this one process.
        """
        if emission.exit not in self._to_keyed[node_id] or emission.number == WAKE:
            return emission.number, emission.payload
        self._parkings += 1
        token = b"%x" % self._parkings
        self._parked[token] = emission.payload
        return emission.number, token

    def gather(self, node_id: int, item: Any) -> Iterator[Emission]:
        """An item that a user's Beam transform gave."""
        held = self._held[node_id]
        held.add([item])
        if len(held) >= CHUNK_ITEMS:
            yield from self._feed(node_id, held.take())

    def gathered(self, node_id: int) -> Iterator[Emission]:
        """The end of such a transform's part of an epoch."""
        yield from self._last(node_id)

    def collect(self, node_id: int, count: int, payload: bytes) -> None:
        """A sink's chunk, kept for the commit."""
        self.pending[node_id].append(count, payload)

    def _hold(self, node_id: int, chunk: list[Any]) -> Iterator[Emission]:
        """Join the small chunks of shards, so that the stages below see full ones."""
        if type(chunk) is Aside:
            yield from self._kernels[node_id].feed(chunk)
            return
        held = self._held[node_id]
        held.add(chunk)
        if len(held) >= CHUNK_ITEMS:
            yield from self._feed(node_id, held.take())

    def _feed(self, node_id: int, items: list[Any]) -> Iterator[Emission]:
        for piece in cut(items, CHUNK_ITEMS):
            yield from self._kernels[node_id].feed(piece)

    def _last(self, node_id: int) -> Iterator[Emission]:
        if held := self._held.get(node_id):
            yield from self._feed(node_id, held.take())
        yield from self._kernels[node_id].flush()
        for index in self._to_keyed[node_id]:
            yield Emission(index, WAKE, b"")
