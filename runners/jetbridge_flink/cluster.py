"""The embedded cluster of a data folder, as its clients see it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetbridge.jobs.ownership import is_alive
from jetbridge.processes import cores
from jetbridge_flink import jars
from jetbridge_flink.clusters import Workers
from jetbridge_flink.layout import Layout
from jetbridge_flink.starting import Starter

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

    from jetbridge_flink.locks import FileLock
    from jetbridge_flink.rest import FlinkRest

GRACE = 5.0
"""How many seconds a cluster stays for the next client."""


class Cluster:
    """A lease on the embedded Flink cluster of a data folder; `lease` gives one.

    The first who asks for the cluster starts it; all clients of the data folder
    share it; it ends a few seconds after the last of them has given its lease back
    or has died. Its processes are started again when they die, at the same
    addresses. A JobManager that died has forgotten its jobs, and the TaskManager
    is then started anew as well; checkpoints stay.

    Attributes:
        rest_url: The address of Flink's REST service.
        worker_pool: The worker pool, as host:port.
        slots: How many slots the cluster has: what all its jobs together may use.
        checkpoints: The folder of checkpoints.
        savepoints: The folder of savepoints.
        workers: Where its workers come from: the worker pool.
        configuration: Empty: the cluster has all options itself.
        logs: The folder of its logs.
    """

    def __init__(self, layout: Layout, lock: FileLock, status: dict[str, Any]) -> None:
        self._layout = layout
        self._lock = lock
        self._keeper = status["keeper"]
        self.rest_url: str = status["rest_url"]
        self.worker_pool: str = status["worker_pool"]
        self.slots: int = status["slots"]
        self.checkpoints = layout.checkpoints
        self.savepoints = layout.savepoints
        self.workers = Workers(pool=self.worker_pool)
        self.configuration: dict[str, str] = {}
        self.logs = layout.logs

    @classmethod
    def lease(
        cls,
        home: Path,
        *,
        slots: int | None = None,
        java_home: str | None = None,
        grace: float = GRACE,
        progress: Callable[[str], None] | None = None,
    ) -> Self:
        """Get the cluster of a data folder, which is started if need be.

        Args:
            home: The data folder.
            slots: How many slots it must have; by default as many as this process
                may use processors. It may have more.
            java_home: The Java to start it with; see `jetbridge.java.java`.
            grace: If it is started now: how many seconds it stays after its last client.
            progress: Is told, a line at a time, what takes long.

        Returns:
            The lease, as soon as the cluster takes jobs. It can be used in a ``with`` statement.

        Raises:
            ClusterError: When the cluster cannot be started, or does not fit while
                others use it; the message says why and what to do.
        """
        layout = Layout(Path(os.path.abspath(home)))
        layout.make()
        starter = Starter(layout, slots or cores(), java_home, grace, progress or (lambda text: None))
        lock, status = starter.get()
        return cls(layout, lock, status)

    @property
    def address(self) -> None:
        """Jobs of this cluster end with their client."""

    def stand_by(self, pool: str) -> None:
        """Clients of this cluster leave no pools: it has one of its own."""

    @property
    def pids(self) -> dict[str, int]:
        """The ids of its processes that run now: keeper, jobmanager, taskmanager and worker_pool."""
        return {"keeper": self._keeper["pid"]} | {
            name: child["pid"] for name, child in self._status().get("children", {}).items()
        }

    @property
    def deaths(self) -> list[dict[str, Any]]:
        """The latest deaths of its processes, oldest first: ``time``, ``name``, and ``fate`` in words."""
        return list(self._status().get("deaths", []))

    def is_alive(self) -> bool:
        """Whether its keeper lives. Nothing of a cluster outlives its keeper; `lease` then gives a new one."""
        return is_alive(self._keeper)

    def rest(self) -> FlinkRest:
        """A new client of its REST service."""
        from jetbridge_flink.rest import FlinkRest

        return FlinkRest(self.rest_url)

    def job_jar(self, proto_json: bytes, options_json: bytes) -> bytes:
        """The jar of a job for this cluster; see `jetbridge_flink.jars.job_jar`."""
        return jars.job_jar(proto_json, options_json)

    def close(self) -> None:
        """Give the lease back. A second call does nothing."""
        self._lock.close()

    def _status(self) -> dict[str, Any]:
        status = self._layout.read_status()
        return status if status is not None and status["keeper"] == self._keeper else {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
