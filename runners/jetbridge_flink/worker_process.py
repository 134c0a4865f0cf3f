"""A worker process: forked from the warm pool, it serves one Flink TaskManager as Beam's SDK harness.

A job may tell its workers about itself by the parameter ``jetbridge`` of its
environment, a JSON object; each field may be left out:

    path:    The ``sys.path`` to import from.
    more:    Folders to import from after the process's own; for workers with an environment of their own.
    cwd:     The working directory.
    argv:    ``sys.argv``.
    environ: Environment variables to add.
    levels:  Log levels as numbers, by logger; "" is the root.
    log:     The file that what is printed and logged is appended to, if its folder is there.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import io
import json
import logging
import os
import select
import signal
import sys
import threading
import time
import traceback
import types
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from jetbridge.beam.sampling import without_sampling
from jetbridge.jobs.console import set_levels
from jetbridge.jobs.joblog import ErrorFile, JobLogHandler
from jetbridge_flink import harness_state
from jetbridge_flink.failures import shorten

if TYPE_CHECKING:
    from pathlib import Path

    from jetbridge_flink.worker_lines import Lines

PARAMETER = "jetbridge"

_LINGER = 3.0  # seconds that user code may still run after the runner has let go of the worker
_PR_SET_PDEATHSIG = 1
_LOGGER = logging.getLogger("jetbridge.flink")


def warm() -> None:
    """Import what every worker needs, and make it quick. Called in the pool, before anything is forked."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it reports each connection that ends, on stderr
    logging.disable(logging.WARNING)  # of optional packages that Beam does not find
    import apache_beam.runners.worker.sdk_worker
    import apache_beam.transforms.userstate  # noqa: F401

    import jetbridge.beam.translate  # noqa: F401

    logging.disable(logging.NOTSET)
    without_sampling()
    harness_state.quicken()


LET_GO = 100
"""The exit code of a worker that the runner has let go: 0 is also that of a user's ``os._exit(0)``."""


def main(lines: Lines, spec: dict[str, Any], log: Path) -> NoReturn:
    """Become the worker, in a process that was just forked.

    Args:
        lines: The connection to the pool: {"type": "connected"} or {"type":
            "broken", "message": text} is sent; when it closes, the pool has ended
            and so does this process.
        spec: worker, control, params, state_cache and data_buffer_ms.
        log: The file to print to, unless the job names one.
    """
    code = 1
    try:
        die_with_parent()
        job = json.loads(spec["params"].get(PARAMETER) or "{}")
        redirect(job.get("log"), str(log))
        take_over(job)
        with open(log, "a", buffering=1, encoding="utf-8") as own:
            tame(own)
            close_work_when_told()
            code = _serve(lines, spec)
    except BaseException as error:
        with contextlib.suppress(OSError):
            lines.send({"type": "broken", "message": f"{type(error).__name__}: {error}"})
        logging.getLogger("jetbridge.flink").exception("the worker ends")
    finally:
        with contextlib.suppress(BaseException):
            close_work()
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def close_work() -> None:
    """Destroy the services of the process's job; it has as long as the pool waits before it kills."""
    work = sys.modules.get("jetbridge_flink.work")  # else it has done nothing
    if work is not None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        work.close()


def close_work_when_told() -> None:
    """On SIGTERM, too, which comes while a function still runs: then die of it as without this."""

    def told(number: int, frame: types.FrameType | None) -> None:
        with contextlib.suppress(Exception):
            close_work()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, told)


