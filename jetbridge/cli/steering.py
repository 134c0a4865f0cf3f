"""Commands that steer a job: its living owner does what they ask, or else this process becomes the owner."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jetbridge.cli.completing import complete_snapshots
from jetbridge.cli.frame import ActiveJob, AsJson, Home, Parallelism, Runner, SnapshotName, SuspendedJob, command
from jetbridge.errors import SnapshotError

if TYPE_CHECKING:
    from jetbridge.job import Job
    from jetbridge.jobs.session import Session


@command()
def suspend(job: ActiveJob, home: Home = None, as_json: AsJson = False) -> None:
    """Stop a job so that it can be resumed."""
    from jetbridge.cli.opening import steering

    with steering(home, job) as (session, handle):
        handle.suspend()
        _report(session, handle, as_json)


@command()
def resume(
    job: SuspendedJob,
    home: Home = None,
    runner: Runner = None,
    parallelism: Parallelism = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a suspended job, in this process.

    It stays until the job has ended or is suspended again; Ctrl-C suspends it.
    """
    from jetbridge.cli.opening import find, onlooking

    with onlooking(home) as session:
        handle = find(session, job)
        if handle.status.value != "SUSPENDED":
            handle.resume()  # which refuses, and says why
        job_id = handle.id
    _in_foreground(job_id, home, runner, parallelism, as_json)


@command()
def restart(
    job: ActiveJob,
    home: Home = None,
    runner: Runner = None,
    parallelism: Parallelism = None,
    as_json: AsJson = False,
) -> None:
    """Suspend a job and start it again.

    This happens in the process that the job belongs to. If that one has died,
    the job starts in this process, as with resume.
    """
    from jetbridge.cli.opening import steering

    with steering(home, job) as (session, handle):
        record = session.read(handle.id)
        if record is None or record.status != "SUSPENDED" or record.suspended_by != "client":
            handle.restart()
            _report(session, handle, as_json)
            return
        job_id = handle.id
    # The end of its client has suspended it already: what remains to be done is to resume it.
    _in_foreground(job_id, home, runner, parallelism, as_json)


@command()
def cancel(
    job: ActiveJob,
    snapshot_name: Annotated[
        str | None,
        typer.Option(
            "--snapshot", metavar="NAME", help="Keep its state under this name.", autocompletion=complete_snapshots
        ),
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """End a job for good."""
    from jetbridge.cli.opening import steering

    with steering(home, job) as (session, handle):
        if snapshot_name is None:
            handle.cancel()
        else:
            handle.cancel_and_export_snapshot(snapshot_name)
        _report(session, handle, as_json)


@command()
def snapshot(job: ActiveJob, name: SnapshotName, home: Home = None, as_json: AsJson = False) -> None:
    """Keep a job's state under a name; the job goes on."""
    from jetbridge.cli.opening import steering
    from jetbridge.cli.showing import called, clean, dump, size, snapshot_facts
    from jetbridge.store import snapshots

    with steering(home, job) as (session, handle):
        handle.export_snapshot(name)
        taken = snapshots.info(session.settings.home, name)
        record = session.read(handle.id)
        if taken is None or record is None:  # somebody was quick to destroy it
            raise SnapshotError(f"snapshot '{name}' was taken, and destroyed since then by somebody else")
        if as_json:
            dump(snapshot_facts(taken))
        else:
            typer.echo(f"snapshot '{clean(name)}' of {called(record)}: {size(taken.payload_size)}")


def _in_foreground(job_id: str, home: Path | None, runner: str | None, parallelism: int | None, as_json: bool) -> None:
    import jetbridge
    from jetbridge.cli.opening import find
    from jetbridge.cli.watching import accompany

    # Ctrl-C leaves the block as KeyboardInterrupt, which suspends the job as it does in any other program.
    with jetbridge.connect(home=home, runner=runner, parallelism=parallelism) as client:
        handle = find(client._session, job_id)
        handle.resume()
        accompany(client._session, handle, as_json)


def _report(session: "Session", job: "Job", as_json: bool) -> None:
    from jetbridge.cli.showing import called, dump, job_facts

    record = session.read(job.id)
    assert record is not None
    if as_json:
        dump(job_facts(record))
    else:
        typer.echo(f"{called(record)} is {record.status}")
