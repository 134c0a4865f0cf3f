"""What `Job.get_metrics` returns."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class StageMetrics:
    """Figures of one stage in the job's current run; see `JobMetrics` for how to get them.

    Example:
        >>> from jetbridge import StageMetrics
        >>> StageMetrics("filter", received_count=10, emitted_count=3).errors
        0

    Attributes:
        kind: What the stage does ("map", "list").
        received_count: Items that it was given; 0 for a source.
        emitted_count: Items that it gave on; 0 for a sink.
        errors: Items on which the user's function failed and that were skipped or put aside.
        late_count: Items that came behind the watermark, too late for their window.
    """

    kind: str
    received_count: int = 0
    emitted_count: int = 0
    errors: int = 0
    late_count: int = 0


@dataclass(frozen=True)
class SourceProgress:
    """How far a source has been read.

    Attributes:
        position: What has been read, in a unit of the source's own (items, bytes).
        size: The whole, in the same unit; None if it is not known.
    """

    position: int
    size: int | None


@dataclass(frozen=True)
class SnapshotMetrics:
    """Figures of a job's automatic snapshots.

    Attributes:
        count: How many were taken.
        last_size: The size of the last one in bytes.
        last_duration_millis: How long it took, in milliseconds.
        last_time: When it was taken, in milliseconds since the epoch.
    """

    count: int = 0
    last_size: int | None = None
    last_duration_millis: int | None = None
    last_time: int | None = None

    @property
    def age_millis(self) -> int | None:
        """Time since the last one, in milliseconds by this machine's clock; None before the first."""
        return None if self.last_time is None else max(0, int(time.time() * 1000) - self.last_time)


@dataclass(frozen=True)
class JobMetrics:
    """Figures of a job's current or last run.

    Example:
        >>> import jetbridge, tempfile
        >>> from jetbridge import Pipeline
        >>> with jetbridge.connect(home=tempfile.mkdtemp()) as client:
        ...     pipeline = Pipeline.create()
        ...     numbers = pipeline.read_from(Pipeline.from_list("numbers", range(10)))
        ...     stage = numbers.filter(lambda n: n > 6).write_to(Pipeline.to_list("large"))
        ...     job = client.get_jet().submit(pipeline)
        ...     job.join()
        ...     metrics = job.get_metrics()
        >>> metrics.received_count, metrics.emitted_count, metrics.progress
        (10, 3, 1.0)
        >>> metrics.stages["filter"].received_count
        10

    Attributes:
        received_count: Items that the sources have emitted.
        emitted_count: Items that the sinks have received.
        stages: The figures of each stage, by name.
        progress: The part of the input that was read, from 0.0 to 1.0; None
            for a stream, and when a source does not know its size.
        items_per_second: Items that the sources have emitted a second, over the last seconds.
        lag: How many items of the streams were not read yet; None without a stream that can tell.
        watermark: The event time, in milliseconds since the epoch, before which no item is expected
            any more that would be on time: the least watermark of the streams with timestamps. Each
            stays behind its newest item by `allowed_lag`. A partition that is silent for longer than
            `idle_timeout` does not hold it back, unless all are silent: then it stands still. A
            stream that has ended is left out. None without such a stream, and while one of them, or
            a partition that is not idle yet, has not had its first item.
        sources: How far each source was read, by stage name; without those that cannot tell.
        snapshots: Figures of the automatic snapshots.
        epoch_count: How many epochs were committed.
        started: When the run started, in milliseconds since the epoch.
        updated: When these figures were taken.
    """

    received_count: int = 0
    emitted_count: int = 0
    stages: Mapping[str, StageMetrics] = field(default_factory=dict)
    progress: float | None = None
    items_per_second: float | None = None
    lag: int | None = None
    watermark: int | None = None
    sources: Mapping[str, SourceProgress] = field(default_factory=dict)
    snapshots: SnapshotMetrics = SnapshotMetrics()
    epoch_count: int = 0
    started: int | None = None
    updated: int | None = None

    @classmethod
    def from_record(cls, record: Mapping[str, Any] | None) -> JobMetrics:
        """Metrics from what a worker has written; jetbridge calls it.

        Args:
            record: What that was; None for nothing yet.
        """
        if not record:
            return cls()
        snapshots = record.get("snapshots") or {}
        return cls(
            received_count=record.get("received", 0),
            emitted_count=record.get("emitted", 0),
            stages={
                name: StageMetrics(
                    stage["kind"], stage["received"], stage["emitted"], stage["errors"], stage.get("late", 0)
                )
                for name, stage in record.get("stages", {}).items()
            },
            progress=record.get("progress"),
            items_per_second=record.get("rate"),
            lag=record.get("lag"),
            watermark=record.get("watermark"),
            sources={
                name: SourceProgress(source["position"], source.get("size"))
                for name, source in record.get("sources", {}).items()
                if source is not None
            },
            snapshots=SnapshotMetrics(
                snapshots.get("count", 0),
                snapshots.get("last_size"),
                snapshots.get("last_duration_ms"),
                snapshots.get("last_time"),
            ),
            epoch_count=record.get("epochs", 0),
            started=record.get("started"),
            updated=record.get("updated"),
        )
