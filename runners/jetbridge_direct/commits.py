"""The commit of an epoch: embedded sinks, counts and status in one transaction, other sinks right after it."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any

from jetbridge.connectors.base import ConnectorContext, Sink, SinkChunk
from jetbridge.connectors.embedded import EmbeddedSink
from jetbridge.errors import ItemError, JetbridgeError
from jetbridge.kernels.failure import describe, user_traceback
from jetbridge.store.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetbridge.plan.ends import SinkNode
    from jetbridge.store.database import Database
    from jetbridge_direct.host import JobHost


class Commits:
    """Commits a job's epochs.

    Args:
        db: The data folder's database.
        host: The job.
        job_id: The job's id.
        token: The owner's token: with another one in the registry nothing is written.
    """

    def __init__(self, db: Database, host: JobHost, job_id: str, token: str) -> None:
        self._db = db
        self._registry = Registry(db)
        self._host = host
        self._job_id = job_id
        self._token = token
        self._sequences: dict[int, int] = {}
        self._begun = False
        self._started = int(time.time() * 1000)
        self.count = 0

    def open(self, context: Callable[[str], ConnectorContext]) -> None:
        """Open the sinks."""
        for node in self._host.plan.sinks:
            with _blaming(node):
                node.sink.open(context(node.name))

    def commit(self) -> dict[str, Any]:
        """Commit what the host holds.

        Returns:
            The job's metrics.
        """
        host = self._host
        chunks = {node.id: self._numbered(node, host.pending[node.id]) for node in host.plan.sinks}
        embedded = [node for node in host.plan.sinks if isinstance(node.sink, EmbeddedSink)]
        others = [node for node in host.plan.sinks if not isinstance(node.sink, EmbeddedSink)]
        done = host.done
        self.count += 1
        metrics = self.metrics()
        fields: dict[str, Any] = {"metrics": metrics, "commits": self.count}
        if done:
            fields |= {"status": "COMPLETING"} if others else self._completed()
        with self._db.transaction() as tx:
            # First the token: an orphan must not even wait for the sinks' turn.
            self._registry.update_in(tx, self._job_id, token=self._token, **fields)
            for node in embedded:
                assert isinstance(node.sink, EmbeddedSink)
                with _blaming(node):
                    if not self._begun:
                        node.sink.begin(tx)
                    node.sink.apply(tx, chunks[node.id])
        self._begun = True
        for node in host.plan.sinks:
            host.pending[node.id] = []
        for node in others:
            with _blaming(node):
                for chunk in chunks[node.id]:
                    node.sink.write(chunk)
                node.sink.flush()
        if done and others:
            for node in others:
                with _blaming(node):
                    node.sink.complete()
            with self._db.transaction() as tx:
                self._registry.update_in(tx, self._job_id, token=self._token, **self._completed())
        return metrics

    def _completed(self) -> dict[str, Any]:
        return {"status": "COMPLETED", "end_time": int(time.time() * 1000), "owner": None}

    def _numbered(self, node: SinkNode, pending: list[tuple[int, bytes]]) -> list[SinkChunk]:
        first = self._sequences.get(node.id, 0)
        self._sequences[node.id] = first + len(pending)
        return [
            SinkChunk(self._host.run, node.name, "0", first + index, count, payload)
            for index, (count, payload) in enumerate(pending)
        ]

    def metrics(self) -> dict[str, Any]:
        """The job's metrics now."""
        host = self._host
        kinds = {node.name: node.kind for node in host.plan.nodes}
        stages = {
            name: {"kind": kinds[name], "received": received, "emitted": emitted, "errors": 0}
            for name, (received, emitted) in host.counts.items()
        }
        sources = {}
        for reader in host.readers.values():
            position = reader.position()
            sources[reader.node.name] = None if position is None else {"position": position[0], "size": position[1]}
        known = [source for source in sources.values() if source is not None]
        progress = None
        if host.done:
            progress = 1.0
        elif len(known) == len(sources) and known:
            progress = sum(s["position"] / s["size"] if s["size"] else 1.0 for s in known) / len(known)
        return {
            "stages": stages,
            "received": sum(stages[node.name]["emitted"] for node in host.plan.sources),
            "emitted": sum(stages[node.name]["received"] for node in host.plan.sinks),
            "epochs": self.count,
            "progress": progress,
            "sources": sources,
            "started": self._started,
            "updated": int(time.time() * 1000),
        }

    def close(self) -> None:
        """Close the sinks."""
        for node in self._host.plan.sinks:
            if isinstance(node.sink, Sink):
                node.sink.close()


class _blaming:
    """Turns what a sink raises into an ItemError that names the sink stage."""

    def __init__(self, node: SinkNode) -> None:
        self.node = node

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, Exception) or isinstance(error, (ItemError, sqlite3.Error)):
            return  # the transaction says what SQLite's errors mean
        text = str(error) if isinstance(error, JetbridgeError) else describe(error)
        raise ItemError(
            f"sink '{self.node.name}' failed: {text}",
            stage=self.node.name,
            user_traceback=user_traceback(error),
            cause_type=type(error).__name__,
        ) from error
