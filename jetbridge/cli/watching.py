"""Live figures of a job: `metrics --watch`, and what `resume` and `restart` show in the foreground."""

import dataclasses
import sys
import time
from contextlib import ExitStack, redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jetbridge.cli.frame import AnyJob, AsJson, ExitCode, Home, command

if TYPE_CHECKING:
    from rich.console import RenderableType

    from jetbridge.job import Job
    from jetbridge.jobs.session import Session
    from jetbridge.metrics import JobMetrics
    from jetbridge.store.records import JobRecord

_LOOK = 0.1  # seconds
_REFRESH = 0.25
_LINES = 1.0  # seconds from one line of JSON to the next
_RATE_OVER = 2.0  # seconds over which items a second are counted
_BAR = 40


@command()
def metrics(
    job: AnyJob,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Live, until the job has ended.")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show what went through a job's stages.

    With --watch --json this prints a line each second.
    """
    from jetbridge.cli.opening import find, onlooking
    from jetbridge.cli.showing import console, dump, put

    with onlooking(home) as session:
        view = View(session, find(session, job))
        out = console()
        if as_json:
            dump(view.facts(), one_line=watch)
            while watch and view.record.is_active:
                view.wait(_LINES)
                dump(view.facts(), one_line=True)
        elif watch and out.is_terminal:
            from rich.live import Live

            with Live(view.render(), console=out, auto_refresh=False) as live:
                while view.record.is_active:
                    view.wait(_REFRESH)
                    live.update(view.render(), refresh=True)
        else:
            while watch and view.record.is_active:
                view.wait(_REFRESH)
            put(view.render())


def metrics_facts(figures: "JobMetrics") -> dict[str, Any]:
    """Metrics for programs: the attributes of `jetbridge.JobMetrics`."""
    return dataclasses.asdict(figures)


def accompany(session: "Session", job: "Job", as_json: bool) -> None:
    """Stay with a job that this process runs, showing its figures, until it has ended or is suspended.

    Raises:
        JobFailedError: When it has failed.
        JobCancelledError: When it was cancelled.
    """
    from jetbridge.cli.showing import called, console, dump, job_facts, why

    view = View(session, job)
    if view.record.remote_cluster is None:
        where, end = "in this process", "suspends it"
    else:
        where, end = f"in the cluster {view.record.remote_cluster}", "leaves it there"
    typer.echo(f"{called(view.record)} runs {where}. Ctrl-C {end}.", err=True)
    out = console(stderr=True)
    with ExitStack() as stack:
        live = None
        if as_json:  # what the job prints must not come between
            stack.enter_context(redirect_stdout(sys.stderr))
        if out.is_terminal:
            from rich.live import Live

            shown_above = sys.stdout.isatty() and not as_json
            live = Live(view.render(), console=out, auto_refresh=False, transient=True, redirect_stdout=shown_above)
            stack.enter_context(live)
        while view.record.is_active and not view.is_suspended:
            view.wait(_REFRESH)
            if live is not None:
                live.update(view.render(), refresh=True)
        if not view.record.is_active:
            session.wait(view.record, None)  # until what it printed has been shown
    if as_json:
        dump(job_facts(view.record))
    if not view.record.is_active:
        job.join()
    if not as_json:
        reason = why(view.record)
        typer.echo(f"{called(view.record)} is {view.record.status}" + (f": {reason}" if reason else ""), err=True)
    if view.is_suspended and (view.record.suspended_by == "failure" or view.record.error is not None):
        raise typer.Exit(ExitCode.JOB_FAILED)


class View:
    """A job and its figures, looked at again and again.

    Args:
        session: The open data folder.
        job: The job.
    """

    def __init__(self, session: "Session", job: "Job") -> None:
        self._session = session
        self._job = job
        self._samples: list[tuple[float, dict[str, int]]] = []
        self.record: JobRecord
        self.wait(0)

    @property
    def is_suspended(self) -> bool:
        """Whether it is suspended for longer than a restart takes."""
        return self.record.status == "SUSPENDED" and self.record.suspended_by != "restart"

    def wait(self, seconds: float) -> None:
        """Look again after some time, or as soon as the job has ended."""
        deadline = time.monotonic() + seconds
        while True:
            record = self._session.read(self._job.id)
            assert record is not None
            self.record = record
            left = deadline - time.monotonic()
            if left <= 0 or not record.is_active:
                return
            time.sleep(min(_LOOK, left))

    def facts(self) -> dict[str, Any]:
        """The figures as of now, for programs."""
        record = self.record
        return {"id": record.id, "name": record.name, "status": record.status, **metrics_facts(self._job.get_metrics())}

    def render(self) -> "RenderableType":
        """The figures as of now, for people."""
        from rich.console import Group
        from rich.text import Text

        from jetbridge.cli.showing import COLORS, called, moment, span, stage_table, why
        from jetbridge.times import LATEST

        record, figures = self.record, self._job.get_metrics()
        title = Text.assemble(called(record), " is ", (record.status, COLORS.get(record.status, "")))
        reason = why(record)
        if reason:
            title.append(f": {reason}")
        parts: list[RenderableType] = [title]
        if figures.started is not None and figures.updated is not None:
            took = span(figures.updated - figures.started)
            read, written = f"{figures.received_count:,}", f"{figures.emitted_count:,}"
            text = f"{read} read, {written} written in {took}"
            if figures.lag is not None:
                text += f", {figures.lag:,} behind the newest item"
            if figures.watermark is not None:
                text += f", watermark {moment(min(figures.watermark, LATEST))}"
            if figures.snapshots.age_millis is not None and record.is_active:
                text += f", last snapshot {span(figures.snapshots.age_millis)} ago"
            parts.append(Text(text))
        if figures.stages:
            parts += [Text(), stage_table(figures, self._per_second(figures))]
        sized = {name: each for name, each in figures.sources.items() if each.size is not None}
        if sized:
            parts += [Text(), _bars(sized)]
        return Group(*parts)

    def _per_second(self, figures: "JobMetrics") -> dict[str, float] | None:
        """Items a second by stage, once there are two looks to compare; None for a job that does not run."""
        if self.record.status != "RUNNING":
            self._samples.clear()
            return None
        counts = {name: max(stage.received_count, stage.emitted_count) for name, stage in figures.stages.items()}
        now = time.monotonic()
        self._samples = [*(each for each in self._samples if each[0] > now - _RATE_OVER), (now, counts)]
        then, before = self._samples[0]
        if now - then < _REFRESH:
            return None
        return {name: max(0, count - before.get(name, 0)) / (now - then) for name, count in counts.items()}


def _bars(sources: dict[str, Any]) -> "RenderableType":
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    from jetbridge.cli.showing import clean

    grid = Table.grid(padding=(0, 2))
    for name, source in sources.items():
        part = min(1.0, source.position / source.size) if source.size else 1.0
        bar = ProgressBar(total=1.0, completed=part, width=_BAR)
        grid.add_row(clean(name), bar, f"{part:4.0%}", f"{source.position:,} of {source.size:,}")
    return grid
