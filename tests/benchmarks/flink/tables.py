"""The tables of the benchmarks on Flink."""

import statistics
from typing import Any

from report import Sheet, megabytes, ratio

from flink.rows import Row, compared

OTHERS = {
    "x Beam": ("beam",),
    "x tuned Beam": ("beam-tuned",),
    "x PyFlink": ("pyflink-process", "pyflink-thread"),
    "x loop": ("loop",),
}


def rates(heading: str, rows: list[Row]) -> Sheet:
    """What contenders did in one job, and how many times as quick each is as others under the same guarantee."""
    there = {title: names for title, names in OTHERS.items() if any(row.contender in names for row in rows)}
    cells = [
        (
            row.title,
            f"{row.items:,}",
            f"{row.best:.2f}",
            f"{row.median:.2f}",
            f"{row.rate:,.0f}",
            *(_ratio(row, compared(row, rows, names)) for names in there.values()),
            f"{row.begin:.2f}",
            f"{row.whole:.2f}",
            megabytes(row.peak),
        )
        for row in rows
    ]
    timed = ("contender", "items", "best s", "median s", "items/s")
    return Sheet(heading, (*timed, *there, "to first item s", "whole s", "peak MB"), cells)


def start(seconds: dict[str, list[float]]) -> Sheet:
    """How long jobs take to run, and the calls that steer them."""
    cells = [
        (title, *(f"{value:.2f}" for value in (min(times), statistics.median(times), max(times))))
        for title, times in seconds.items()
    ]
    return Sheet("On Flink: starts and calls", ("what", "best s", "median s", "worst s"), cells)


def latency(delays: list[dict[str, Any]]) -> Sheet:
    """From publish to sink."""
    cells = [
        (row["title"], f"{row['rate']:,.0f}", *(f"{row[name]:.3f}" for name in ("median", "p99", "most", "worst_p99")))
        for row in delays
    ]
    headings = ("job", "items/s", "median s", "p99 s", "most s", "worst run's p99 s")
    return Sheet("On Flink: from publish to sink", headings, cells)


def soak(found: dict[str, Any]) -> Sheet:
    """The memory of each process at the start and the end of a soak."""
    cells = [
        (
            name,
            *(megabytes(int(sizes[moment])) for moment in ("start", "end", "most")),
            f"{100 * (sizes['end'] / sizes['start'] - 1):+.1f} %",
        )
        for name, sizes in found["memory"].items()
    ]
    heading = (
        f"On Flink: {found['seconds']:g} s with a checkpoint each {found['interval']} ms, {found['items']:,} items, "
        f"{found['keys']:,} keys; totals right, {len(found['deaths'])} processes died"
    )
    return Sheet(heading, ("process", "MB at 10-20 %", "MB at 90-100 %", "most MB", "grown"), cells)


def checkpoints(found: dict[str, Any]) -> Sheet:
    """The checkpoints of a soak, tenth by tenth."""
    seen = [each for each in found["checkpoints"] if each[2] is not None]
    cells = []
    for tenth in range(10):
        part = [each for each in seen if tenth <= each[0] * 10 / found["seconds"] < tenth + 1]
        if part:
            count = part[-1][1]
            size, millis = (statistics.median(each[place] for each in part) for place in (2, 3))
            cells.append((f"{10 * (tenth + 1)} %", f"{count:,}", f"{size / 1e6:.2f}", f"{millis:.0f}"))
    return Sheet("Checkpoints of the soak", ("until", "checkpoints", "median MB", "median ms"), cells)


def _ratio(row: Row, other: Row | None) -> str:
    return "-" if other is None else ratio(row.rate, other.rate)
