"""A client's own worker pool, for a cluster that somebody else has started on the same machine."""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import shutil
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

from jetbridge.errors import ClusterError
from jetbridge.processes import LOOPBACK, fate
from jetbridge_flink.processes import pool_command

if TYPE_CHECKING:
    from pathlib import Path

_LOGGER = logging.getLogger("jetbridge")
_PAUSE = 0.5
_ENDING = 5.0
_LINGER = 60.0  # seconds that a pool without a client waits for workers: a TaskManager that died is back by then
_KEPT = 10  # folders of logs
_TOLD = 2000  # characters


class OwnPool:
    """A worker pool on loopback, which is started again at the same port when it dies.

    When this process ends it goes on as long as it has workers.

    Args:
        logs: The folder of its logs, in one of their own.
        port: The port of a pool that another client has left, whose place it takes if that one dies; 0 for a new one.
    """

    def __init__(self, logs: Path, port: int = 0) -> None:
        self._logs = logs / f"pool-{secrets.token_hex(4)}"
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._port = port
        self._closed = threading.Event()

    @property
    def address(self) -> str:
        """Where it listens, as host:port; it is started if need be.

        Raises:
            ClusterError: When it cannot be started.
        """
        with self._lock:
            if self._process is None and not self._closed.is_set():
                self._start()
                self.stand_by()
            return f"{LOOPBACK}:{self._port}"

    def stand_by(self) -> None:
        """Start one at the port whenever there is none: after a death, also of one that another client has left."""
        threading.Thread(target=self._watch, name="jetbridge-worker-pool", daemon=True).start()

    @property
    def pid(self) -> int | None:
        """Its process id, while it runs."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def close(self, *, leave: bool = False) -> None:
        """End it, with its workers; or leave it alone, for jobs that run on. A second call does nothing."""
        self._closed.set()
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        if leave:
            _let_go(process)
            threading.Thread(target=process.wait, name="jetbridge-worker-pool", daemon=True).start()
        else:
            process.terminate()
            _end(process)

    def _start(self) -> None:
        if not self._logs.exists():
            self._logs.mkdir(mode=0o700, parents=True)
            by_age = sorted(self._logs.parent.glob("pool-*"), key=lambda folder: folder.stat().st_mtime)
            for old in by_age[:-_KEPT]:
                shutil.rmtree(old, ignore_errors=True)
        log = self._logs / "own_pool.out"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*pool_command(self._port, self._logs), "--linger", str(_LINGER)],
                stdin=subprocess.PIPE,  # closes with this process, however that ends
                stdout=subprocess.PIPE,
                stderr=out,
                start_new_session=True,  # the terminal's Ctrl-C is for the client, which then suspends its jobs
            )
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            _end(process)
            said = log.read_text(errors="replace").strip()[-_TOLD:]
            raise ClusterError(f"the pool of Python workers could not be started: {said or fate(process.returncode)}")
        self._port = int(json.loads(line)["port"])
        self._process = process

    def _watch(self) -> None:
        while not self._closed.is_set():
            process = self._process
            if process is not None:
                process.wait()
            if self._closed.wait(_PAUSE):
                return
            with self._lock:
                if self._closed.is_set() or self._process is not process:
                    continue
                if process is None and _listens(self._port):
                    continue
                if process is not None:
                    _LOGGER.warning("the pool of Python workers %s; it is started again", fate(process.returncode))
                    _end(process)
                try:
                    self._start()
                except (ClusterError, OSError) as error:
                    _LOGGER.warning("%s", error)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection((LOOPBACK, port), _ENDING).close()
        return True
    return False


def _let_go(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    _let_go(process)
    try:
        process.wait(_ENDING)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
