"""The worker: a job's own process, forked from the fork server, from its first epoch to its last."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetbridge.beam.inspect import failed_stage
from jetbridge.connectors.base import ConnectorContext
from jetbridge.kernels.failure import as_record
from jetbridge.packing import unpack
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
        plan = unpack(spec["payload"]).plan
        host = self._host = JobHost(
            plan, run=spec["run"], shards=spec["shards"], logger=f"jetbridge.{spec['job_name']}"
        )
        commits = Commits(self.db, host, spec["job_id"], spec["token"])
        epochs: Epochs | None = None
        try:
            host.open(self._context)
            host.fork(spec["parallelism"], self._context)
            threading.Thread(target=self._end_with_client, name="client", daemon=True).start()
            commits.open(self._context)
            epochs = Epochs(host)
            self.registry.update(spec["job_id"], token=spec["token"], status="RUNNING")
            while not host.done:
                epochs.run()
                self._report(commits.commit())
        finally:
            if epochs is not None:
                epochs.close()
            commits.close()
            host.close()

    def _context(self, stage: str) -> ConnectorContext:
        spec = self.spec
        return ConnectorContext(
            job_id=spec["job_id"], job_name=spec["job_name"], run=spec["run"], stage=stage, home=spec["home"]
        )

    def _report(self, metrics: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self.channel.send({"type": "metrics", "metrics": metrics})

    def _fail(self, error: BaseException) -> None:
        stages = None if self._host is None else self._host.counts
        _LOGGER.debug("job %s failed (stages: %s)", self.spec["job_id"], stages)
        with contextlib.suppress(StaleOwnerError):
            self.registry.update(
                self.spec["job_id"],
                token=self.spec["token"],
                status="FAILED",
                error=as_record(error, failed_stage(error)),
                end_time=int(time.time() * 1000),
                owner=None,
            )

    def _end_with_client(self) -> None:
        while self.channel.recv() is not None:
            pass
        os.killpg(os.getpgrp(), signal.SIGKILL)
