"""One start of a job in the cluster: how it is stopped, cancelled and made to give up what it holds."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING

from jetbridge.errors import ClusterError, ConnectionError, SnapshotError
from jetbridge_flink.input_end import InputEnd
from jetbridge_flink.standing import folder_of

if TYPE_CHECKING:
    from pathlib import Path

    from jetbridge_flink.rest import FlinkRest

_LOGGER = logging.getLogger("jetbridge")
_STOP_SECONDS = 30.0
_CANCEL_SECONDS = 10.0
_PAUSE = 0.03
_AGAIN = 0.2  # seconds until something is asked for again that the job would not do yet
NO_ANSWER = (ClusterError, ConnectionError)
"""What a cluster that is on its way back is met with."""


def await_cluster(rest: FlinkRest, seconds: float) -> None:
    """Wait until the cluster can take a job: a JobManager that died may be on its way back.

    Raises:
        ClusterError: When it has no TaskManager within some seconds.
        ConnectionError: When it does not answer.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            if rest.overview().taskmanagers:
                return
            missing: Exception = ClusterError(f"the Flink cluster has no TaskManager since {seconds:g} s: see its logs")
        except NO_ANSWER as error:
            missing = error
        if time.monotonic() > deadline:
            raise missing
        time.sleep(_AGAIN)


class FlinkJob:
    """A job of the cluster.

    Args:
        rest: The cluster.
        flink_id: The job's id there.
        savepoints: The folder of savepoints.

    Attributes:
        input_end: Tells whether all of its input was read, when it is bounded.
    """

    def __init__(self, rest: FlinkRest, flink_id: str, savepoints: Path) -> None:
        self.id = flink_id
        self._rest = rest
        self._savepoints = str(savepoints)
        self.input_end = InputEnd(rest, flink_id)

    def release(self) -> None:
        """Let all rows go that wait for their checkpoint: one that is begun now holds them all."""
        deadline = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < deadline:
            try:
                trigger = self._rest.trigger_checkpoint(self.id)
                status = self._rest.checkpoint_status(self.id, trigger)
                while not status.done and time.monotonic() < deadline:
                    time.sleep(_PAUSE)
                    status = self._rest.checkpoint_status(self.id, trigger)
                if status.done and not status.failure:
                    return
            except NO_ANSWER as error:
                _LOGGER.debug("Flink's job %s takes no checkpoint: %s", self.id, error)
            time.sleep(_AGAIN)

    def stop(self) -> Path | None:
        """Stop it behind a savepoint; when that cannot be done, cancel it.

        Returns:
            The savepoint's folder, or None.
        """
        deadline = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < deadline:
            try:
                trigger = self._rest.stop_with_savepoint(self.id, self._savepoints)
                status = self._rest.savepoint_status(self.id, trigger)
                while not status.done and time.monotonic() < deadline:
                    time.sleep(_PAUSE)
                    status = self._rest.savepoint_status(self.id, trigger)
                if status.done and status.location:
                    self._await_end(deadline)
                    return folder_of(status.location)
                _LOGGER.debug("a savepoint of Flink's job %s failed: %s", self.id, status.failure)
            except NO_ANSWER as error:
                _LOGGER.debug("Flink's job %s cannot be stopped: %s", self.id, error)
            time.sleep(_AGAIN)
        self.cancel()
        return None

    def savepoint(self) -> Path:
        """Take a savepoint, and let the job run on.

        Raises:
            SnapshotError: When it could not be taken.
        """
        trigger = self._rest.savepoint(self.id, self._savepoints)
        deadline = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < deadline:
            status = self._rest.savepoint_status(self.id, trigger)
            if status.location:
                return folder_of(status.location)
            if status.done:
                raise SnapshotError(f"Flink could not take a savepoint: {status.failure}")
            time.sleep(_PAUSE)
        raise SnapshotError(f"Flink took no savepoint within {_STOP_SECONDS:g} s")

    def why_not_running(self, seconds: float, otherwise: str) -> str:
        """Why it has not begun to run for some seconds."""
        view, cluster = self._rest.job(self.id), self._rest.overview()
        waiting = 0 if view is None else sum(vertex.status in ("CREATED", "SCHEDULED") for vertex in view.vertices)
        if not waiting:
            return f"the job has not begun to run within {seconds:g} s: {otherwise}"
        return (
            f"the cluster has no room: {waiting} parts of the job wait for slots since {seconds:g} s, and "
            f"{cluster.slots_available} of {cluster.slots_total} are free; end other jobs, or give "
            "connect(parallelism=...)"
        )

    def cancel(self) -> None:
        """Cancel it, unless it is over or gone, and wait until it is."""
        with contextlib.suppress(*NO_ANSWER):
            if not self._is_over():
                self._rest.cancel(self.id)
                self._await_end(time.monotonic() + _CANCEL_SECONDS)

    def _await_end(self, deadline: float) -> None:
        while not self._is_over() and time.monotonic() < deadline:
            time.sleep(_PAUSE)

    def _is_over(self) -> bool:
        view = self._rest.job(self.id)
        return view is None or view.over
