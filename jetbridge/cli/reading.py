"""Commands that only read: they start nothing, and run beside any number of clients."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from jetbridge.cli.completing import complete_snapshots
from jetbridge.cli.frame import AnyJob, AsJson, Home, command

_LOOK = 0.1  # seconds
_DRAIN = 0.5  # seconds for which a job's last output may still be on its way when the job has ended


@command(name="list")
def list_(
    every: Annotated[bool, typer.Option("--all", "-a", help="Jobs that have ended, too.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="Only jobs of this name.")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List active jobs, newest first."""
    from jetbridge.cli.opening import NoDataFolder, onlooking
    from jetbridge.cli.showing import COLORS, clean, columns, dump, job_facts, moment, put, why

    found, nothing = [], "there are no jobs" if every else "there are no active jobs; --all lists those that have ended"
    try:
        with onlooking(home) as session:
            found = [session.settled(record) for record in session.registry.all(name)]
    except NoDataFolder as error:
        nothing = str(error)
    if not every:
        found = [record for record in found if record.is_active]
    if as_json:
        dump([job_facts(record) for record in found])
        return
    if not found:
        typer.echo(nothing, err=True)
        return
    from rich.text import Text

    table = columns("ID", "NAME", "STATUS", "SUBMITTED", "REASON")
    for record in found:
        status = Text(record.status, style=COLORS.get(record.status, ""))
        table.add_row(record.id, clean(record.name or ""), status, moment(record.submission_time), why(record))
    put(table)


@command()
def show(job: AnyJob, home: Home = None, as_json: AsJson = False) -> None:
    """Show everything that is known about a job."""
    from jetbridge.cli.opening import find, onlooking
    from jetbridge.cli.showing import clean, columns, dump, job_facts, moment, put, stage_table, why
    from jetbridge.cli.watching import metrics_facts

    with onlooking(home) as session:
        handle = find(session, job)
        record = session.read(handle.id)
        assert record is not None
        metrics = handle.get_metrics()
    if as_json:
        dump({**job_facts(record), "metrics": metrics_facts(metrics)})
        return
    facts: dict[str, Any] = {
        "id": record.id,
        "name": clean(record.name or ""),
        "status": record.status,
        "reason": why(record),
        "owner": f"process {record.owner['pid']}" if record.owner else "",
        "guarantee": record.config.get("processing_guarantee", ""),
        "submitted": moment(record.submission_time),
        "started": moment(record.start_time),
        "ended": moment(record.end_time),
    }
    error = record.error or {}
    facts |= {"failed stage": clean(error.get("stage") or ""), "failed item": clean(error.get("item") or "")}
    table = columns("", "")
    table.show_header = False
    for title, value in facts.items():
        if value:
            table.add_row(title, str(value))
    put(table)
    if metrics.stages:
        put("", stage_table(metrics))
    if error.get("traceback"):
        put("", error["traceback"].rstrip())


@command()
def snapshots(
    destroy: Annotated[
        str | None,
        typer.Option("--destroy", metavar="NAME", help="Remove this one.", autocompletion=complete_snapshots),
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List the named snapshots, newest first, or destroy one."""
    from jetbridge.cli.opening import home_of
    from jetbridge.cli.showing import clean, columns, dump, moment, put, size, snapshot_facts
    from jetbridge.store import snapshots as stored

    folder = home_of(home)
    if destroy is not None:
        stored.destroy(folder, destroy)
        if as_json:
            dump({"destroyed": destroy})
        else:
            typer.echo(f"snapshot '{clean(destroy)}' is destroyed")
        return
    found = stored.listing(folder)
    if as_json:
        dump([snapshot_facts(each) for each in found])
        return
    if not found:
        typer.echo(f"there are no named snapshots in the data folder {folder}", err=True)
        return
    table = columns("NAME", "CREATED", "SIZE", "JOB ID", "JOB", numbers=("SIZE",))
    for each in found:
        job = clean(each.job_name or "")
        table.add_row(clean(each.name), moment(each.creation_time), size(each.payload_size), each.job_id, job)
    put(table)


@command()
def logs(
    job: AnyJob,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Print what a job has printed and logged.

    With --json each line is an object.
    """
    from jetbridge.cli.opening import find, onlooking

    with onlooking(home) as session:
        handle = find(session, job)
        # Not DataFolder.logs, which would make the folder.
        path = session.db.home / "logs" / f"{handle.id}.log"
        printed = _Tail(path, as_json)
        printed.go_on()
        ended: float | None = None
        while follow and (ended is None or time.monotonic() < ended + _DRAIN):
            if printed.go_on() and ended is not None:
                ended = time.monotonic()
            if ended is None and handle.is_terminal():
                ended = time.monotonic()
            time.sleep(_LOOK)
        printed.finish()
    if not printed.any:
        typer.echo("the job has not printed anything", err=True)


class _Tail:
    """Prints a growing file."""

    def __init__(self, path: Path, as_json: bool) -> None:
        self._path = path
        self._as_json = as_json
        self._at = 0
        self._rest = b""
        self.any = False

    def go_on(self) -> bool:
        """Print what is new; whether there was anything."""
        from jetbridge.jobs.joblog import plain

        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                data = file.read()
        except FileNotFoundError:
            return False
        self._at += len(data)
        self.any = self.any or bool(data)
        *lines, self._rest = (self._rest + plain(data)).split(b"\n")
        for line in lines:
            self._print(line)
        return bool(data)

    def finish(self) -> None:
        """Print the last line if it has no end."""
        if self._rest:
            self._print(self._rest)

    def _print(self, line: bytes) -> None:
        from jetbridge.cli.showing import dump

        text = line.decode(errors="replace")
        if self._as_json:
            dump({"line": text}, one_line=True)
        else:
            typer.echo(text)
