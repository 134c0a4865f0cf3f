"""The fork server that all clients of this process share: importing Beam takes a second, and memory."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading

from jetbridge_direct.server import WORKER_MODULE, ForkServer

_LINGER = 2.0  # seconds that a fork server which nobody uses is kept for the next client of this process
_AHEAD = 15.0  # the same for one that was started before its first client was there


class SharedServer:
    """A fork server that is started when it is wanted, again if it has died, and ended when nobody uses it.

    Args:
        worker_module: The module that its workers run.
    """

    def __init__(self, worker_module: str) -> None:
        self._worker_module = worker_module
        self._lock = threading.Lock()
        self._server: ForkServer | None = None
        self._users = 0
        self._timer: threading.Timer | None = None

    def prepare(self) -> None:
        """Start it for a client that is about to come."""
        with self._lock:
            self._running()
            if not self._users:
                self._close_later(_AHEAD)

    def forget(self) -> None:
        """End it if nobody uses it: the client for which it was prepared does not come."""
        with self._lock:
            if not self._users:
                self._cancel_timer()
        self._close_unused()

    def enter(self) -> None:
        """Say that a client uses it."""
        with self._lock:
            self._users += 1
            self._cancel_timer()

    def leave(self) -> None:
        """Say that a client does not use it any more."""
        with self._lock:
            self._users -= 1
            if not self._users:
                self._close_later(_LINGER)

    def get(self) -> ForkServer:
        """The running server; its imports go on in the background.

        Raises:
            WorkerError: When it cannot be started.
        """
        with self._lock:
            return self._running()

    def close(self) -> None:
        """End it at once."""
        with self._lock:
            self._cancel_timer()
            server, self._server = self._server, None
        if server is not None:
            server.close()

    def _running(self) -> ForkServer:
        if self._server is None or not self._server.alive:
            self._server = ForkServer(self._worker_module)
        return self._server

    def _close_later(self, seconds: float) -> None:
        self._cancel_timer()
        self._timer = threading.Timer(seconds, self._close_unused)
        self._timer.daemon = True
        with contextlib.suppress(RuntimeError):  # the interpreter ends and starts no threads: `_close_all` comes soon
            self._timer.start()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close_unused(self) -> None:
        with self._lock:
            if self._users or self._server is None:
                return
            server, self._server = self._server, None
        server.close()


_servers: dict[str, SharedServer] = {}


def shared(worker_module: str = WORKER_MODULE) -> SharedServer:
    """This process's shared server for a worker module."""
    return _servers.setdefault(worker_module, SharedServer(worker_module))


def _close_all() -> None:
    for server in _servers.values():
        server.close()


atexit.register(_close_all)  # runs after the hook of the clients, which is registered later
os.register_at_fork(after_in_child=_servers.clear)  # a process that the user forks has no part in it
