"""Shell completion: ids and names of jobs, names of snapshots. It is silent, whatever goes wrong."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

_MOST = 100


def _jobs(wanted: Callable[[str], bool]) -> Callable[[typer.Context, str], list[tuple[str, str]]]:
    def complete(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
        found: dict[str, str] = {}
        with contextlib.suppress(Exception):  # a completion that cannot help must not disturb the line
            from jetbridge.cli.opening import onlooking

            with onlooking(_home(ctx)) as session:
                for record in session.registry.all():
                    record = session.settled(record)
                    if not wanted(record.status):
                        continue
                    for text, other in ((record.name, record.id), (record.id, record.name)):
                        if text and text.startswith(incomplete):
                            found.setdefault(text, f"{record.status} {other or ''}".strip())
        return list(found.items())[:_MOST]

    return complete


complete_jobs = _jobs(lambda status: True)
complete_active = _jobs(lambda status: status not in ("COMPLETED", "FAILED"))
complete_suspended = _jobs(lambda status: status == "SUSPENDED")


def complete_snapshots(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Names of snapshots."""
    return list(_snapshots(ctx, incomplete))


def _snapshots(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    with contextlib.suppress(Exception):  # as above
        from jetbridge.cli.opening import home_of
        from jetbridge.store import snapshots

        for each in snapshots.listing(home_of(_home(ctx))):
            if each.name.startswith(incomplete):
                yield each.name, f"of {each.job_name or each.job_id}"


def _home(ctx: typer.Context) -> Path | None:
    given: Any = ctx.params.get("home")
    return None if given is None else Path(given)
