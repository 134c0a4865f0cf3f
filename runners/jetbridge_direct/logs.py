"""What a worker prints and logs, shown by the client as if it had been done there.

Prints travel through pipes, log messages through the worker's channel. Both are
also appended to ``<home>/logs/<job id>.log``.
"""

from __future__ import annotations

import codecs
import contextlib
import logging
import sys
import time
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

if TYPE_CHECKING:
    from pathlib import Path

    from jetbridge_direct.channel import Channel

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


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


def levels() -> dict[str, int]:
    """In the client: the levels that the user has set, by logger, so that a worker sends no message in vain."""
    root = logging.getLogger()
    found = {"": root.level}
    for name, logger in list(root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and logger.level:
            found[name] = logger.level
    return found


def set_levels(chosen: dict[str, int]) -> None:
    """In a worker: take over the client's levels."""
    for name, level in chosen.items():
        logging.getLogger(name).setLevel(level)


class _Console(logging.Handler):
    """Shows jetbridge's messages on stderr while the user has configured no logging."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter(_FORMAT, "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        if logging.getLogger().handlers:  # configured since then: the message is shown there
            return
        stream = sys.stderr
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.write(self.format(record) + "\n")
                stream.flush()


def show_messages() -> None:
    """In the client: make INFO of the logger ``jetbridge`` visible, unless the user has configured logging."""
    logger = logging.getLogger("jetbridge")
    if logger.handlers or logging.getLogger().handlers:
        return
    logger.addHandler(_Console())
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)


class Output:
    """In the client: one job's output, on its way to the console and to the job's log file.

    Args:
        path: The log file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}

    def printed(self, stream: str, data: bytes) -> None:
        """Show what the worker printed.

        Args:
            stream: "stdout" or "stderr".
            data: The bytes; a character may be split over two calls.
        """
        if stream not in self._decoders:
            self._decoders[stream] = codecs.getincrementaldecoder("utf-8")("replace")
        self._store(data)
        self._show(getattr(sys, stream), self._decoders[stream].decode(data))

    def logged(self, message: dict[str, Any]) -> None:
        """Give a worker's log message to the logger of the same name."""
        logger = logging.getLogger(message["name"])
        # The text is complete: no arguments, so that a "%" in it stays one.
        record = logger.makeRecord(message["name"], message["level"], "(worker)", 0, message["message"], (), None)
        line = f"{time.strftime('%H:%M:%S')} {record.levelname} {record.name}: {message['message']}\n"
        self._store(line.encode(errors="replace"))
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)

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

    @staticmethod
    def _show(stream: TextIO | None, text: str) -> None:
        if stream is None or not text:
            return
        with contextlib.suppress(OSError, ValueError):  # the console is closed: the log file has it
            try:
                stream.write(text)
            except UnicodeEncodeError:
                encoding = getattr(stream, "encoding", None) or "ascii"
                stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()
