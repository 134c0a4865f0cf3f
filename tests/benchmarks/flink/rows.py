"""What one contender did in one job of the Flink benchmarks."""

import statistics
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """Figures of several runs.

    Attributes:
        title: Who, and how.
        group: With what it is compared: rows of one group have the same guarantee and keys.
        items: How many items it handled.
        best: The quickest run in seconds, from the first item read to the last result.
        median: The median run in seconds.
        begin: The median seconds from submit to the first item.
        whole: The quickest run in seconds, from submit to the job's end.
        peak: The most memory in bytes, of the cluster and its client, from a run that was not timed; None if unknown.
        digest: The fingerprint of the result.
    """

    title: str
    group: str
    items: int
    best: float
    median: float
    begin: float
    whole: float
    peak: int | None
    digest: str

    @classmethod
    def of(cls, title: str, group: str, measured: dict[str, Any]) -> "Row":
        """What was measured: "items", "seconds", "peak" and "digest"."""
        net = [run["net"] for run in measured["seconds"]]
        return cls(
            title=title,
            group=group,
            items=measured["items"],
            best=min(net),
            median=statistics.median(net),
            begin=statistics.median(run["begin"] for run in measured["seconds"]),
            whole=min(run["whole"] for run in measured["seconds"]),
            peak=measured["peak"],
            digest=measured["digest"],
        )

    @property
    def contender(self) -> str:
        """The contender's name alone."""
        return self.title.split(",")[0]

    @property
    def rate(self) -> float:
        """Items per second in the quickest run."""
        return self.items / self.best

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "contender": self.contender, "rate": self.rate}


def compared(row: Row, rows: list[Row], names: tuple[str, ...]) -> Row | None:
    """The row of other contenders that a row is to be compared with: the quickest of those in the same group.

    Rows without a group are compared with all, and all with them.
    """
    others = (other for other in rows if other.contender in names)
    fitting = [other for other in others if not (row.group and other.group) or row.group == other.group]
    return max(fitting, key=lambda other: other.rate, default=None)
