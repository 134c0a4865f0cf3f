"""What Flink's REST API answers, as values: `rest` makes them out of its JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

END_STATES = frozenset({"FINISHED", "CANCELED", "FAILED"})
"""The states that a job of Flink never leaves."""


@dataclass(frozen=True)
class Overview:
    """The cluster.

    Attributes:
        taskmanagers: How many TaskManagers have registered.
        slots_total: How many slots they have.
        slots_available: How many of them are free.
        version: Flink's version.
        running: How many jobs run.
    """

    taskmanagers: int
    slots_total: int
    slots_available: int
    version: str
    running: int = 0

    @classmethod
    def of(cls, got: dict[str, Any]) -> Overview:
        """Out of the answer of ``/overview``."""
        return cls(
            got["taskmanagers"],
            got["slots-total"],
            got["slots-available"],
            got["flink-version"],
            got.get("jobs-running", 0),
        )


@dataclass(frozen=True)
class TaskManager:
    """A TaskManager.

    Attributes:
        id: Its id.
        slots: How many slots it has.
        free_slots: How many of them are free.
    """

    id: str
    slots: int
    free_slots: int

    @classmethod
    def of(cls, got: dict[str, Any]) -> TaskManager:
        """Out of one entry of ``/taskmanagers``."""
        return cls(got["id"], got["slotsNumber"], got["freeSlots"])


@dataclass(frozen=True)
class Vertex:
    """One operator of a job.

    Attributes:
        id: Its id.
        name: Its name.
        status: What its subtasks do, together.
        parallelism: How many subtasks it has.
    """

    id: str
    name: str
    status: str
    parallelism: int = 1

    @classmethod
    def of(cls, got: dict[str, Any]) -> Vertex:
        """Out of one vertex of ``/jobs/:id``."""
        return cls(got["id"], got["name"], got["status"], got["parallelism"])


@dataclass(frozen=True)
class JobView:
    """A job of the cluster.

    Attributes:
        state: What it does: RUNNING, RESTARTING, FAILED, CANCELED, FINISHED ...
        vertices: Its operators.
        id: Its id.
        name: Its name.
        duration_ms: For how long it has run.
        now: The cluster's time, in milliseconds, as the two that follow.
        running: When it began to run, after its last restart.
        restarted: When it was last restarted; 0 if it never was.
    """

    state: str
    vertices: tuple[Vertex, ...]
    id: str = ""
    name: str = ""
    duration_ms: int = 0
    now: int = 0
    running: int = 0
    restarted: int = 0

    @classmethod
    def of(cls, got: dict[str, Any]) -> JobView:
        """Out of the answer of ``/jobs/:id``."""
        vertices = tuple(map(Vertex.of, got["vertices"]))
        times = got.get("timestamps", {})
        return cls(
            got["state"],
            vertices,
            got["jid"],
            got["name"],
            got["duration"],
            now=got.get("now", 0),
            running=times.get("RUNNING", 0),
            restarted=times.get("RESTARTING", 0),
        )

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.state in END_STATES

    @property
    def all_run(self) -> bool:
        """Whether every operator runs: only then Flink takes a checkpoint."""
        return self.state == "RUNNING" and all(vertex.status == "RUNNING" for vertex in self.vertices)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint or savepoint that is complete.

    Attributes:
        id: Its number in the job.
        size: Bytes of state.
        duration_ms: How long it took.
        trigger_time: When it began, in milliseconds since 1970.
        end_time: When its last part had come, in milliseconds since 1970.
        path: Where it lies, if that is outside the JobManager.
    """

    id: int
    size: int
    duration_ms: int
    trigger_time: int
    end_time: int
    path: str | None

    @classmethod
    def of(cls, got: dict[str, Any] | None) -> Checkpoint | None:
        """Out of a checkpoint's JSON."""
        if not got:
            return None
        return cls(
            got["id"],
            got["state_size"],
            got["end_to_end_duration"],
            got["trigger_timestamp"],
            got["latest_ack_timestamp"],
            got.get("external_path"),
        )


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one start of a job.

    Attributes:
        completed: How many are complete.
        failed: How many have failed.
        in_progress: How many are being taken.
        latest: The last complete checkpoint.
        savepoint: The last complete savepoint.
        failure: Why the last one that failed has failed.
        restored: The number of the one that the job last went on from.
        restored_path: Where that one lies.
    """

    completed: int
    failed: int
    in_progress: int
    latest: Checkpoint | None
    savepoint: Checkpoint | None
    failure: str | None
    restored: int | None
    restored_path: str | None

    @classmethod
    def of(cls, got: dict[str, Any]) -> Checkpoints:
        """Out of the answer of ``/jobs/:id/checkpoints``."""
        counts, latest = got["counts"], got.get("latest") or {}
        restored = latest.get("restored") or {}
        return cls(
            counts["completed"],
            counts["failed"],
            counts["in_progress"],
            Checkpoint.of(latest.get("completed")),
            Checkpoint.of(latest.get("savepoint")),
            (latest.get("failed") or {}).get("failure_message"),
            restored.get("id"),
            restored.get("external_path"),
        )

    def figures(self) -> dict[str, Any]:
        """The count, and the size, duration and time of the last one: what a job's metrics tell."""
        last = self.latest
        return {
            "count": self.completed,
            "last_size": None if last is None else last.size,
            "last_duration_ms": None if last is None else last.duration_ms,
            "last_time": None if last is None else last.end_time,
        }


@dataclass(frozen=True)
class Outcome:
    """An operation that the cluster carries out in the background: a savepoint or a checkpoint.

    Attributes:
        done: Whether it is over.
        location: Where the savepoint lies.
        failure: Why it failed, in Flink's words.
    """

    done: bool
    location: str | None = None
    failure: str | None = None

    @classmethod
    def of(cls, got: dict[str, Any]) -> Outcome:
        """Out of the answer of ``/jobs/:id/savepoints/:trigger`` or ``/jobs/:id/checkpoints/:trigger``."""
        operation = got.get("operation") or {}
        cause = operation.get("failure-cause") or operation.get("failureCause")
        failure = None if cause is None else str(cause.get("stack-trace") or cause)
        return cls(got["status"]["id"] == "COMPLETED", operation.get("location"), failure)
