"""How jobs, snapshots and figures are printed: as tables for people, as JSON for programs."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from jetbridge.metrics import JobMetrics
    from jetbridge.store.records import JobRecord
    from jetbridge.store.snapshots import SnapshotInfo

_WIDE = 10_000  # what is piped into another program is not wrapped
COLORS = {"RUNNING": "green", "COMPLETED": "dim", "FAILED": "red", "SUSPENDED": "yellow"}


def dump(value: Any, *, one_line: bool = False) -> None:
    """Print JSON."""
    print(json.dumps(value, ensure_ascii=False, default=str, indent=None if one_line else 2), flush=True)


def console(*, stderr: bool = False) -> Console:
    """A console that takes texts as they are: names of jobs are no markup."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDE
    return Console(stderr=stderr, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False)


def put(*renderables: RenderableType) -> None:
    """Print tables and texts; without blanks at the ends of lines where no terminal shows them."""
    out = console()
    if out.is_terminal:
        out.print(*renderables, sep="\n")
        return
    with out.capture() as captured:
        out.print(*renderables, sep="\n")
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def columns(*titles: str, numbers: tuple[str, ...] = ()) -> Table:
    """A table without lines, as other commands print it."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        last = title == titles[-1] and title not in numbers
        # The last column may take several lines; what one copies from the others stays whole.
        table.add_column(title, justify="right" if title in numbers else "left", no_wrap=not last, overflow="fold")
    return table


def clean(text: str) -> str:
    r"""A text without what steers terminals.

    Example:
        >>> print(clean("a\x1b[2Jb\nc"))
        a\x1b[2Jb\nc
    """
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def moment(millis: int | None) -> str:
    """A time, in this machine's time zone."""
    return "" if millis is None else datetime.fromtimestamp(millis / 1000).strftime("%Y-%m-%d %H:%M:%S")


def span(millis: int | None) -> str:
    """A duration.

    Example:
        >>> span(420), span(61_000), span(7_260_000)
        ('0.4 s', '1 min 1 s', '2 h 1 min')
    """
    if millis is None:
        return ""
    seconds = max(0, millis) / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(count: int | None) -> str:
    """A number of bytes.

    Example:
        >>> size(999), size(1_234_567)
        ('999 B', '1.2 MB')
    """
    if count is None:
        return ""
    amount, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"


def called(record: JobRecord) -> str:
    """A job as messages call it."""
    return f"job '{clean(record.name)}' ({record.id})" if record.name else f"job {record.id}"


def why(record: JobRecord) -> str:
    """In one line, why a job is suspended or has failed."""
    if record.user_cancelled:
        return "cancelled by a user"
    text = record.cause if record.status == "SUSPENDED" else (record.error or {}).get("message")
    return clean((text or "").strip().partition("\n")[0])


def job_facts(record: JobRecord) -> dict[str, Any]:
    """A job for programs; these keys stay."""
    return {
        "id": record.id,
        "name": record.name,
        "status": record.status,
        "submission_time": record.submission_time,
        "start_time": record.start_time,
        "end_time": record.end_time,
        "suspension_cause": record.cause if record.status == "SUSPENDED" else None,
        "is_user_cancelled": record.user_cancelled,
        "error": record.error,
        "owner_pid": (record.owner or {}).get("pid"),
        "config": record.config,
    }


def snapshot_facts(snapshot: SnapshotInfo) -> dict[str, Any]:
    """A named snapshot for programs; these keys stay."""
    names = ("name", "creation_time", "job_id", "job_name", "payload_size")
    return {name: getattr(snapshot, name) for name in names}


def stage_table(metrics: JobMetrics, rates: dict[str, float] | None = None) -> Table:
    """The stages of a job and what went through them.

    Args:
        metrics: The job's metrics.
        rates: Items a second by stage, as a further column.
    """
    titles = ["STAGE", "KIND", "RECEIVED", "EMITTED", "ERRORS"] + (["PER SECOND"] if rates is not None else [])
    table = columns(*titles, numbers=tuple(titles[2:]))
    for name, stage in metrics.stages.items():
        row = [clean(name), clean(stage.kind), *(f"{n:,}" for n in (stage.received_count, stage.emitted_count))]
        row.append(f"{stage.errors:,}")
        if rates is not None:
            row.append(f"{rates[name]:,.0f}" if name in rates else "")
        table.add_row(*row)
    return table
