"""The commit of an epoch: offsets, changed state, embedded sinks, counts and status in one transaction.

Sinks of other systems are written right after it: from memory without a
guarantee, with EXACTLY_ONCE out of an outbox that is part of the transaction; with
AT_LEAST_ONCE right before it.
Staged sinks are written before it, and cut back to what it says after a crash.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jetbridge.config import ProcessingGuarantee
from jetbridge.connectors import outbox
from jetbridge.connectors.base import SinkChunk
from jetbridge.connectors.embedded import EmbeddedSink
from jetbridge.store import states
from jetbridge.store.crashpoints import reach
from jetbridge.store.registry import Registry
from jetbridge_direct.blame import blaming_sink
from jetbridge_direct.figures import Figures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jetbridge.connectors.base import ConnectorContext
    from jetbridge.plan.ends import SinkNode
    from jetbridge.store.database import Database
    from jetbridge_direct.host import JobHost


class Commits:
    """Commits a job's epochs.

    Args:
        db: The data folder's database.
        host: The job.
        spec: What the worker was told; see `jetbridge_direct.worker`.
        checkpoint: Where the run goes on, or None for a fresh start.

    Attributes:
        journaled: Whether the job has a guarantee, and so keeps its state.
        figures: The job's metrics.
    """

    def __init__(self, db: Database, host: JobHost, spec: dict[str, Any], checkpoint: dict[str, Any] | None) -> None:
        self._db = db
        self._registry = Registry(db)
        self._host = host
        self._job = spec["job_id"]
        self._token = spec["token"]
        self._exactly_once = spec["guarantee"] is ProcessingGuarantee.EXACTLY_ONCE
        self.journaled = spec["guarantee"] is not ProcessingGuarantee.NONE
        self._interval = spec.get("snapshot_interval_millis", 10_000) / 1000
        self._synced = time.monotonic()
        known = {} if checkpoint is None else checkpoint["sinks"]
        self._sequences = {node.id: known.get(node.name, {}).get("sequence", 0) for node in host.plan.sinks}
        self._positions = {node.id: known.get(node.name, {}).get("position") for node in host.plan.sinks}
        self._fresh = checkpoint is None or checkpoint["run"] != host.run
        self._begun = checkpoint is not None and (self._fresh or checkpoint["epoch"] > 0)
        self.figures = Figures(host, checkpoint)
        sinks = host.plan.sinks
        self._embedded = [node for node in sinks if isinstance(node.sink, EmbeddedSink)]
        self._staged = [node for node in sinks if node.sink.staged]
        self._others = [node for node in sinks if node not in self._embedded and node not in self._staged]
        self._kept = [node for node in self._others if not node.sink.volatile and self._exactly_once]

    def open(self, context: Callable[[str], ConnectorContext]) -> None:
        """Open the sinks, and deliver what a commit before a crash has left to be delivered."""
        for node in self._host.plan.sinks:
            with blaming_sink(node):
                position = self._positions[node.id]
                if node.sink.staged and position is not None and not self._fresh:
                    node.sink.reopen(context(node.name), position)
                else:
                    node.sink.open(replace(context(node.name), fresh=not self._begun))
        if self._kept:
            outbox.check(self._db.reader(), self._job)
        self._deliver_kept()

    def commit(self, ending: dict[str, Any] | None = None) -> dict[str, Any]:
        """Commit what the host holds.

        Args:
            ending: Fields of the job's record with which the run is left, such as its suspension.

        Returns:
            The job's metrics.
        """
        host, started = self._host, time.monotonic()
        # Completing may need more than this transaction: sinks that publish, or rows that are not delivered yet.
        completing = host.done and ending is None
        at_once = completing and not self._staged and not self._others
        for node in self._staged:
            with blaming_sink(node):
                for chunk in self._numbered(node):
                    node.sink.write(chunk)
                self._positions[node.id] = node.sink.position()
        # Behind the writes: a part that they have finished is shown only when this commit holds the positions.
        due = bool(ending) or completing or self._is_due(started)
        whole = self.journaled and (self._exactly_once or due)
        outgoing = {node.id: list(self._numbered(node)) for node in self._others}
        writes = {node_id: stage.collect() for node_id, stage in host.state.items()} if whole else {}
        self.figures.epoch(sum(len(write.payload) for part in writes.values() for write in part))
        fields: dict[str, Any] = {"commits": self.figures.epochs}
        if at_once:
            fields |= completed()
        elif completing:
            fields |= {"status": "COMPLETING"}
        fields |= ending or {}
        durable = (self.journaled and due) or any(outgoing[node.id] for node in self._kept) or self._parts_are_due()
        if durable and due:
            self.figures.snapshot(started)
            self._synced = started
        metrics = fields["metrics"] = self.figures.metrics()
        if self.journaled and not self._exactly_once:
            # Before the commit that says they were read: a crash in between writes them again, and loses none.
            self._write_out(outgoing)
        reach("commit:before")
        with self._db.transaction(durable=durable) as tx:
            # First the token: an orphan must write nothing.
            self._registry.update_in(tx, self._job, token=self._token, **fields)
            for node in self._embedded:
                sink = node.sink
                assert isinstance(sink, EmbeddedSink)
                with blaming_sink(node):
                    if not self._begun:
                        sink.begin(tx)
                    for batch in self._batches(node):
                        sink.apply(tx, batch)
            for node in self._kept:
                outbox.put(tx, self._job, outgoing[node.id])
            if at_once:
                self._forget(tx)
            elif whole:
                for node_id, part in writes.items():
                    host.state[node_id].write(tx, part)
                states.save(tx, self._job, self.checkpoint())
            reach("commit:inside")
        reach("commit:after")
        self._begun = True
        for node in host.plan.sinks:
            host.pending[node.id].clear()
        for stage in host.state.values():
            stage.evict()
        self._publish(outgoing)
        if completing and not at_once:
            self.complete()
        return metrics

    def sync(self) -> dict[str, Any] | None:
        """Make earlier commits durable when it is time, though there is nothing new to commit."""
        wanted = self._is_due(time.monotonic()) if self.journaled else self._parts_are_due()
        return self.commit() if wanted else None

    def _is_due(self, now: float) -> bool:
        return now - self._synced >= self._interval or self._parts_are_due()

    def _parts_are_due(self) -> bool:
        """Whether a stream's file sink has a part to show, which it may only behind a durable commit."""
        return any(node.sink.due() for node in self._staged)

    def complete(self) -> None:
        """Let the sinks publish what they have staged, and the job be COMPLETED; its last commit stands already."""
        for node in (*self._staged, *self._others):
            with blaming_sink(node):
                node.sink.complete()
        with self._db.transaction(durable=self.journaled) as tx:
            self._registry.update_in(tx, self._job, token=self._token, **completed())
            self._forget(tx)

    def checkpoint(self) -> dict[str, Any]:
        """Where the run stands."""
        body = self._host.checkpoint()
        for node in self._host.plan.sinks:
            body["sinks"][node.name] |= {
                "sequence": self._sequences[node.id],
                "position": self._positions[node.id],
            }
        body["epoch"] = self.figures.epochs
        return body

    def keep_whole(self, tx: Any) -> None:
        """For a job without a guarantee: write all its state, for a named snapshot."""
        states.clear(tx, self._job)
        for stage in self._host.state.values():
            stage.write(tx, stage.collect(whole=True))
        states.save(tx, self._job, self.checkpoint())

    def close(self, *, pause: bool = False) -> None:
        """Close the sinks.

        Args:
            pause: Whether the run may go on later, so that what is staged must stay.
        """
        for node in self._host.plan.sinks:
            if pause:
                node.sink.pause()
            else:
                node.sink.close()

    def _publish(self, outgoing: dict[int, list[SinkChunk]]) -> None:
        for node in self._staged:
            with blaming_sink(node):
                node.sink.committed(self._positions[node.id])
        self._deliver_kept()
        if self._exactly_once or not self.journaled:
            self._write_out(outgoing)

    def _write_out(self, outgoing: dict[int, list[SinkChunk]]) -> None:
        """Write the chunks of sinks in other systems that the outbox does not keep."""
        for node in self._others:
            if node not in self._kept:
                with blaming_sink(node):
                    for chunk in outgoing[node.id]:
                        node.sink.write(chunk)
                    node.sink.flush()

    def _deliver_kept(self) -> None:
        """Write what is in the outbox. It is removed when it is known to be written: a crash repeats it."""
        if not self._kept:
            return
        last = 0
        by_name = {node.name: node for node in self._kept}
        for place, chunk in outbox.read(self._db.reader(), self._job):
            last = place
            node = by_name.get(chunk.stage)
            if node is not None:
                with blaming_sink(node):
                    node.sink.write(chunk)
        for node in self._kept:
            with blaming_sink(node):
                node.sink.flush()
        if last:
            with self._db.transaction() as tx:
                outbox.remove(tx, self._job, last)

    def _forget(self, tx: Any) -> None:
        states.clear(tx, self._job)
        outbox.remove(tx, self._job)

    def _numbered(self, node: SinkNode) -> Iterator[SinkChunk]:
        for count, payload in self._host.pending[node.id]:
            sequence = self._sequences[node.id]
            self._sequences[node.id] = sequence + 1
            yield SinkChunk(self._host.run, node.name, "0", sequence, count, payload)

    def _batches(self, node: SinkNode) -> Iterator[list[SinkChunk]]:
        """A sink's chunks, so many at a time that they need little memory."""
        batch: list[SinkChunk] = []
        size = 0
        for chunk in self._numbered(node):
            batch.append(chunk)
            size += len(chunk.payload)
            if size > BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch


BATCH_BYTES = 16 << 20


def completed() -> dict[str, Any]:
    """The fields of a job that has completed."""
    return {"status": "COMPLETED", "end_time": int(time.time() * 1000), "owner": None}