def die_with_parent() -> None:
    """On Linux: be killed when the parent ends, even while code runs that never lets another thread run."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _serve(lines: Lines, spec: dict[str, Any]) -> int:
    import grpc
    from apache_beam.runners.worker.sdk_worker import SdkHarness

    harness = SdkHarness(
        spec["control"],
        worker_id=spec["worker"],
        state_cache_size=spec["state_cache"],
        data_buffer_time_limit_ms=spec["data_buffer_ms"],
    )
    channel = harness._control_channel
    harness._control_channel = grpc.intercept_channel(channel, _connection_report(lines, channel))
    threading.Thread(target=_watch, args=(lines, harness), name="jetbridge-watch", daemon=True).start()
    try:
        harness.run()
    except grpc.RpcError as error:  # the TaskManager died, or its job has ended
        _LOGGER.debug("the control connection of worker %s broke: %s", spec["worker"], error)
    return LET_GO


def _connection_report(lines: Lines, channel: Any) -> Any:
    """An interceptor that tells the pool when the runner has really got the worker's control stream.

    A runner that has been told of a worker's start waits for its control stream
    without end, also when the worker was killed in between. The answer to a second
    call on the same connection, although it only says that there is no such method,
    proves that the stream's opening has been read: from then on the runner notices
    when the connection breaks.
    """
    import grpc

    probe = channel.unary_unary("/jetbridge.Pool/Connected")

    class Report(grpc.StreamStreamClientInterceptor):  # type: ignore[misc]
        def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
            call = continuation(details, requests)
            threading.Thread(target=ask, args=(call,), name="jetbridge-connected", daemon=True).start()
            return call

    def ask(call: Any) -> None:
        while call.is_active():  # else the harness meets the same error, and ends
            try:
                probe(b"", timeout=10)
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    with contextlib.suppress(OSError):
                        lines.send({"type": "connected"})
                    return
            time.sleep(0.05)

    return Report()


def _watch(lines: Lines, harness: Any) -> None:
    """End the process when the pool ends, or when user code goes on for long after the runner has let go."""
    let_go: float | None = None
    while True:
        readable, _, _ = select.select([lines], [], [], 0.5)
        if readable and lines.receive() is None:
            break
        if not harness._alive:
            let_go = let_go or time.monotonic()
            if time.monotonic() - let_go > _LINGER:
                _LOGGER.warning("a user's function still ran %g s after its job had let go; it is ended", _LINGER)
                break
    os.killpg(os.getpgrp(), signal.SIGKILL)


def redirect(wanted: str | None, own: str) -> None:
    """Print to a file from now on; see `jetbridge.jobs.joblog`.

    Args:
        wanted: The job's file; its folder is not there where the client's data folder is not.
        own: The file otherwise.
    """
    log = wanted if wanted and os.path.isdir(os.path.dirname(wanted)) else own
    os.makedirs(os.path.dirname(log), mode=0o700, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nowhere, 0), (descriptor, 1), (descriptor, 2)):
        os.dup2(source, target)
    os.close(descriptor)
    os.close(nowhere)
    # By lines: a print is seen at once, and lines of several workers do not mix.
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(ErrorFile(2)), encoding="utf-8", errors="backslashreplace", line_buffering=True
    )
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]


def take_over(job: dict[str, Any]) -> None:
    """Look like the client that submitted the job."""
    os.environ.update(job.get("environ", {}))
    with contextlib.suppress(OSError):  # the folder is gone: the client has none either
        os.chdir(job.get("cwd", "."))
    if "path" in job:
        sys.path[:] = job["path"]
    sys.path += [folder for folder in job.get("more", []) if folder not in sys.path]
    sys.argv[:] = job.get("argv", [""])
    sys.modules["__main__"] = types.ModuleType("__main__")
    logging.basicConfig(format="%(message)s", handlers=[JobLogHandler(os.dup(1))], force=True)
    set_levels(job.get("levels", {}))
    numpy = sys.modules.get("numpy")
    if numpy is not None:  # Python's own generator is seeded anew by a fork, numpy's is not
        numpy.random.seed()
    # Chunks are many small objects that live long: the default thresholds collect far too often for that.
    gc.set_threshold(100_000, 20, 100)


def _short_exc() -> str:
    return shorten(traceback.format_exc())


def tame(own: TextIO) -> None:
    """Have the harness report failures at bearable length, and print them to the worker's own log only."""
    from apache_beam.runners.worker import sdk_worker

    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    sdk_worker.print = lambda text, file=None: print(text, file=own)
    # A message may hold a whole item, of any size; beyond some megabytes the report would end the TaskManager.
    sdk_worker.traceback = types.SimpleNamespace(**{**vars(traceback), "format_exc": _short_exc})
