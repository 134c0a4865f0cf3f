"""The processes of an embedded cluster: what they are started with, and when they are ready."""

from __future__ import annotations

import http.client
import json
import os
import sys
from pathlib import Path
from typing import Any

from jetbridge.errors import ClusterError
from jetbridge.processes import LOOPBACK, free_ports
from jetbridge_flink import archive
from jetbridge_flink.children import Child
from jetbridge_flink.cluster_config import java_command, java_environment, write_config
from jetbridge_flink.layout import Layout
from jetbridge_flink.memory import Memory

JAVA = ("jobmanager", "taskmanager")
POOL = "worker_pool"

_NO_MEMORY = ("OutOfMemoryError", "insufficient memory", "Could not reserve", "Cannot allocate memory")
_PORT_TAKEN = ("Address already in use", "BindException", "Could not bind")
_RUN_POOL = (
    "import sys; sys.path[:] = {path!r}; from jetbridge_flink.worker_pool import main; sys.exit(main(sys.argv[1:]))"
)


class StartFailedError(Exception):
    """The processes did not start, for a reason that another attempt may not meet."""


class Processes:
    """JobManager, TaskManager and worker pool of a data folder's cluster.

    Args:
        spec: What the client that asked for the cluster wants of it.

    Attributes:
        children: The processes by name.
        rest: The port of Flink's REST service.
        pool: The port of the worker pool; 0 until it is known.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self._layout = Layout(Path(spec["home"]))
        self._java = Path(spec["java"])
        self._classpath = [Path(path) for path in spec["classpath"]]
        self._slots: int = spec["slots"]
        self._sizes = Memory(**spec["memory"])
        self._archive = archive.place(self._java, self._classpath)
        self.children: dict[str, Child] = {}
        self.rest = self.pool = 0
        self._said = b""

    def start(self) -> None:
        """Start all, on ports that are free now.

        Raises:
            ClusterError: When the system refuses.
        """
        rpc, self.rest = free_ports(2)
        self.pool, self._said = 0, b""
        write_config(self._layout, rpc=rpc, rest=self.rest, slots=self._slots, sizes=self._sizes)
        environment = java_environment(self._layout)
        for name in JAVA:
            extra = archive.options(self._archive, self._class_list(name))
            command = java_command(name, self._layout, self._java, self._classpath, self._sizes, extra)
            self.children[name] = Child(name, command, self._layout.logs, environment)
        self.children[POOL] = Child(POOL, self._pool_command(), self._layout.logs, os.environ, speaks=True)
        for child in self.children.values():
            try:
                child.start()
            except OSError as error:
                raise ClusterError(f"the system does not let Flink's {child.name} be started: {error}") from error

    def ready(self) -> bool:
        """Whether jobs can be run."""
        return bool(self.pool) and _slots_at(self.rest) >= self._slots

    def hear(self, data: bytes) -> None:
        """Take what the worker pool has printed: its port. It keeps that when it is started again."""
        self._said += data
        if not self.pool and b"\n" in self._said:
            self.pool = int(json.loads(self._said.partition(b"\n")[0])["port"])
            self.children[POOL].command = self._pool_command()

    def why_not(self, child: Child, fate: str, *, last: bool) -> Exception:
        """What it means that a process has ended before all were ready.

        Args:
            child: The process.
            fate: How it ended.
            last: Whether there will be no other attempt.

        Returns:
            A `StartFailedError` when another attempt is worth while, else a `ClusterError`.
        """
        said = child.said()
        taken = any(sign in said for sign in _PORT_TAKEN)
        if not last and taken:
            return StartFailedError("a port was taken by another process meanwhile")
        if not last and child.name in JAVA and "signal" in fate and self._archive and self._archive.exists():
            self._archive.unlink(missing_ok=True)
            return StartFailedError(f"{child.name} {fate}; it is tried without the archive of classes")
        if out_of_memory(said):
            fate += ": there is not enough memory for it"
        elif taken:
            fate += ": no port could be had"
        return ClusterError(
            f"Flink could not be started, its {child.name} {fate}. The last that it said (more in "
            f"{self._layout.logs}):\n{said or '(nothing)'}"
        )

    def kill(self) -> None:
        """End all. Flink's processes are killed: what counts is in checkpoints, and they would take their time."""
        for name, child in self.children.items():
            if name in JAVA or not self.pool:  # a worker pool that has not begun has no workers to end
                child.kill()
        for child in reversed(self.children.values()):
            child.end(timeout=3)

    def build_archive(self) -> None:
        """After the end: have the archive of Java's classes made, if it is not there yet."""
        archive.build_later(self._archive, self._java, self._classpath, [self._class_list(name) for name in JAVA])

    def _pool_command(self) -> list[str]:
        return pool_command(self.pool, self._layout.logs)

    def _class_list(self, name: str) -> Path:
        return self._layout.folder / f"{name}.classes"


def pool_command(port: int, logs: Path) -> list[str]:
    """The command of a worker pool that can import what this process can.

    Args:
        port: Its port; 0 for a free one.
        logs: The folder of its workers' logs.
    """
    return [sys.executable, "-c", _RUN_POOL.format(path=sys.path), "--port", str(port), "--logs", str(logs)]


def out_of_memory(said: str) -> bool:
    """Whether a process has said that it had not enough memory."""
    return any(sign in said for sign in _NO_MEMORY)


def _slots_at(port: int) -> int:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=1)
    try:
        connection.request("GET", "/overview")
        return int(json.loads(connection.getresponse().read()).get("slots-total", 0))
    except (OSError, http.client.HTTPException, ValueError):
        return 0
    finally:
        connection.close()
