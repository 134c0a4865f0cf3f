"""The keeper: a process that holds the embedded cluster of a data folder for all its clients.

It is started by the first client (`starting`), starts JobManager, TaskManager and
worker pool as its children, starts them again when they die, and ends with them
soon after the last client has gone. Nobody talks to it. What it has to say stands in
``flink/cluster.json``; that it lives, it shows by an exclusive lock; and a client
shows that it lives by a shared lock on another file. The kernel gives locks back
however a process ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

from jetbridge.errors import ClusterError
from jetbridge.jobs.ownership import started
from jetbridge.processes import LOOPBACK
from jetbridge_flink.layout import Layout
from jetbridge_flink.locks import FileLock
from jetbridge_flink.processes import POOL, Processes, StartFailedError, out_of_memory

START_SECONDS = 120.0
"""How long a cluster may take to start on a busy machine."""

_ATTEMPTS = 3
_TICK = 0.2  # seconds between looks at whether clients are there
_REMEMBERED = 20  # deaths


class Keeper:
    """The cluster's keeper.

    Args:
        spec: What the client that started it wants: home, java, classpath, slots,
            memory, grace, and what it wants the cluster to be known by.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._layout = Layout(Path(spec["home"]))
        self._leases = FileLock(self._layout.leases)
        self._processes = Processes(spec)
        self._deaths: list[dict[str, Any]] = []
        self._idle_since: float | None = None
        self._stop = False
        self._wake_read, self._wake_write = socket.socketpair()

    def run(self) -> None:
        """Keep the cluster until nobody needs it."""
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)  # without a handler nothing is written to the wake-up socket
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        try:
            if self._start():
                self._publish("ready")
                while not self._over():
                    self._wait(_TICK)
                    self._look_after()
        except ClusterError as error:
            self._publish("failed", error=str(error))
        finally:
            self._end()

    def _start(self) -> bool:
        """Start all; False when nobody needs it any more."""
        for attempt in range(1, _ATTEMPTS + 1):
            self._processes.start()
            self._publish("starting")
            try:
                return self._started(last=attempt == _ATTEMPTS)
            except StartFailedError as error:
                _note(f"another attempt to start: {error}")
                self._processes.kill()
        raise AssertionError("the last attempt returns or raises something else")

    def _started(self, *, last: bool) -> bool:
        deadline = time.monotonic() + START_SECONDS
        children = self._processes.children
        while not self._processes.ready():
            if self._over():
                return False
            self._wait(0.05)
            for child in children.values():
                fate = child.buried()
                if fate is not None:
                    raise self._processes.why_not(child, fate, last=last)
            if time.monotonic() > deadline:
                said = "\n".join(f"--- {name}:\n{child.said(8)}" for name, child in children.items())
                raise ClusterError(f"Flink was not ready within {START_SECONDS:g} s. Its processes said last:\n{said}")
        return True

    def _look_after(self) -> None:
        """Start what has died again, once its pause is over."""
        changed = False
        children = self._processes.children
        for name, child in children.items():
            fate = child.buried()
            if fate is not None:
                if out_of_memory(child.said()):
                    fate = "ran out of memory"
                _note(f"{name} {fate}")
                self._deaths = [*self._deaths[1 - _REMEMBERED :], {"time": time.time(), "name": name, "fate": fate}]
                changed = True
                if name == "jobmanager":
                    # The TaskManager would find the new one, but first go on for seconds with jobs that nobody knows.
                    children["taskmanager"].kill()
            due = child.due()
            if due is not None and due <= 0:
                try:
                    child.start()
                except OSError as error:
                    _note(f"{name} cannot be started again now: {error}")
                changed = True
        if changed:
            self._publish("ready")

    def _over(self) -> bool:
        """Whether nobody needs the cluster any more. It is then locked, so that nobody can come."""
        if self._stop:
            return True
        if not self._leases.take():
            self._idle_since = None
            return False
        now = time.monotonic()
        self._idle_since = self._idle_since or now
        if now - self._idle_since >= self._spec["grace"]:
            return True
        self._leases.give_back()
        return False

    def _wait(self, seconds: float) -> None:
        """Wait for a signal, a word of the worker pool, or the time to start something again."""
        children = self._processes.children
        due = [each for each in (child.due() for child in children.values()) if each is not None]
        speaking = children[POOL].output
        waited: list[Any] = [self._wake_read, *speaking]
        readable, _, _ = select.select(waited, [], [], max(0.0, min([seconds, *due])))
        if self._wake_read in readable:
            with contextlib.suppress(BlockingIOError):
                self._wake_read.recv(4096)
        for pipe in speaking:
            if pipe in readable:
                self._processes.hear(children[POOL].read())

    def _publish(self, state: str, **more: Any) -> None:
        children = self._processes.children
        self._layout.write_status(
            {
                "state": state,
                "keeper": {"pid": os.getpid(), "started": started(os.getpid())},
                "children": {name: child.identity for name, child in children.items() if child.identity},
                "rest_url": f"http://{LOOPBACK}:{self._processes.rest}",
                "worker_pool": f"{LOOPBACK}:{self._processes.pool}",
                "slots": self._spec["slots"],
                "known_by": self._spec["known_by"],
                "deaths": self._deaths,
                **more,
            }
        )

    def _on_signal(self, number: int, frame: Any) -> None:
        self._stop = self._stop or number != signal.SIGCHLD

    def _end(self) -> None:
        self._processes.kill()
        shutil.rmtree(self._layout.scratch, ignore_errors=True)
        self._processes.build_archive()
        status = self._layout.read_status()
        if status is not None and status["state"] != "failed":  # that is for the client to read
            self._layout.status.unlink(missing_ok=True)


def _note(text: str) -> None:
    print(time.strftime("%Y-%m-%d %H:%M:%S"), text, file=sys.stderr, flush=True)


def main() -> NoReturn:
    """Become the keeper; what it is to do comes as JSON through the standard input."""
    spec = json.load(sys.stdin)
    if os.fork():
        os._exit(0)  # the client has waited for this process, and need not bury the keeper
    code = 1
    try:
        os.set_inheritable(spec["lock"], False)
        # The client took it; it is held until the keeper ends.
        with contextlib.closing(FileLock(Layout(Path(spec["home"])).keeper_lock, spec["lock"])):
            Keeper(spec).run()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
