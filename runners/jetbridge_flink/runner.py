"""The Flink runner: jobs on a cluster that jetbridge starts on this machine, or on one that is there already."""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - Beam needs it, and it cannot be imported when the interpreter ends
import threading
from typing import TYPE_CHECKING

from jetbridge.jobs.console import show_messages
from jetbridge.jobs.packing import plan_of, with_copies
from jetbridge.processes import cores
from jetbridge.store.registry import Registry
from jetbridge_flink import launch
from jetbridge_flink.execution import FlinkExecution
from jetbridge_flink.submission import KEY_GROUPS

if TYPE_CHECKING:
    from jetbridge.config import JobConfig
    from jetbridge.plan.graph import Plan
    from jetbridge.settings import Settings
    from jetbridge.store.database import Database
    from jetbridge.store.records import JobRecord
    from jetbridge_flink.cluster import Cluster
    from jetbridge_flink.clusters import FlinkCluster
    from jetbridge_flink.remote import RemoteCluster


SLOTS_PER_CORE = 4
"""A job takes as many slots as its parallelism; several jobs share the cluster, and the cores."""


class FlinkRunner:
    """Runs jobs on Apache Flink; see `jetbridge.runner.Runner`.

    Args:
        settings: The settings.
        db: The data folder's database.
    """

    name = "flink"

    def __init__(self, settings: Settings, db: Database) -> None:
        self._settings = settings
        self._db = db
        self._lock = threading.Lock()
        self._cluster: Cluster | None = None
        self._remote: RemoteCluster | None = None
        if settings.flink_url is not None:
            from jetbridge_flink.remote import RemoteCluster

            self._remote = RemoteCluster(settings, db.home)

    def check(self, plan: Plan, config: JobConfig) -> None:
        """Refuse Beam transforms that cannot be applied, and what a remote cluster cannot honour or has no room for."""
        if self._remote is not None:
            self._remote.refuse(plan)
        if plan.beam:  # the user has imported Beam already, and nobody else waits for it
            launch.check(with_copies(plan), config.processing_guarantee.value)
        if self._remote is not None:
            record = None if config.name is None else Registry(self._db).by_name(config.name)
            self._remote.check(room=record is None or not record.is_active)  # else it may have its slots already

    def warm(self) -> None:
        """Start the cluster in the background."""
        show_messages()
        threading.Thread(target=self._warm, name="jetbridge-flink", daemon=True).start()

    def attaches(self, record: JobRecord) -> bool:
        """Whether a job runs on in the remote cluster of this client."""
        return self._remote is not None and record.remote_cluster == self._remote.rest_url

    def start(self, record: JobRecord, payload: bytes) -> FlinkExecution:
        """Start a job; on a remote cluster, when that is there and fits."""
        if self._remote is not None:
            self._remote.check()
        if record.remote_cluster is not None:
            plan_of(payload)  # what cannot be loaded here is left alone
        return FlinkExecution(
            record,
            payload,
            db=self._db,
            cluster=self._leased,
            parallelism=self._settings.parallelism or (cores() if self._remote is None else KEY_GROUPS),
            shards=self._settings.shards,
            lasting=self._remote is not None,
        )

    def close(self) -> None:
        """Give the cluster back; one of its own ends with the last of its clients."""
        if self._remote is not None:
            url = self._remote.rest_url
            self._remote.close(leave=any(record.remote_cluster == url for record in Registry(self._db).active()))
        with self._lock:
            if self._cluster is not None:
                self._cluster.close()
                self._cluster = None

    def _leased(self) -> FlinkCluster:
        if self._remote is not None:
            return self._remote
        from jetbridge_flink.cluster import Cluster

        with self._lock:
            if self._cluster is None:
                slots = SLOTS_PER_CORE * max(cores(), self._settings.parallelism or 1)
                self._cluster = Cluster.lease(self._db.home, slots=slots)
            return self._cluster

    def _warm(self) -> None:
        try:
            if self._remote is not None:
                self._remote.warm()
            else:
                self._leased()
        except Exception:
            return  # the first job finds out again, and says so
