"""The worker: a job's own process, forked from the fork server, from its first epoch to its last."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import queue
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetbridge.beam.inspect import failed_stage, without_steps
from jetbridge.config import ProcessingGuarantee
from jetbridge.connectors import outbox
from jetbridge.connectors.base import ConnectorContext
from jetbridge.errors import DiskFullError, ItemError, JetbridgeError
from jetbridge.jobs.failing import fields_of
from jetbridge.jobs.packing import unpack
from jetbridge.kernels.failure import as_record
from jetbridge.plan.ends import BeamNode
from jetbridge.plan.services import uses_services
from jetbridge.store import snapshots, states
from jetbridge.store.database import Database
from jetbridge.store.registry import Registry, StaleOwnerError
from jetbridge_direct.channel import Channel
from jetbridge_direct.commits import Commits
from jetbridge_direct.epochs import Epochs
from jetbridge_direct.epochs import warm as warm
from jetbridge_direct.host import JobHost
from jetbridge_direct.logs import send_logs
from jetbridge_direct.pool import PoolProcessDied

if TYPE_CHECKING:
    import socket

_LOGGER = logging.getLogger("jetbridge")


def main(spec: dict[str, Any], control: socket.socket) -> int:
    """Run a job to its end.

    Args:
        spec: What to run: job_id, job_name, run, token, home, parallelism,
            shards and the payload.
        control: The socket to the client; when it closes, the client has ended
            and so does this process, with its pool.

    Returns:
        The exit status: 0 also for a job that failed, since that is recorded.
    """
    channel = Channel(control, shared=True)
    send_logs(channel)
    # Beam logs each failure with its own frames, and once more for each step; the job's error says it once.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    # Chunks are many small objects that live long: the default thresholds collect far too often for that.
    gc.set_threshold(100_000, 20, 100)
    return Job(spec, channel).run()


class Job:
    """A job in this process."""

    def __init__(self, spec: dict[str, Any], channel: Channel) -> None:
        self.spec = spec
        self.channel = channel
        self.db = Database.open(Path(spec["home"]))
        self.registry = Registry(self.db)
        self._host: JobHost | None = None
        self._orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._ordered = threading.Event()
        self._unbounded = False
        self._transforms: set[str] = set()  # the names of stages with a Beam transform of the user's

    def run(self) -> int:
        """Run it; what it ends in is in the registry afterwards."""
        try:
            self._run()
        except StaleOwnerError:
            _LOGGER.debug("job %s belongs to another process by now", self.spec["job_id"])
        except BaseException as error:
            failure = (self._host.failure if self._host is not None else None) or error
            if isinstance(failure, PoolProcessDied):
                # As if this process itself had died: it is started again.
                with contextlib.suppress(OSError):
                    self.channel.send({"type": "dying", "cause": str(failure)})
                return 1
            self._fail(failure)
        with contextlib.suppress(OSError):
            self.channel.send({"type": "ended"})
        return 0

    def _run(self) -> None:
        spec = self.spec
        payload = unpack(spec["payload"])
        plan = payload.plan
        self._unbounded = plan.unbounded
        self._transforms = {node.name for node in plan.nodes if isinstance(node, BeamNode)}
        if uses_services(plan.nodes):
            with contextlib.suppress(OSError):
                self.channel.send({"type": "serving"})
        guarded = spec["guarantee"] is not ProcessingGuarantee.NONE
        if payload.run != spec["run"] and not guarded:
            for node in plan.sources:
                node.source.submitted(spec["home"])  # a fresh start; "from now on" means another now
        checkpoint = states.load(self.db.reader(), spec["job_id"]) if spec.get("resume") else None
        host = self._host = JobHost(
            plan,
            run=spec["run"],
            shards=spec["shards"] if checkpoint is None else checkpoint.get("shards", spec["shards"]),
            logger=f"jetbridge.{spec['job_name']}",
            job=spec["job_id"],
            journal=self.db.reader if guarded or checkpoint is not None else None,
            most_records=spec.get("limits", {}).get("max_records", -1),
        )
        commits = Commits(self.db, host, spec, checkpoint)
        epochs: Epochs | None = None
        paused = False
        try:
            host.open(self._context, checkpoint, keep=guarded)
            host.fork(spec["parallelism"], self._context)
            threading.Thread(target=self._hear, name="client", daemon=True).start()
            commits.open(self._context)
            epochs = Epochs(host)
            with self.db.transaction() as tx:
                self.registry.update_in(tx, spec["job_id"], token=spec["token"], status="RUNNING")
                if not guarded:
                    states.clear(tx, spec["job_id"])  # what it began with is in memory
                elif checkpoint is None:
                    states.save(tx, spec["job_id"], commits.checkpoint())  # where it begins is fixed from here on
            paused = self._loop(host, epochs, commits) and guarded
        except BaseException as error:
            # What is staged belongs to a new owner, whatever went wrong in this process, or the job goes on with it.
            paused = self._has_lost_the_job() or (guarded and self._goes_on_after(error))
            raise
        finally:
            if epochs is not None:
                epochs.close()
            commits.close(pause=paused)
            host.close()

    def _has_lost_the_job(self) -> bool:
        record = self.registry.get(self.spec["job_id"])
        if record is None or not record.is_active:
            return False
        return bool((record.owner or {}).get("token") != self.spec["token"])

    def _goes_on_after(self, error: BaseException) -> bool:
        failure = (self._host.failure if self._host is not None else None) or error
        return isinstance(failure, PoolProcessDied) or bool(self.spec.get("suspend_on_failure"))

    def _loop(self, host: JobHost, epochs: Epochs, commits: Commits) -> bool:
        """Run epochs to the end, or to the order to suspend: then True."""
        told = time.monotonic()
        if host.done:  # a worker before this one died between the last commit and the end
            commits.complete()
        while not host.done:
            self._ordered.clear()
            while not self._orders.empty():
                order = self._orders.get()
                if order["type"] == "end":
                    raise StaleOwnerError("the job was cancelled")
                if order["type"] == "suspend":
                    commits.commit(order.get("fields") or {"status": "SUSPENDED", "owner": None})
                    return True
                self._export(order, commits)
            host.stopping = False
            if host.has_input():
                epochs.run()
                self._report(commits.commit())
                told = time.monotonic()
                continue
            synced = commits.sync()
            if synced is not None or time.monotonic() - told > IDLE_REPORT_SECONDS:
                self._report(synced or commits.figures.metrics())
                told = time.monotonic()
            self._ordered.wait(POLL_SECONDS)
        return False

    def _export(self, order: dict[str, Any], commits: Commits) -> None:
        spec, error = self.spec, None
        try:
            if not commits.journaled:
                with self.db.transaction() as tx:
                    commits.keep_whole(tx)
            record = self.registry.get(spec["job_id"])
            snapshots.export(self.db, spec["job_id"], None if record is None else record.name, order["name"])
        except JetbridgeError as problem:
            error = str(problem)
        finally:
            if not commits.journaled:
                with self.db.transaction() as tx:
                    states.clear(tx, spec["job_id"])
        with contextlib.suppress(OSError):
            self.channel.send({"type": "exported", "id": order["id"], "error": error})

    def _context(self, stage: str) -> ConnectorContext:
        spec = self.spec
        return ConnectorContext(
            job_id=spec["job_id"],
            job_name=spec["job_name"],
            run=spec["run"],
            stage=stage,
            home=spec["home"],
            unbounded=self._unbounded,
            exactly_once=spec["guarantee"] is ProcessingGuarantee.EXACTLY_ONCE,
            arguments=spec["arguments"],
        )

    def _report(self, metrics: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self.channel.send({"type": "metrics", "metrics": metrics})

    def _fail(self, error: BaseException) -> None:
        spec = self.spec
        record = as_record(error, failed_stage(error))
        if not isinstance(error, ItemError) and record["stage"] in self._transforms:
            record["message"] = f"apply_beam '{record['stage']}' failed: {without_steps(record['message'] or '')}"
        job = self.registry.get(spec["job_id"])
        fields = fields_of(
            record,
            begun=bool(spec.get("resumed") or (job is not None and job.commits)),
            suspends=bool(spec.get("suspend_on_failure")),
        )
        try:
            with contextlib.suppress(StaleOwnerError), self.db.transaction(durable=True) as tx:
                self.registry.update_in(tx, spec["job_id"], token=spec["token"], **fields)
                if fields["status"] == "FAILED":
                    states.clear(tx, spec["job_id"])
                    outbox.remove(tx, spec["job_id"])
        except DiskFullError:  # the client writes it as soon as there is room
            with contextlib.suppress(OSError):
                self.channel.send({"type": "unwritten", "fields": fields})

    def _hear(self) -> None:
        """Take the client's orders; when it ends, however it ends, so do this process and its pool."""
        while (order := self.channel.recv()) is not None:
            self._orders.put(order)
            if self._host is not None:
                self._host.stopping = True
            self._ordered.set()
        os.killpg(os.getpgrp(), signal.SIGKILL)


POLL_SECONDS = 0.005
"""How often a stream that had nothing new is looked at."""
IDLE_REPORT_SECONDS = 1.0
