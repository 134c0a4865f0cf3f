"""How the interpreter ends, so that clients which nobody has shut down end in the same way.

After a normal end jobs are waited for. After an unhandled exception, Ctrl-C or
an exit status other than 0 they are not: an error must not hang.
"""

from __future__ import annotations

import atexit
import functools
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from types import TracebackType

    from jetbridge.jobs.session import Session

failures: list[str] = []
"""Of clients that have ended normally: the jobs that failed and that nobody joined, in words."""
interrupted = False
"""Whether Ctrl-C ended the wait for jobs at the end of the interpreter."""

_open: list[Session] = []
_cause: str | None = None


def watch(session: Session) -> None:
    """End a session with the interpreter, unless it has ended before."""
    _open[:] = [each for each in _open if not each.closed]
    _open.append(session)
    _note_failures()
    # Hooks run in reverse order, and the session's must be the first of all that it uses.
    atexit.unregister(_end)
    atexit.register(_end)


def cause_of(error: BaseException | None) -> str | None:
    """Why a block or a process that was left by an exception abandons its jobs; None if that was a normal end."""
    if error is None or isinstance(error, GeneratorExit):
        return None
    if isinstance(error, SystemExit):
        return None if error.code in (None, 0) else f"its client ended with exit status {error.code}"
    text = f": {error}" if str(error) else ""
    return f"its client ended with {type(error).__name__}{text}"


def _end() -> None:
    global interrupted
    for session in _open:
        try:
            if _cause is not None:
                session.abandon(_cause)
            else:
                session.finish()
        except KeyboardInterrupt:
            interrupted = True
            if sys.stderr is not None:
                print("jetbridge: interrupted; the jobs that were running are SUSPENDED", file=sys.stderr)


def note(error: BaseException | None) -> None:
    """Hear of the exception that ends this program."""
    global _cause
    # An interactive session goes on after an exception.
    if not hasattr(sys, "ps1") and not sys.flags.interactive:
        _cause = cause_of(error)


def _note_failures() -> None:
    """Hear of exceptions that nobody handles, and of the exit status.

    The interpreter tells its exit hooks neither. A status other than 0 is seen
    when it goes through ``sys.exit``, as that of argparse, click and typer does.
    """
    if not hasattr(sys.excepthook, "_jetbridge"):
        previous = sys.excepthook

        @functools.wraps(previous)
        def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> Any:
            note(error)
            return previous(kind, error, trace)

        excepthook._jetbridge = True  # type: ignore[attr-defined]
        sys.excepthook = excepthook
    if not hasattr(sys.exit, "_jetbridge"):
        leave = sys.exit

        @functools.wraps(leave)
        def exit(status: Any = None, /) -> NoReturn:
            if threading.current_thread() is threading.main_thread():
                note(SystemExit(status))
            leave(status)

        exit._jetbridge = True  # type: ignore[attr-defined]
        sys.exit = exit
