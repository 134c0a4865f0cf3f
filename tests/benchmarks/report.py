"""The tables: for a terminal, or as Markdown for the documentation."""

import os
import platform
import re
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from clusters import maps
from jobs import JOBS
from launch import Row
from rich.console import Console
from rich.table import Table
from streams import Cost

HEADINGS = (
    "contender",
    "items",
    "best s",
    "median s",
    "items/s",
    "x Beam",
    "x tuned Beam",
    "x Bytewax",
    "x loop",
    "whole process s",
    "peak MB",
)
IN_SHORT = ("items", "items/s", "x Beam", "x tuned Beam", "x Bytewax", "x PyFlink", "x loop", "peak MB")

Cells = tuple[str, ...]


class Sheet(NamedTuple):
    """A table."""

    heading: str
    headings: tuple[str, ...]
    cells: list[Cells]


def machine() -> str:
    """The machine in a line."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists() and (found := re.search(r"model name\s*: (.*)", info.read_text())):
        model = found[1]
    memory = psutil.virtual_memory().total / 2**30
    software = f"{platform.system()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, {software}"


def job_cells(rows: list[Row]) -> list[Cells]:
    """One job's rows as text."""
    rates = {row.contender: row.rate for row in rows}
    return [
        (
            row.contender,
            f"{row.items:,}",
            f"{row.best:.2f}",
            f"{row.median:.2f}",
            f"{row.rate:,.0f}",
            *(ratio(row.rate, rates.get(other)) for other in ("beam", "beam-tuned", "bytewax", "loop")),
            f"{row.whole:.1f}",
            megabytes(row.peak),
        )
        for row in rows
    ]


def megabytes(size: int | None) -> str:
    """Bytes as whole megabytes; a dash where nothing was seen."""
    return "-" if size is None else f"{size / 1e6:.0f}"


def ratio(rate: float, other: float | None) -> str:
    """How many times another rate a rate is; a dash where there is none."""
    if other is None:
        return "-"
    times = rate / other
    return f"{times:.0f}" if times >= 10 else f"{times:.2f}" if times >= 0.1 else f"{times:.3f}"


def title(letter: str) -> str:
    """A job's heading."""
    return f"({letter}) {JOBS[letter].title}"


def rates(heading: str, rows: list[Row]) -> Sheet:
    """What contenders did in one job."""
    return Sheet(heading, HEADINGS, job_cells(rows))


def summary(sheets: list[Sheet]) -> Sheet | None:
    """What jetbridge did in each job; None when there are not two such tables."""
    sheets = [sheet for sheet in sheets if sheet.headings[0] == HEADINGS[0] and HEADINGS[1] in sheet.headings]
    if len(sheets) < 2:
        return None
    there = [heading for heading in IN_SHORT if any(heading in sheet.headings for sheet in sheets)]
    cells = []
    for sheet in sheets:
        for row in sheet.cells:
            if row[0].startswith("jetbridge"):
                by_heading = dict(zip(sheet.headings, row, strict=True))
                cells.append((sheet.heading, row[0], *(by_heading.get(heading, "-") for heading in there)))
    return Sheet("In short", ("job", HEADINGS[0], *there), cells)


def first_results(seconds: list[tuple[str, float, float]]) -> Sheet:
    """The extra "cold"."""
    cells = [(title, f"{best:.2f}", f"{median:.2f}") for title, best, median in seconds]
    return Sheet("First result", ("what", "best s", "median s"), cells)


def flatness(peaks: list[tuple[str, int, int, int | None]]) -> Sheet:
    """The extra "flat"."""
    cells = [(f"({job})", str(cores), f"{factor}x", megabytes(peak)) for job, cores, factor, peak in peaks]
    return Sheet("Peak memory", ("job", "cores", "input", "peak MB"), cells)


