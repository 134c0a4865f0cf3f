"""The command that runs a script with a pipeline."""

import atexit
import logging
import os
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from jetbridge.cli.frame import ExitCode, Home, Parallelism, Runner, code_of, command, complain
from jetbridge.errors import JetbridgeError
from jetbridge.jobs import endings

if TYPE_CHECKING:
    from types import TracebackType


@command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def submit(
    script: Annotated[
        Path, typer.Argument(metavar="SCRIPT", exists=True, dir_okay=False, help="A Python program that submits jobs.")
    ],
    args: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", help="The program's own arguments.")] = None,
    home: Home = None,
    runner: Runner = None,
    parallelism: Parallelism = None,
) -> None:
    """Run a script that submits jobs.

    It runs as with python, under these settings. Options stand before the script.
    """
    settings = {"HOME": home and os.path.abspath(home), "RUNNER": runner, "PARALLELISM": parallelism}
    for name, value in settings.items():
        if value is not None:
            os.environ[f"JETBRIDGE_{name}"] = str(value)
    sys.argv[:] = [str(script), *(args or [])]
    if not getattr(sys.flags, "safe_path", False):  # where python puts the script's folder
        sys.path[0] = os.path.dirname(os.path.realpath(script))
    conclusion = _Conclusion()
    try:
        _run(script)
    except JetbridgeError as error:
        complain(error)
        _end(error, code_of(error))
    except KeyboardInterrupt as error:
        _end(error, ExitCode.INTERRUPTED)
    except SystemExit as error:
        conclusion.wanted = error.code in (None, 0)
        raise
    except Exception as error:  # the script's own: shown as python shows it
        error = error.with_traceback(_of_script(error, script))
        sys.excepthook(type(error), error, error.__traceback__)
        _end(error, ExitCode.ERROR)
    conclusion.wanted = True


def _run(script: Path) -> None:
    """Run a file as ``__main__``, which it stays until the process ends: jobs at work may still need it."""
    module = types.ModuleType("__main__")
    module.__dict__.update(__file__=str(script), __builtins__=__builtins__, __cached__=None)
    sys.modules["__main__"] = module
    code = compile(script.read_bytes(), str(script), "exec", dont_inherit=True)
    exec(code, module.__dict__)


class _Conclusion:
    """Gives the process the exit code of its jobs, after they were waited for.

    That happens when the interpreter ends, after all hooks that the script and
    jetbridge have registered: so it looks then, and must be made before the script runs.
    """

    def __init__(self) -> None:
        self.wanted = False
        atexit.register(self._draw)

    def _draw(self) -> None:
        if not self.wanted or not (endings.failures or endings.interrupted):
            return  # the jobs' clients have printed what failed
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        # An exit hook has no other way to change the exit code.
        os._exit(ExitCode.INTERRUPTED if endings.interrupted else ExitCode.JOB_FAILED)


def _of_script(error: Exception, script: Path) -> "TracebackType | None":
    """The traceback without the frames of this command; none for an error of syntax."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != str(script):
        trace = trace.tb_next
    return trace


def _end(error: BaseException, code: ExitCode) -> NoReturn:
    """End as a program does that the error has ended: its jobs become SUSPENDED."""
    endings.note(error)
    raise SystemExit(int(code))  # not sys.exit, which would take the exit code for the cause
