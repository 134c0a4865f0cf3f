"""How the interpreter ends, so that clients which nobody has shut down end in the same way.

After a normal end jobs are waited for. After an unhandled exception, Ctrl-C or
an exit status other than 0 they are not: an error must not hang. One status is not
seen: that of a bare ``raise SystemExit(2)`` outside a client's ``with`` block, which
the interpreter tells nobody. It counts as a normal end.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import functools
import opcode
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from jetbridge.jobs.session import Session

failures: list[str] = []
"""Of clients that have ended normally: the jobs that failed and that nobody joined, in words."""
interrupted = False
"""Whether Ctrl-C ended the wait for jobs at the end of the interpreter."""

_open: list[Session] = []
_cause: str | None = None
_program: FrameType | None = None
"""The outermost frame of the main thread: when it has ended, so has the program."""


def watch(session: Session) -> None:
    """End a session with the interpreter, unless it has ended before."""
    global _program
    _open[:] = [each for each in _open if not each.closed]
    _open.append(session)
    _note_failures()
    _program = _program or _outermost_frame()
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
    cause = None if _returned(_program) else _cause
    for session in _open:
        try:
            if cause is not None:
                session.abandon(cause)
            else:
                session.finish()
        except KeyboardInterrupt:
            interrupted = True
            if sys.stderr is not None:
                what = "; the jobs that were running are SUSPENDED" if session.abandoned else ""
                print(f"jetbridge: interrupted{what}", file=sys.stderr)
    if interrupted:  # after all sessions: code from a string that is run later takes it back
        _end_by_interrupt()


def _end_by_interrupt() -> None:
    """Let the process end as Ctrl-C ends any other, by SIGINT: its shell must not take what is not done for done.

    The interpreter does so at the very end, after all hooks, if it has seen a KeyboardInterrupt leave a program or, as
    here, any code from a string. An exit hook has no other way to tell it.
    """
    with contextlib.suppress(KeyboardInterrupt):
        exec("raise KeyboardInterrupt")


def note(error: BaseException | None) -> None:
    """Hear of the exception that ends this program, unless somebody catches it."""
    global _cause
    # An interactive session goes on after an exception.
    if not hasattr(sys, "ps1") and not sys.flags.interactive:
        _cause = cause_of(error)


def _outermost_frame() -> FrameType | None:
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _returned(frame: FrameType | None) -> bool:
    """Whether a frame came to its end, so that what was raised in it was caught; the last instruction tells."""
    return frame is not None and opcode.opname[frame.f_code.co_code[frame.f_lasti]].startswith("RETURN")


def _note_failures() -> None:
    """Hear of exceptions that nobody handles, and of the exit status.

    The interpreter tells its exit hooks neither. A status other than 0 is seen when
    it goes through ``sys.exit``, as that of argparse, click and typer does, or
    through ``exit`` and ``quit``.
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
            _note_exit(status)
            leave(status)

        exit._jetbridge = True  # type: ignore[attr-defined]
        sys.exit = exit
    quitter: Any = type(getattr(builtins, "exit", None))  # none without the module "site"; IPython has its own
    if quitter.__module__ == "_sitebuiltins" and not hasattr(quitter.__call__, "_jetbridge"):
        quit = quitter.__call__

        @functools.wraps(quit)
        def call(self: Any, code: Any = None) -> None:
            _note_exit(code)
            quit(self, code)

        call._jetbridge = True  # type: ignore[attr-defined]
        quitter.__call__ = call


def _note_exit(status: Any) -> None:
    if threading.current_thread() is threading.main_thread():  # elsewhere it ends that thread
        note(SystemExit(status))
