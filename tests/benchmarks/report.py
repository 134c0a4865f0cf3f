"""The tables: for a terminal, or as Markdown for the README."""

import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path

import psutil
from jobs import JOBS
from launch import Row
from rich.console import Console
from rich.table import Table

HEADINGS = (
    "contender",
    "items",
    "best s",
    "median s",
    "items/s",
    "x Beam",
    "x Bytewax",
    "x loop",
    "whole process s",
    "peak MB",
)

Cells = tuple[str, ...]


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
            *(_ratio(row.rate, rates.get(other)) for other in ("beam", "bytewax", "loop")),
            f"{row.whole:.1f}",
            megabytes(row.peak),
        )
        for row in rows
    ]


def megabytes(size: int | None) -> str:
    """Bytes as whole megabytes; a dash where nothing was seen."""
    return "-" if size is None else f"{size / 1e6:.0f}"


def _ratio(rate: float, other: float | None) -> str:
    if other is None:
        return "-"
    ratio = rate / other
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.3f}"


def title(letter: str) -> str:
    """A job's heading."""
    return f"({letter}) {JOBS[letter].title}"


def show(heading: str, headings: Iterable[str], cells: Iterable[Cells], *, markdown: bool) -> None:
    """Print one table."""
    headings = tuple(headings)
    if markdown:
        print(f"\n**{heading}**\n")
        print("| " + " | ".join(headings) + " |")
        print("| " + " | ".join(["---"] + ["---:"] * (len(headings) - 1)) + " |")
        for row in cells:
            print("| " + " | ".join(row) + " |")
        return
    table = Table(title=heading, title_justify="left")
    for number, text in enumerate(headings):
        table.add_column(text, justify="right" if number else "left", no_wrap=True)
    for row in cells:
        table.add_row(*row)
    console = Console()
    # A pipe has no width of its own, and a table that is cut says nothing.
    Console(width=max(console.width, 130)).print(table)
