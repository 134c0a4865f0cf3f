"""What the commands share: the application, options, errors as one line, exit codes."""

# No postponed annotations in the modules of commands: typer evaluates them, so they are needed at run time.

import enum
import functools
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from jetbridge.cli.completing import complete_active, complete_jobs, complete_snapshots, complete_suspended
from jetbridge.errors import JetbridgeError, JobCancelledError, JobFailedError

Function = TypeVar("Function", bound=Callable[..., Any])


class ExitCode(enum.IntEnum):
    """What the command's exit status means."""

    OK = 0
    ERROR = 1
    USAGE = 2
    NO_SUCH_JOB = 3
    JOB_FAILED = 4
    INTERRUPTED = 130


class NoSuchJob(JetbridgeError):
    """No job has the id or name that was given."""


Home = Annotated[
    Path | None,
    typer.Option("--home", metavar="FOLDER", help="The data folder; else $JETBRIDGE_HOME, settings, ./.jetbridge."),
]
Runner = Annotated[
    str | None, typer.Option("--runner", metavar="NAME", help="Who runs jobs; else as the settings say.")
]
Parallelism = Annotated[int | None, typer.Option("--parallelism", min=1, help="How many cores a job uses; else all.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
AnyJob = Annotated[str, typer.Argument(metavar="JOB", help="A job's id or name.", autocompletion=complete_jobs)]
ActiveJob = Annotated[str, typer.Argument(metavar="JOB", help="A job's id or name.", autocompletion=complete_active)]
SuspendedJob = Annotated[
    str, typer.Argument(metavar="JOB", help="A job's id or name.", autocompletion=complete_suspended)
]
SnapshotName = Annotated[
    str, typer.Argument(metavar="NAME", help="The snapshot's name.", autocompletion=complete_snapshots)
]

app = typer.Typer(
    name="jetbridge",
    no_args_is_help=True,
    rich_markup_mode=None,  # errors of usage are lines, without a frame around them
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit status: 0 done, 1 an error, 2 wrong usage, 3 no such job, 4 the job failed "
        "(submit, resume, restart), 130 Ctrl-C."
    ),
)


def command(to: typer.Typer | None = None, **settings: Any) -> Callable[[Function], Function]:
    """Make a function a command, with its errors as one line on stderr and their exit codes.

    Args:
        to: The group that it belongs to; None for the application itself.
        **settings: As for typer's ``command``.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            try:
                function(*args, **kwargs)
            except JetbridgeError as error:
                complain(error)
                raise typer.Exit(code_of(error)) from error
            except KeyboardInterrupt:
                raise typer.Exit(ExitCode.INTERRUPTED) from None

        (app if to is None else to).command(**{"name": function.__name__, **settings})(run)
        return function

    return decorate


def complain(error: JetbridgeError) -> None:
    """Print an error as one line; the traceback of a user's function is what `show` is for."""
    first = str(error).strip().partition("\n")[0]
    if isinstance(error, JobFailedError) and error.user_traceback:
        first += " (jetbridge show prints its traceback)"
    print(f"jetbridge: {first}", file=sys.stderr)


def code_of(error: JetbridgeError) -> ExitCode:
    """The exit status for an error.

    Example:
        >>> from jetbridge.errors import JobFailedError
        >>> int(code_of(JobFailedError("it failed")))
        4
    """
    if isinstance(error, NoSuchJob):
        return ExitCode.NO_SUCH_JOB
    return ExitCode.JOB_FAILED if isinstance(error, (JobFailedError, JobCancelledError)) else ExitCode.ERROR


def main() -> None:
    """Run the command; what ``jetbridge`` in a terminal calls."""
    try:
        app(prog_name="jetbridge")  # also as python -m jetbridge
    except KeyboardInterrupt:  # before or after a command's own work
        os._exit(ExitCode.INTERRUPTED)
    finally:
        # Under -m the interpreter ends by SIGINT, whatever the exit status, when Ctrl-C came in the middle
        # of code from a string (as a dataclass has it), though it was caught. Another such code clears that.
        exec("")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(version("jetbridge"))
        raise typer.Exit


@app.callback()
def _about(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Submit pipelines, see their jobs, and steer them."""
