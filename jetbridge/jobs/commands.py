"""Calls on jobs that belong to another client, here or in another process: asking for them, and serving them."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from jetbridge import errors
from jetbridge.errors import JetbridgeError, JobError, StoreError
from jetbridge.jobs import ownership
from jetbridge.store import commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetbridge.jobs.session import Session
    from jetbridge.store.records import JobRecord

_LOGGER = logging.getLogger("jetbridge")
_POLL = 0.05  # seconds between looks at the store for commands, and for jobs that others have cancelled
_LOOK = 0.02  # seconds between looks for the answer
_HEARING = 10.0  # seconds in which a living owner takes a command
_ANSWERING = {"export_snapshot": 3600.0, "cancel_and_export_snapshot": 3600.0}
_OTHERWISE = 120.0  # seconds in which it answers one that it has taken


def ask(session: Session, record: JobRecord, kind: str, arguments: dict[str, Any]) -> bool:
    """Let a job's owner carry out a call, and wait for its answer.

    Returns:
        False when nobody has carried it out, because the owner died or the job has
        no owner any more: look at the job again.

    Raises:
        JetbridgeError: The call's own error, or a JobError when the owner lives and does not answer, or when the job
            runs on in a cluster of which nobody here is a client.
    """
    owner = record.owner
    if owner is None:
        if record.is_unattended:
            raise JobError(
                f"{kind}: {session.describe(record)} runs on in the cluster {record.remote_cluster}, and no client of "
                "that cluster is here: connect to it (connect(runner=..., flink_url=...), or JETBRIDGE_FLINK_URL), and "
                "call this again"
            )
        return False
    number = commands.post(session.db, record.id, kind, arguments)
    taken, deadline = False, time.monotonic() + _HEARING
    try:
        while True:
            state, result = commands.look(session.db, number)
            if state == commands.DONE:
                _raise(result or {})
                return True
            if state == commands.TAKEN and not taken:
                taken, deadline = True, time.monotonic() + _ANSWERING.get(kind, _OTHERWISE)
            if not ownership.is_alive(owner):
                # What it answered with its last breath counts.
                state, result = commands.look(session.db, number)
                if state == commands.DONE:
                    continue
                return False
            left = _client(session.registry.get(record.id)) != owner.get("client")
            late = time.monotonic() > deadline
            if not taken and (left or late) and commands.withdraw(session.db, number):
                if left:
                    return False
                raise JobError(
                    f"{kind}: {session.describe(record)} belongs to process {owner['pid']}, which lives and does not "
                    f"answer within {_HEARING:g} s: it may be stopped; end it, and call this again"
                )
            if taken and late:
                raise JobError(
                    f"{kind}: process {owner['pid']}, to which {session.describe(record)} belongs, has begun with it "
                    "and does not come to an end; look at the job's status"
                )
            time.sleep(_LOOK)
    finally:
        with contextlib.suppress(StoreError):
            commands.remove(session.db, number)


def _client(record: JobRecord | None) -> str | None:
    return None if record is None or record.owner is None else record.owner.get("client")


def _raise(result: dict[str, Any]) -> None:
    error = result.get("error")
    if error is not None:
        kind = getattr(errors, error["type"], JobError)
        raise kind(error["message"])


class Attendant:
    """A thread of a client that serves calls on its jobs, and stops those that another process has cancelled.

    Args:
        session: The client's session.
        carry_out: Carries out a call: its kind, the job's id, and its arguments.
    """

    def __init__(self, session: Session, carry_out: Callable[[str, str, dict[str, Any]], None]) -> None:
        self._session = session
        self._carry_out = carry_out
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._calls: list[threading.Thread] = []

    def start(self) -> None:
        """Begin, if it has not begun."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._attend, name="jetbridge-attendant", daemon=True)
            self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a call is being carried out."""
        return any(thread.is_alive() for thread in self._calls)

    def close(self) -> None:
        """End, when the calls that are being carried out have been answered."""
        self._closed.set()
        for thread in (self._thread, *self._calls):
            if thread is not None and thread is not threading.current_thread():
                thread.join(_HEARING)

    def _attend(self) -> None:
        while not self._closed.wait(_POLL):
            try:
                self._look()
            except Exception:
                if self._closed.is_set():
                    return
                _LOGGER.exception("calls of other processes cannot be looked for; this goes on trying")
                self._closed.wait(20 * _POLL)

    def _look(self) -> None:
        session = self._session
        running = {execution.job_id: execution for execution in session.jobs.running}
        for job_id, status in session.registry.statuses(running).items():
            if status == "FAILED":
                record = session.registry.get(job_id)
                if record is not None and record.user_cancelled:
                    running[job_id].kill()
        self._calls = [thread for thread in self._calls if thread.is_alive()]
        for command in commands.waiting(session.db):
            if command.job in running and commands.take(session.db, command.number):
                thread = threading.Thread(target=self._serve, args=[command], name="jetbridge-call", daemon=True)
                try:
                    thread.start()
                    self._calls.append(thread)
                except RuntimeError:  # the interpreter is ending, and waits for its jobs: it starts no threads
                    self._serve(command)

    def _serve(self, command: commands.Command) -> None:
        error = None
        try:
            self._carry_out(command.kind, command.job, command.arguments)
        except JetbridgeError as problem:
            error = {"type": type(problem).__name__, "message": str(problem)}
        except Exception as problem:
            _LOGGER.exception("%s of job %s, for another process", command.kind, command.job)
            error = {"type": "JobError", "message": f"{command.kind}: {type(problem).__name__}: {problem}"}
        with contextlib.suppress(StoreError):
            commands.answer(self._session.db, command.number, {"error": error})
