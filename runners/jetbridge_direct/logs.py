"""What a worker prints and logs, on its way to the client.

Prints travel through pipes, log messages through the worker's channel. Both are
also appended to ``<home>/logs/<job id>.log``.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any, BinaryIO

from jetbridge.jobs.console import Console

if TYPE_CHECKING:
    from pathlib import Path

    from jetbridge_direct.channel import Channel


class WorkerHandler(logging.Handler):
    """In a worker: sends each log message to the client.

    Args:
        channel: The worker's channel; a shared one if the worker forks.
    """

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        """Send one message, its traceback included."""
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        # A client that is gone cannot be told; the worker finds that out by itself and ends.
        with contextlib.suppress(OSError):
            self._channel.send({"type": "log", "name": record.name, "level": record.levelno, "message": text})


def send_logs(channel: Channel) -> None:
    """In a worker: let every logger's messages go to the client, instead of to what the fork server had set up."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    for logger in (logging.getLogger(name) for name in list(root.manager.loggerDict)):
        if logger.handlers:
            logger.handlers.clear()
            logger.propagate = True
    root.addHandler(WorkerHandler(channel))


class Output:
    """In the client: one job's output, on its way to the console and to the job's log file.

    Args:
        path: The log file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._console = Console()

    def printed(self, stream: str, data: bytes) -> None:
        """Show what the worker printed; see `jetbridge.jobs.console.Console.printed`."""
        self._store(data)
        self._console.printed(stream, data)

    def logged(self, message: dict[str, Any]) -> None:
        """Give a worker's log message to the logger of the same name."""
        name, level, text = message["name"], message["level"], message["message"]
        line = f"{time.strftime('%H:%M:%S')} {logging.getLevelName(level)} {name}: {text}\n"
        self._store(line.encode(errors="replace"))
        self._console.logged(name, level, text)

    def close(self) -> None:
        """Close the log file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _store(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk must not stop the job's output, nor the job
            if self._file is None:
                self._path.parent.mkdir(mode=0o700, exist_ok=True)
                self._file = self._path.open("ab", buffering=0)
            self._file.write(data)
