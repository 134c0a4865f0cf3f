"""The client's side of what a job's workers print and log: shown as if it had been done in the client."""

from __future__ import annotations

import codecs
import contextlib
import logging
import sys

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class Console:
    """Where one job's output goes in the client: to its streams and to its loggers."""

    def __init__(self) -> None:
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}

    def printed(self, stream: str, data: bytes) -> None:
        """Show what a worker has printed.

        Args:
            stream: "stdout" or "stderr".
            data: The bytes; a character may be split over two calls.
        """
        if stream not in self._decoders:
            self._decoders[stream] = codecs.getincrementaldecoder("utf-8")("replace")
        text = self._decoders[stream].decode(data)
        out = getattr(sys, stream)
        if out is None or not text:
            return
        with contextlib.suppress(OSError, ValueError):  # the console is closed: the job's log file has it
            try:
                out.write(text)
            except UnicodeEncodeError:
                encoding = getattr(out, "encoding", None) or "ascii"
                out.write(text.encode(encoding, "backslashreplace").decode(encoding))
            out.flush()

    def logged(self, name: str, level: int, message: str) -> None:
        """Give what a worker has logged to the logger of the same name.

        Args:
            name: The logger's name.
            level: The level as a number.
            message: The message, complete with its traceback.
        """
        logger = logging.getLogger(name)
        if logger.isEnabledFor(level):
            # The text is complete: no arguments, so that a "%" in it stays one.
            logger.handle(logger.makeRecord(name, level, "(worker)", 0, message, (), None))


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


class _Shown(logging.Handler):
    """Shows jetbridge's messages on stderr while the user has configured no logging."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter(_FORMAT, "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        if _configured():  # since then: the message is shown there
            return
        stream = sys.stderr
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.write(self.format(record) + "\n")
                stream.flush()


def show_messages() -> None:
    """In the client: make INFO of the logger ``jetbridge`` visible, unless the user has configured logging."""
    logger = logging.getLogger("jetbridge")
    if logger.handlers:
        return
    if not _configured():
        logger.addHandler(_Shown())
    elif not _configured_by_beam():  # whose handler shows the messages
        return
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)


def _configured() -> bool:
    """Whether the user has; a handler that shows nothing is none, such as stands there while Beam is imported."""
    return any(not isinstance(handler, logging.NullHandler) for handler in logging.getLogger().handlers)


def _configured_by_beam() -> bool:
    """Whether the user's import of Beam has configured logging, by a warning to the root logger.

    The user's own ``basicConfig()`` looks the same, so without Beam it is taken for that.
    """
    root = logging.getLogger()
    if "apache_beam" not in sys.modules or root.level != logging.WARNING or len(root.handlers) != 1:
        return False
    [handler] = root.handlers
    return (
        type(handler) is logging.StreamHandler
        and handler.level == logging.NOTSET
        and getattr(handler.formatter, "_fmt", None) == logging.BASIC_FORMAT
    )
