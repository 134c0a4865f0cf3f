"""A job's figures: what went through its stages, how fast, how far behind, and its snapshots."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from jetbridge.times import least_known

if TYPE_CHECKING:
    from jetbridge_direct.host import JobHost

_RATE_SECONDS = 2.0


class Figures:
    """Gathers a job's metrics.

    Args:
        host: The job.
        checkpoint: Where the run goes on, or None.
    """

    def __init__(self, host: JobHost, checkpoint: dict[str, Any] | None) -> None:
        self._host = host
        self._kinds = {node.name: node.kind for node in host.plan.nodes}
        self._started = int(time.time() * 1000)
        self.epochs = 0 if checkpoint is None or checkpoint["run"] != host.run else checkpoint["epoch"]
        self._snapshots: dict[str, Any] = {"count": 0, "last_size": None, "last_duration_ms": None, "last_time": None}
        self._written = 0
        self._rate: float | None = None
        self._counted = (time.monotonic(), 0)

    def epoch(self, written: int) -> None:
        """Note an epoch, and how many bytes of state it writes."""
        self.epochs += 1
        self._written += written

    def snapshot(self, started: float) -> None:
        """Note a durable commit that began at a time of the monotonic clock."""
        self._snapshots = {
            "count": self._snapshots["count"] + 1,
            "last_size": self._written,
            "last_duration_ms": int((time.monotonic() - started) * 1000),
            "last_time": int(time.time() * 1000),
        }
        self._written = 0

    def metrics(self) -> dict[str, Any]:
        """The metrics now, as plain values."""
        host = self._host
        stages: dict[str, dict[str, Any]] = {
            name: {"kind": self._kinds[name], "received": received, "emitted": emitted, "errors": errors, "late": late}
            for name, (received, emitted, errors, late) in host.counts.items()
        }
        received = sum(stages[node.name]["emitted"] for node in host.plan.sources)
        sources = {reader.node.name: self._position(reader) for reader in host.readers.values()}
        return {
            "stages": stages,
            "received": received,
            "emitted": sum(stages[node.name]["received"] for node in host.plan.sinks),
            "epochs": self.epochs,
            "progress": self._progress(sources),
            "sources": sources,
            "rate": self._per_second(received),
            "lag": self._lag(),
            "watermark": self._watermark(),
            "snapshots": self._snapshots,
            "started": self._started,
            "updated": int(time.time() * 1000),
        }

    @staticmethod
    def _position(reader: Any) -> dict[str, int] | None:
        position = None if reader.endless else reader.position()
        return None if position is None else {"position": position[0], "size": position[1]}

    def _progress(self, sources: dict[str, dict[str, int] | None]) -> float | None:
        if self._host.done:
            return 1.0
        known = [source for source in sources.values() if source is not None]
        if not known or len(known) < len(sources):
            return None
        parts = [each["position"] / each["size"] if each["size"] else 1.0 for each in known]
        return sum(parts) / len(parts)

    def _per_second(self, received: int) -> float | None:
        """Items a second, over the last seconds."""
        now, (then, before) = time.monotonic(), self._counted
        if now - then >= _RATE_SECONDS or self._rate is None:
            if now > then:
                self._rate = max(0, received - before) / (now - then)
            self._counted = (now, received)
        return self._rate

    def _lag(self) -> int | None:
        """How many items of the streams were not read yet."""
        lags = [reader.lag() for reader in self._host.readers.values() if reader.endless]
        known = [lag for lag in lags if lag is not None]
        return sum(known) if known else None

    def _watermark(self) -> int | None:
        """How far event time is in the streams with timestamps that have not ended."""
        readers = self._host.readers.values()
        return least_known(reader.watermark() for reader in readers if reader.has_watermark and not reader.ended)
