"""Status listeners: functions of the user's that hear of each change of a job's status, whoever made it."""

from __future__ import annotations

import logging
import secrets
import threading
from typing import TYPE_CHECKING, NamedTuple

from jetbridge.errors import StoreError
from jetbridge.job import JobStatus, JobStatusEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetbridge.store.records import JobRecord
    from jetbridge.store.registry import Registry

_LOGGER = logging.getLogger("jetbridge")
_POLL = 0.05  # seconds between looks at the registry
_LAST = 10.0  # seconds that the end of a client waits for listeners at work


class Listening(NamedTuple):
    """A listener, and what it has heard."""

    job: str
    call: Callable[[JobStatusEvent], object]
    changes: int
    status: str


class Listeners:
    """A client's status listeners. All are called from one thread, in the order of the changes.

    Args:
        registry: The registry, in which other processes change statuses as well.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._listeners: dict[str, Listening] = {}
        self._ended: set[str] = set()  # jobs of whose end a listener has heard
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def add(self, record: JobRecord, call: Callable[[JobStatusEvent], object]) -> str:
        """Have a function called at each change after a record; returns the listener's id."""
        listener_id = secrets.token_hex(8)
        with self._lock:
            self._listeners[listener_id] = Listening(record.id, call, record.changes, record.status)
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, name="jetbridge-listeners", daemon=True)
                self._thread.start()
        return listener_id

    def remove(self, job_id: str, listener_id: str) -> bool:
        """Call a function no more; False when there is no such listener of the job."""
        with self._lock:
            found = self._listeners.get(listener_id)
            if found is None or found.job != job_id:
                return False
            del self._listeners[listener_id]
            return True

    def hear(self, job_id: str) -> bool:
        """Whether a listener has heard of a job's end, or will."""
        with self._lock:
            return job_id in self._ended or any(each.job == job_id for each in self._listeners.values())

    def close(self) -> None:
        """End, when the listeners have heard of all that has happened."""
        self._closed.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_LAST)

    def _listen(self) -> None:
        closing = False
        while not closing:
            closing = self._closed.wait(_POLL)
            try:
                self._look()
            except StoreError as error:
                if not closing:
                    _LOGGER.warning("the status listeners cannot look at their jobs: %s", error)
                    self._closed.wait(20 * _POLL)

    def _look(self) -> None:
        with self._lock:
            jobs = {each.job for each in self._listeners.values()}
        statuses = self._registry.statuses(jobs) if jobs else {}
        for job_id in statuses:
            record = self._registry.get(job_id)
            if record is not None:
                self._tell(record)

    def _tell(self, record: JobRecord) -> None:
        with self._lock:
            waiting = [(key, each) for key, each in self._listeners.items() if each.job == record.id]
        for key, listening in waiting:
            # More changes than a record remembers can only be missed by who was held up for long.
            missed = (
                record.history[-(record.changes - listening.changes) :] if record.changes > listening.changes else []
            )
            for status, asked in missed:
                event = JobStatusEvent(JobStatus(listening.status), JobStatus(status), asked)
                listening = listening._replace(status=status)
                with self._lock:
                    if key not in self._listeners:  # it was removed meanwhile, perhaps by itself
                        break
                    if event.new_status.is_terminal():
                        self._ended.add(record.id)
                try:
                    listening.call(event)
                except Exception:
                    _LOGGER.exception(
                        "a status listener of job %s failed on %s -> %s; the job is not harmed",
                        record.id,
                        event.previous_status,
                        event.new_status,
                    )
            with self._lock:
                if key in self._listeners:
                    if record.is_active:
                        self._listeners[key] = listening._replace(changes=record.changes)
                    else:
                        del self._listeners[key]
