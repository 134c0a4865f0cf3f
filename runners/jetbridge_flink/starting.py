"""How a client gets at the embedded cluster of its data folder: it joins the running one, or starts it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil

import jetbridge
from jetbridge.errors import ClusterError
from jetbridge.jobs.ownership import is_alive
from jetbridge_flink import jars
from jetbridge_flink.changes import changed_jar
from jetbridge_flink.cluster_config import flink_java, flink_libraries
from jetbridge_flink.keeper import START_SECONDS
from jetbridge_flink.locks import FileLock
from jetbridge_flink.memory import machine_memory, sized

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetbridge_flink.layout import Layout

_POLL = 0.02  # seconds between looks at what the keeper says
_LOOK = 0.1  # and at whether it lives
_ENDING = 30.0  # seconds that a cluster may take to end
_IN_USE = 1.0  # seconds after which a lock that is taken is not the keeper's, who only looks at it
_KEEPER = "import sys; sys.path[:] = {path!r}; from jetbridge_flink.keeper import main; main()"


class Starter:
    """A client that wants a cluster.

    Args:
        layout: Where it is to be.
        slots: How many slots it must have.
        java_home: The Java to start it with.
        grace: How many seconds it stays after its last client.
        progress: Is told what takes long.
    """

    def __init__(
        self, layout: Layout, slots: int, java_home: str | None, grace: float, progress: Callable[[str], None]
    ) -> None:
        self._layout = layout
        self._slots = slots
        self._java_home = java_home
        self._grace = grace
        self._progress = progress
        self._mine = False  # whether the keeper was started here

    def get(self) -> tuple[FileLock, dict[str, Any]]:
        """The lock that is the lease, and what the keeper says about the cluster.

        Raises:
            ClusterError: When there is no cluster, and why.
        """
        while True:
            lease = self._enter()
            try:
                status = self._running()
            except BaseException:
                lease.close()
                raise
            unfit = self._unfit(status)
            if unfit is None:
                return lease, status
            lease.close()
            self._end_unused(status["keeper"], unfit)
            self._mine = False

    def _enter(self) -> FileLock:
        """Say that here is a client. A cluster that is just ending lets nobody in."""
        lease = FileLock(self._layout.leases)
        deadline = time.monotonic() + _ENDING
        while not lease.take(shared=True):
            if time.monotonic() > deadline:
                lease.close()
                raise ClusterError(
                    f"the Flink cluster of {self._layout.home} has been ending for {_ENDING:g} s; "
                    f"see {self._layout.logs / 'keeper.log'}"
                )
            time.sleep(_POLL)
        return lease

    def _running(self) -> dict[str, Any]:
        """What the keeper of the running cluster says; it is started if need be."""
        deadline = time.monotonic() + 3 * START_SECONDS  # its jars may have to be downloaded first
        look = 0.0
        while True:
            status = self._layout.read_status()
            if status is not None and status["state"] == "ready" and is_alive(status["keeper"]):
                return status
            if status is not None and status["state"] == "failed" and self._mine:
                raise ClusterError(status["error"])
            now = time.monotonic()
            if now >= look:
                look = now + _LOOK
                lock = FileLock(self._layout.keeper_lock)
                try:
                    if lock.take():
                        self._start(lock)
                finally:
                    lock.close()  # a keeper that was started has its own copy
            if now > deadline:
                raise ClusterError(f"another process has been starting Flink in {self._layout.home} for too long")
            time.sleep(_POLL)

    def _start(self, lock: FileLock) -> None:
        """Start a keeper, which takes over the lock that shows that it lives."""
        status = self._layout.read_status()
        if self._mine:
            if status is not None and status["state"] == "failed":
                raise ClusterError(status["error"])
            raise ClusterError(f"the keeper of the Flink cluster died: {self._last_words()}")
        if status is not None:
            _end_leftovers(status)
        self._layout.status.unlink(missing_ok=True)
        shutil.rmtree(self._layout.scratch, ignore_errors=True)
        self._layout.make()
        beam = jars.fetch(self._progress)
        spec: dict[str, Any] = {
            "home": str(self._layout.home),
            "java": str(flink_java(self._java_home)),
            "memory": vars(sized(self._slots, machine_memory())),
            "classpath": [str(path) for path in (changed_jar(beam), *flink_libraries(), *beam)],
            "slots": self._slots,
            "grace": self._grace,
            "known_by": _known_by(),
            "lock": lock.descriptor,
        }
        self._progress("starting Flink")
        path = [os.path.abspath(entry) for entry in sys.path]  # what the client can import, the workers can
        with (self._layout.logs / "keeper.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", _KEEPER.format(path=path), f"keeper of {self._layout.home}"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._layout.folder,
                pass_fds=[spec["lock"]],
                start_new_session=True,  # the terminal's Ctrl-C does not reach it
            )
            with contextlib.suppress(BrokenPipeError):  # it could not even begin, and its log says why
                process.communicate(json.dumps(spec).encode())
        self._mine = True

    def _unfit(self, status: dict[str, Any]) -> str | None:
        """Why a running cluster is not what is wanted."""
        if status["slots"] < self._slots:
            return f"it has {status['slots']} slots, while {self._slots} are needed"
        theirs = status["known_by"]
        if theirs != _known_by():
            return f"it belongs to another Python environment ({theirs['prefix']}, jetbridge {theirs['jetbridge']})"
        return None

    def _end_unused(self, keeper: dict[str, Any], unfit: str) -> None:
        """End a cluster that does not fit, if it only waits for its next client."""
        lock = FileLock(self._layout.leases)
        deadline = time.monotonic() + _IN_USE
        try:
            while is_alive(keeper):
                if lock.take():  # now nobody else can come
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(keeper["pid"], signal.SIGTERM)
                    deadline = time.monotonic() + _ENDING
                if time.monotonic() > deadline:
                    raise ClusterError(
                        f"other processes use the Flink cluster of {self._layout.home}, and {unfit}; "
                        "end them first, or choose another data folder"
                    )
                time.sleep(_POLL)
        finally:
            lock.close()

    def _last_words(self) -> str:
        try:
            said = (self._layout.logs / "keeper.log").read_text(errors="replace").strip()
        except OSError:
            said = ""
        return "\n".join(said.splitlines()[-15:]) or "it left no word"


def _known_by() -> dict[str, str]:
    """What the clients of one cluster must have in common."""
    return {"prefix": sys.prefix, "python": sys.version, "jetbridge": jetbridge.__version__}


def _end_leftovers(status: dict[str, Any]) -> None:
    """End what a keeper that was killed has left behind, on systems that do not do so themselves."""
    processes = []
    for child in status["children"].values():
        if is_alive(child):
            with contextlib.suppress(psutil.Error):
                processes.append(psutil.Process(child["pid"]))
                processes[-1].kill()
    psutil.wait_procs(processes, timeout=10)
