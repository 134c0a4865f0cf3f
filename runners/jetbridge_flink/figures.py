"""A job's metrics: what its parts have written to the store, and what Flink says of its checkpoints."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from jetbridge.connectors import intake
from jetbridge.plan.ends import SourceNode
from jetbridge.plan.fuse import fuse
from jetbridge.plan.times import TimestampNode
from jetbridge.times import BEGINNING, least_known
from jetbridge_flink import envelopes

if TYPE_CHECKING:
    import sqlite3

    from jetbridge.plan.graph import Plan
    from jetbridge_flink.rest_views import Checkpoints

_RATE_SECONDS = 2.0
_COUNTED = ("received", "emitted", "errors", "late")


class JobFigures:
    """Gathers a job's metrics.

    Args:
        plan: The job's plan.
        run: The run's id.
        started: When the job was started, in milliseconds since the epoch; by default it is now.

    Attributes:
        begun: When they began, with a start of the job, by the monotonic clock.
        snapshots: What is known of the checkpoints of this start.
    """

    def __init__(self, plan: Plan, run: str, started: int | None = None) -> None:
        self._plan = plan
        self._run = run
        self._timed = [
            segment.root.name
            for segment in fuse(plan)
            if isinstance(segment.root, SourceNode)
            and not segment.root.source.bounded
            and any(isinstance(step, TimestampNode) for step in segment.steps)
        ]
        self._started = int(time.time() * 1000) if started is None else started
        self.begun = time.monotonic()
        self._rate: float | None = None
        self._counted: tuple[float, int] | None = None
        self.snapshots: dict[str, Any] = {"count": 0, "last_size": None, "last_duration_ms": None, "last_time": None}

    def tell(self, checkpoints: Checkpoints | None) -> None:
        """Take what Flink says of the job's checkpoints."""
        if checkpoints is None:
            return
        latest = checkpoints.latest
        self.snapshots = {
            "count": checkpoints.completed,
            "last_size": None if latest is None else latest.size,
            "last_duration_ms": None if latest is None else latest.duration_ms,
            "last_time": None if latest is None else latest.end_time,
        }

    def all_ended(self, conn: sqlite3.Connection) -> bool:
        """Whether every part that is known has told its end, and every source has such parts."""
        parts = intake.figures(conn, self._run)
        return all(part.get("ended", True) for part in parts.values()) and all(
            any(place.startswith(f"{node.name}/") for place in parts) for node in self._plan.sources
        )

    def metrics(self, conn: sqlite3.Connection) -> dict[str, Any]:
        """The metrics now, as plain values; the same as those of the Direct runner."""
        parts = intake.figures(conn, self._run)
        stages: dict[str, dict[str, Any]] = {
            node.name: {"kind": node.kind, **dict.fromkeys(_COUNTED, 0)} for node in self._plan.nodes
        }
        for part in parts.values():
            for name, counts in part["counts"].items():
                for what, count in zip(_COUNTED, counts, strict=False):
                    if name in stages:
                        stages[name][what] += count
        received = sum(stages[node.name]["emitted"] for node in self._plan.sources)
        positions = {node.name: self._position(parts, node) for node in self._plan.sources}
        return {
            "stages": stages,
            "received": received,
            "emitted": sum(stages[node.name]["received"] for node in self._plan.sinks),
            "epochs": self.snapshots["count"],
            "progress": self._progress(positions),
            "sources": positions,
            "rate": self._per_second(received),
            "lag": self._lag(parts),
            "watermark": self._watermark(parts),
            "snapshots": dict(self.snapshots),
            "started": self._started,
            "updated": int(time.time() * 1000),
        }

    @staticmethod
    def _position(parts: dict[str, dict[str, Any]], node: Any) -> dict[str, int] | None:
        own = [part for place, part in parts.items() if place.startswith(f"{node.name}/") and "position" in part]
        if not own or any(part["position"] is None or part["size"] is None for part in own):
            return None
        return {"position": sum(p["position"] for p in own), "size": sum(p["size"] for p in own)}

    @staticmethod
    def _progress(positions: dict[str, dict[str, int] | None]) -> float | None:
        known = [position for position in positions.values() if position is not None]
        if not known or len(known) < len(positions):
            return None
        return sum(each["position"] / each["size"] if each["size"] else 1.0 for each in known) / len(known)

    def _per_second(self, received: int) -> float | None:
        now = time.monotonic()
        if self._counted is None:
            self._counted = (now, received)
        elif now - self._counted[0] >= _RATE_SECONDS:
            self._rate = max(0, received - self._counted[1]) / (now - self._counted[0])
            self._counted = (now, received)
        return self._rate

    @staticmethod
    def _lag(parts: dict[str, dict[str, Any]]) -> int | None:
        told = [(part.get("newest"), part.get("position")) for part in parts.values()]
        lags = [max(0, newest - at) for newest, at in told if newest is not None and at is not None]
        return sum(lags) if lags else None

    def _watermark(self, parts: dict[str, dict[str, Any]]) -> int | None:
        """How far event time is in the streams with timestamps that have not ended."""
        told = [parts.get(envelopes.whole(name), {}) for name in self._timed]
        return least_known(part.get("watermark", BEGINNING) for part in told if not part.get("ended"))
