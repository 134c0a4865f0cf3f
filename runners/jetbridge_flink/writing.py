"""The stage that writes: embedded sinks in one transaction for each bundle, other sinks' rows into the outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apache_beam as beam

from jetbridge.connectors import intake, outbox
from jetbridge.connectors.embedded import EmbeddedSink
from jetbridge.job import JobStatus
from jetbridge.store.registry import StaleOwnerError
from jetbridge_flink import envelopes
from jetbridge_flink.work import JobSpec, Work, marking, work

if TYPE_CHECKING:
    import sqlite3

    from jetbridge.connectors.base import SinkChunk


_SUSPENDED = (JobStatus.SUSPENDED.value, JobStatus.SUSPENDED_EXPORTING_SNAPSHOT.value)
MOST_BYTES = 4 << 20
"""How much is held before it is written."""


class WriteFn(beam.DoFn):
    """Writes what a bundle brings, in one transaction.

    With EXACTLY_ONCE a chunk that is there already is left out; then it is the
    same chunk. With less it may hold other items, and is written.
    """

    def __init__(self, spec: JobSpec) -> None:
        self.spec = spec

    def setup(self) -> None:
        """Find the job in this process."""
        with marking():
            self._job: Work = work(self.spec)
            for node in self._job.plan.sinks:
                if node.sink.volatile:
                    node.sink.open(self._job.context(node.name))

    def start_bundle(self) -> None:
        """Nothing is held."""
        self._pairs: list[tuple[int, bytes]] = []
        self._held = 0

    def process(self, pair: tuple[int, bytes]) -> None:
        """Hold a pair until the end of the bundle, or until there are many: in batch mode a bundle has no bounds."""
        self._pairs.append(pair)
        self._held += len(pair[1])
        if self._held > MOST_BYTES:
            self.finish_bundle()

    def finish_bundle(self) -> None:
        """Write all that is held."""
        if not self._pairs:
            return
        with marking():
            chunks: list[SinkChunk] = []
            newest: dict[str, envelopes.Figures] = {}
            for pair in self._pairs:
                content = envelopes.opened(pair)
                if content.run != self.spec.run:
                    continue  # of the job whose snapshot this one started from: they are that job's rows
                if not isinstance(content, envelopes.Figures):
                    chunks.append(content)
                elif content.place not in newest or newest[content.place].version < content.version:
                    newest[content.place] = content
            # Rows that waited for a checkpoint do not come again when it is complete: they must last as it does.
            with self._job.db.transaction(durable=self.spec.exactly_once) as tx:
                self._check_run(tx)
                write_chunks(tx, self._job, chunks)
                note_figures(tx, newest)
        self._pairs, self._held = [], 0

    def _check_run(self, tx: sqlite3.Connection) -> None:
        """Let a worker that nobody has told of the end of its run write nothing, nor one whose client has died."""
        record = self._job.registry.get_in(tx, self.spec.job_id)
        over = not record.is_active or record.status in _SUSPENDED
        if over or (record.engine or {}).get("start") != self.spec.start:
            raise StaleOwnerError(
                f"job {self.spec.job_id} is suspended, was started anew or has ended: this worker writes no more"
            )


def write_chunks(tx: sqlite3.Connection, job: Work, chunks: list[SinkChunk]) -> None:
    """Write chunks to embedded sinks, and keep those for others until they are delivered."""
    new = intake.take(tx, chunks) if job.spec.exactly_once else chunks
    by_sink: dict[str, list[SinkChunk]] = {}
    for chunk in new:
        by_sink.setdefault(chunk.stage, []).append(chunk)
    for name, part in by_sink.items():
        node = job.sinks.get(name)
        if node is None:
            continue
        if node.sink.volatile:
            for chunk in part:
                node.sink.write(chunk)
            continue
        if not isinstance(node.sink, EmbeddedSink):
            outbox.put(tx, job.spec.job_id, part)
            continue
        if intake.begins(tx, job.spec.run, name):
            node.sink.begin(tx)
        for run in _runs(part):
            node.sink.apply(tx, run)


def _runs(chunks: list[SinkChunk]) -> list[list[SinkChunk]]:
    """Chunks of one shard each, since a sink takes those of one shard together."""
    parts: dict[str, list[SinkChunk]] = {}
    for chunk in chunks:
        parts.setdefault(chunk.shard, []).append(chunk)
    return list(parts.values())


def note_figures(tx: sqlite3.Connection, newest: dict[str, envelopes.Figures]) -> None:
    """Keep how far each part of the run is."""
    for place, figures in newest.items():
        intake.note(tx, figures.run, place, figures.version, figures.body)
