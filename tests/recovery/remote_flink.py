"""A Flink cluster that a test starts itself, apart from jetbridge: a JobManager and some TaskManagers on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import psutil

from jetbridge_flink import archive, jars
from jetbridge_flink.changes import changed_jar
from jetbridge_flink.children import Child
from jetbridge_flink.cluster_config import (
    flink_java,
    flink_libraries,
    java_command,
    java_environment,
    write_config,
)
from jetbridge_flink.layout import Layout
from jetbridge_flink.memory import Memory

if TYPE_CHECKING:
    from pathlib import Path

SLOTS = 2
"""Of each TaskManager."""
_LEFT_OUT = ("state.", "restart-strategy", "execution.")  # what jobs of jetbridge must bring with them


class RemoteFlink:
    """The cluster.

    Args:
        folder: Where its files are.
        beam: Whether it has Beam's runner in its class path.
        taskmanagers: How many TaskManagers it has.

    Attributes:
        url: The address of its REST service.
        processes: Its processes by name.
    """

    def __init__(self, folder: Path, *, beam: bool = False, taskmanagers: int = 2) -> None:
        layout = Layout(folder)
        layout.make()
        rpc, rest = _free_ports(2)
        sizes = Memory(jobmanager_heap=320, taskmanager_heap=448, network=96, managed=64)
        write_config(layout, rpc=rpc, rest=rest, slots=SLOTS, sizes=sizes)
        config = layout.conf / "config.yaml"
        lines = config.read_text().splitlines(keepends=True)
        config.write_text("".join(line for line in lines if not line.startswith(_LEFT_OUT)))
        runner = jars.fetch() if beam else []
        classpath = [*([changed_jar(runner)] if beam else ()), *flink_libraries(), *runner]
        made = archive.place(flink_java(), classpath)
        quick = archive.options(made, folder / "classes") if made is not None and made.exists() else []
        self.url = f"http://127.0.0.1:{rest}"
        self.processes: dict[str, Child] = {}
        for name in ("jobmanager", *(f"taskmanager-{number}" for number in range(taskmanagers))):
            kind = name.partition("-")[0]
            command = java_command(kind, layout, flink_java(), classpath, sizes, quick)
            if kind == "taskmanager":
                command += ["-D", f"taskmanager.resource-id={name}"]
            logs = layout.logs / name
            logs.mkdir()
            self.processes[name] = Child(name, command, logs, java_environment(layout))
        self._taskmanagers = taskmanagers

    def start(self) -> None:
        for child in self.processes.values():
            if child.process is None:
                child.start()
        deadline = time.monotonic() + 60
        while self._get("/overview").get("slots-total") != self._taskmanagers * SLOTS:
            for child in self.processes.values():
                fate = child.buried()
                assert fate is None, f"{child.name} {fate}: {child.said()}"
            assert time.monotonic() < deadline, [child.said() for child in self.processes.values()]
            time.sleep(0.05)

    def kill(self, name: str) -> None:
        """SIGKILL one of its processes; `start` starts it again."""
        child = self.processes[name]
        assert child.process is not None
        child.kill()
        child.process.wait()
        assert child.buried()

    def hosts(self) -> set[str]:
        """The names of the TaskManagers that run parts of jobs."""
        found = set()
        for job in self._get("/jobs")["jobs"]:
            if job["status"] == "RUNNING":
                for vertex in self._get(f"/jobs/{job['id']}")["vertices"]:
                    about = self._get(f"/jobs/{job['id']}/vertices/{vertex['id']}")
                    found |= {each["taskmanager-id"] for each in about["subtasks"]}
        return found

    def listeners(self) -> set[str]:
        """The addresses at which its processes listen."""
        found = set()
        for child in self.processes.values():
            assert child.identity is not None
            for each in psutil.Process(int(str(child.identity["pid"]))).net_connections(kind="inet"):
                if each.status == psutil.CONN_LISTEN:
                    found.add(each.laddr.ip.removeprefix("::ffff:"))
        return found

    def jobs(self) -> list[str]:
        """The ids of the jobs that run."""
        return [job["id"] for job in self._get("/jobs")["jobs"] if job["status"] == "RUNNING"]

    def end(self) -> None:
        for child in self.processes.values():
            child.kill()
        for child in self.processes.values():
            child.end(timeout=5)

    def _get(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as response:
                return json.load(response)
        except (OSError, ValueError):
            return {}


def _free_ports(count: int) -> list[int]:
    found: list[int] = []
    for port in random.Random(os.getpid()).sample(range(20000, 32000), 500):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            break
    return found
