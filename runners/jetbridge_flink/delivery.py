"""Sinks outside the data folder: the job's supervisor takes their chunks from the outbox, in order, and writes them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from jetbridge.config import ProcessingGuarantee
from jetbridge.connectors import intake, outbox
from jetbridge.connectors.base import ConnectorContext
from jetbridge.connectors.embedded import EmbeddedSink
from jetbridge.errors import ItemError, JetbridgeError
from jetbridge.kernels.failure import describe, user_traceback

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetbridge.plan.ends import SinkNode
    from jetbridge.plan.graph import Plan
    from jetbridge.store.database import Database
    from jetbridge.store.records import JobRecord
    from jetbridge_flink.own_record import OwnRecord


class Delivery:
    """Writes a job's chunks to its sinks that are not embedded.

    Args:
        db: The data folder's database.
        own: The job's record, as this client writes it.
        record: The job.
        run: The run's id.
        plan: The job's plan.
    """

    def __init__(self, db: Database, own: OwnRecord, record: JobRecord, run: str, plan: Plan) -> None:
        self._db = db
        self._own = own
        self._job_id = record.id
        self._job_name = record.name or record.id
        self._run = run
        self._unbounded = plan.unbounded
        self._arguments = record.config["arguments"]
        self._afresh = record.config["initial_snapshot_name"] is None
        self._exactly_once = record.config["processing_guarantee"] == ProcessingGuarantee.EXACTLY_ONCE.value
        self._nodes: dict[str, SinkNode] = {
            node.name: node for node in plan.sinks if not isinstance(node.sink, EmbeddedSink) and not node.sink.volatile
        }
        self._positions: dict[str, Any] = {}
        self._opened: list[SinkNode] = []

    def open(self, positions: dict[str, Any]) -> None:
        """Open the sinks, staged ones where the run stood."""
        for node in self._nodes.values():
            context = ConnectorContext(
                job_id=self._job_id,
                job_name=self._job_name,
                run=self._run,
                stage=node.name,
                home=str(self._db.home),
                unbounded=self._unbounded,
                exactly_once=self._exactly_once,
                fresh=self._afresh and not intake.has_begun(self._db.reader(), self._run, node.name),
                arguments=self._arguments,
            )
            try:
                if node.sink.staged and positions.get(node.name) is not None:
                    node.sink.reopen(context, positions[node.name])
                else:
                    node.sink.open(context)
            except Exception as error:
                raise _blamed(node, error) from error
            self._opened.append(node)
            with self._db.transaction() as tx:
                intake.begins(tx, self._run, node.name)
        self._positions = dict(positions)

    def deliver(self) -> int:
        """Write what is in the outbox; it is removed when it is known to be written.

        Returns:
            How many chunks that were.
        """
        if not self._nodes:
            return 0
        last = count = 0
        touched: dict[str, SinkNode] = {}
        for place, chunk in outbox.read(self._db.reader(), self._job_id):
            last, count = place, count + 1
            node = self._nodes.get(chunk.stage)
            if node is not None:
                touched[chunk.stage] = node
                self._guarded(node, functools.partial(node.sink.write, chunk))
        for name, node in self._nodes.items():
            if node.sink.staged and self._guarded(node, node.sink.due):
                touched[name] = node
        if not touched and not last:
            return 0
        for name, node in touched.items():
            self._guarded(node, node.sink.flush)
            if node.sink.staged:
                self._positions[name] = self._guarded(node, node.sink.position)
        with self._db.transaction(durable=True) as tx:
            record = self._own.registry.get_in(tx, self._job_id)
            engine = {**(record.engine or {}), "positions": self._positions}
            self._own.registry.update_in(tx, self._job_id, token=self._own.token, engine=engine)
            if last:
                outbox.remove(tx, self._job_id, last)
        for name, node in touched.items():
            if node.sink.staged:
                self._guarded(node, functools.partial(node.sink.committed, self._positions[name]))
        return count

    def complete(self) -> None:
        """The job has completed."""
        for node in self._nodes.values():
            self._guarded(node, node.sink.complete)

    def close(self, *, pause: bool) -> None:
        """Close the sinks; with ``pause`` what is staged stays for the run to go on."""
        opened, self._opened = self._opened, []
        for node in opened:
            self._guarded(node, node.sink.pause if pause else node.sink.close)

    @staticmethod
    def _guarded(node: SinkNode, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            raise _blamed(node, error) from error


def _blamed(node: SinkNode, error: Exception) -> JetbridgeError:
    if isinstance(error, JetbridgeError):
        return error
    return ItemError(
        f"sink '{node.name}' failed: {describe(error)}", stage=node.name, user_traceback=user_traceback(error)
    )