def guarantees(costs: list[Cost]) -> Sheet:
    """What each guarantee costs."""
    cells = [
        (
            f"{each.job}: {each.variant}",
            f"{each.items:,}",
            f"{each.best:.2f}",
            f"{each.median:.2f}",
            f"{each.items / each.best:,.0f}",
            f"{100 * each.cost:+.1f} %",
            f"{each.cpu:.2f}",
            f"{100 * each.cpu_cost:+.1f} %",
            megabytes(each.peak),
        )
        for each in costs
    ]
    timed = ("items", "best s", "median s", "items/s", "against NONE", "CPU s", "against NONE", "peak MB")
    return Sheet("What guarantees cost", ("guarantee, interval", *timed), cells)


def clusters(rows: list[maps.Row]) -> Sheet:
    """A map of a Hazelcast cluster into another."""
    cells = [
        (
            row.contender,
            f"{row.entries:,}",
            f"{row.best:.2f}",
            f"{row.median:.2f}",
            f"{row.entries / row.best:,.0f}",
            f"{row.ratio:.2f}",
            megabytes(row.peak),
        )
        for row in rows
    ]
    headings = ("contender", "entries", "best s", "median s", "entries/s", "x by hand", "peak MB")
    return Sheet("A map of a Hazelcast member, filtered and mapped into another", headings, cells)


def lifecycle(calls: dict[str, Any]) -> Sheet:
    """How long calls take."""
    cells = [
        (call, *(f"{value:.3f}" for value in (min(seconds), statistics.median(seconds), max(seconds))))
        for call, seconds in calls["seconds"].items()
    ]
    heading = f"Calls to jobs at work (peak memory {megabytes(calls['peak'])} MB)"
    return Sheet(heading, ("call", "best s", "median s", "worst s"), cells)


def sessions(rows: list[dict[str, Any]]) -> Sheet:
    """Speed and memory by the number of open sessions."""
    cells = [
        (
            f"{row['keys']:,}",
            f"{row['items']:,}",
            f"{row['best']:.2f}",
            f"{row['median']:.2f}",
            f"{row['rate']:,.0f}",
            megabytes(row["peak"]),
        )
        for row in rows
    ]
    return Sheet("Open sessions, exactly once", ("keys", "items", "best s", "median s", "items/s", "peak MB"), cells)


def sliding(runner: str, rows: list[dict[str, Any]]) -> Sheet:
    """What it costs that windows overlap."""
    cells = [
        (
            row["windows"],
            f"{row['items']:,}",
            f"{row['results']:,}",
            f"{row['best']:.2f}",
            f"{row['median']:.2f}",
            f"{row['items'] / row['best']:,.0f}",
            f"{row['ratio']:.2f}",
        )
        for row in rows
    ]
    headings = ("windows", "items", "results", "best s", "median s", "items/s", "x tumbling s")
    return Sheet(f"Counts by key in windows of a minute, tumbling and in sixty steps, {runner}", headings, cells)


def latency(delays: list[dict[str, Any]]) -> Sheet:
    """From publish to sink."""
    cells = [
        (
            row["title"],
            f"{row['rate']:,.0f}",
            *(f"{row[name]:.3f}" for name in ("median", "p99", "most", "worst_p99")),
            megabytes(row["peak"]),
        )
        for row in delays
    ]
    headings = ("job", "items/s", "median s", "p99 s", "most s", "worst run's p99 s", "peak MB")
    return Sheet("From publish to sink", headings, cells)


def show(sheet: Sheet, *, markdown: bool) -> None:
    """Print one table."""
    if markdown:
        print(f"\n**{sheet.heading}**\n")
        print("| " + " | ".join(sheet.headings) + " |")
        print("| " + " | ".join(["---"] + ["---:"] * (len(sheet.headings) - 1)) + " |")
        for row in sheet.cells:
            print("| " + " | ".join(row) + " |")
        return
    table = Table(title=sheet.heading, title_justify="left")
    for number, text in enumerate(sheet.headings):
        table.add_column(text, justify="right" if number else "left", no_wrap=True)
    for row in sheet.cells:
        table.add_row(*row)
    wide = Console(width=1_000)
    # A pipe has no width of its own, and a table that is cut says nothing.
    Console(width=max(Console().width, wide.measure(table).maximum)).print(table)
