"""Connections by thread, kept out of forked children.

SQLite's locks belong to a process, but its notes about them are copied by a
fork. When the parent has the file open at that moment, a connection that the
child opens later believes in locks that nobody holds, and its commits are lost
as soon as the parent closes: seen, not feared. So the forking thread's idle
connections are closed before the fork and opened again when needed. When other
threads have some, the child is told so in place of losing data.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

from jetbridge.errors import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

_all: weakref.WeakSet[Connections] = weakref.WeakSet()
_all_lock = threading.Lock()
_unsafe: set[str] = set()  # files that this forked process must not open


class Connections:
    """The open connections to one database file, by thread and role."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._open: dict[tuple[int, str], sqlite3.Connection] = {}
        self._lock = threading.Lock()
        self._closed = False
        with _all_lock:
            _all.add(self)

    def find(self, role: str) -> sqlite3.Connection | None:
        """This thread's open connection."""
        return self._open.get((threading.get_ident(), role))

    def add(self, role: str, connect: Callable[[], sqlite3.Connection]) -> sqlite3.Connection:
        """Open a connection for this thread, and close those of threads that have ended.

        Raises:
            StoreError: After `close`, or in a child that was forked at the wrong moment.
        """
        if self._closed:
            raise StoreError("the data folder was closed, for instance by client.shutdown(); connect again")
        if self._path in _unsafe:
            raise StoreError(
                f"{self._path} cannot be used in this process: another thread of its parent had it open when it was "
                "forked; use multiprocessing's 'spawn' start method, or call client.shutdown() before the fork"
            )
        threading.current_thread()  # a thread that Python did not start is listed as living from here on
        connection = connect()
        with self._lock:
            living = {thread.ident for thread in threading.enumerate()}
            for place in [place for place in self._open if place[0] not in living]:
                self._open.pop(place).close()
            self._open[threading.get_ident(), role] = connection
        return connection

    def close(self) -> None:
        """Close all of them, for good."""
        with self._lock:
            self._closed = True
            while self._open:
                self._open.popitem()[1].close()

    def __del__(self) -> None:
        for connection in self._open.values():
            connection.close()

    def before_fork(self) -> None:
        """Close what this thread does not use just now."""
        me = threading.get_ident()
        self._lock.acquire()
        for place in [place for place in self._open if place[0] == me]:
            if not self._open[place].in_transaction:
                self._open.pop(place).close()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Forget the other threads' connections without closing them, which belongs to the parent."""
        self._lock = threading.Lock()
        if self._open:
            import ctypes

            _unsafe.add(self._path)
            for connection in self._open.values():
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
            self._open.clear()


def _before() -> None:
    _all_lock.acquire()
    _forking[:] = list(_all)
    for connections in _forking:
        connections.before_fork()


def _after_in_parent() -> None:
    for connections in _forking:
        connections.after_fork_in_parent()
    _forking.clear()
    _all_lock.release()


def _after_in_child() -> None:
    global _all_lock
    _all_lock = threading.Lock()
    for connections in _forking:
        connections.after_fork_in_child()
    _forking.clear()


_forking: list[Connections] = []
os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
