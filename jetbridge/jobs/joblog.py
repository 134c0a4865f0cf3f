r"""A job's log file when its workers append to it themselves: text for people, in which a program finds its parts.

Control characters that a terminal does not show tell what is what::

    printed to stdout    the text as it is, also what programs print that a function has started
    printed to stderr    SOH STX "no milk\n" ETX
    logged               SOH "12:30:00 INFO jetbridge.orders" STX ": milk\n" ETX

A part is written at once, so those of several workers do not mix. What lies
between them, or is broken off since the disk was full, is text.
"""

from __future__ import annotations

import io
import logging
import os
import re
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOH, _STX, _ETX = b"\x01", b"\x02", b"\x03"
_MARKS = _SOH + _STX + _ETX
_PART = re.compile(rb"\x01(?:\d\d:\d\d:\d\d (\w+) ([^\x00-\x1f]*))?\x02([^\x01-\x03]*)\x03")
_BEGUN = re.compile(rb"\x01[^\x00-\x1f]*(\x02[^\x01-\x03]*)?")
_CONTROL = re.compile("[\x00-\x1f]")
_NAMES = {level: logging.getLevelName(level) for level in (10, 20, 30, 40, 50)}
_LEVELS = {name.encode(): level for level, name in _NAMES.items()}


class Part(NamedTuple):
    r"""A part of a log file.

    Attributes:
        kind: "stdout", "stderr" or "log".
        data: What was printed or logged; of a message without the newline at its end.
        name: The logger's name.
        level: The message's level as a number.
    """

    kind: str
    data: bytes
    name: str = ""
    level: int = 0


class Parts:
    r"""Finds the parts of a log file that grows.

    Example:
        >>> parts = Parts()
        >>> list(parts.found(b"tea\n\x0112:30:00 INFO jetbridge.orders\x02: mi"))
        [Part(kind='stdout', data=b'tea\n', name='', level=0)]
        >>> list(parts.found(b"lk\n\x03"))
        [Part(kind='log', data=b'milk', name='jetbridge.orders', level=20)]
    """

    def __init__(self) -> None:
        self._rest = b""

    def found(self, data: bytes) -> Iterator[Part]:
        """The parts that are whole with what has come; text is given at once."""
        data, at, self._rest = self._rest + data, 0, b""
        while at < len(data):
            begin = data.find(_SOH, at)
            if begin != at:
                end = begin if begin > at else len(data)
                yield Part("stdout", data[at:end])
                at = end
                continue
            whole = _PART.match(data, at)
            if whole is not None:
                yield _part(whole)
                at = whole.end()
            elif _BEGUN.fullmatch(data, at):
                self._rest = data[at:]
                return
            else:  # broken off, or it was printed: text as far as a part may begin again
                following = data.find(_SOH, at + 1)
                end = following if following > at else len(data)
                yield Part("stdout", data[at:end])
                at = end

    def rest(self) -> Iterator[Part]:
        """What is left of a part that was broken off, when nothing more will come."""
        rest, self._rest = self._rest, b""
        if rest:
            yield Part("stdout", rest)


def _part(found: re.Match[bytes]) -> Part:
    level, name, data = found.groups()
    if level is None:
        return Part("stderr", data)
    number = _LEVELS.get(level) or (int(level) if level.isdigit() else logging.INFO)
    return Part("log", data.removeprefix(b": ").removesuffix(b"\n"), name.decode(errors="replace"), number)


def plain(data: bytes) -> bytes:
    r"""The text of a log file, for people.

    Example:
        >>> plain(b"\x0112:30:00 INFO jetbridge.orders\x02: milk\n\x03")
        b'12:30:00 INFO jetbridge.orders: milk\n'
    """
    return data.translate(None, _MARKS)


class JobLogHandler(logging.Handler):
    """In a worker: appends log messages.

    Args:
        descriptor: The log file's.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def emit(self, record: logging.LogRecord) -> None:
        """Append one message, its traceback included."""
        try:
            level = _NAMES.get(record.levelno, str(record.levelno))
            header = f"{time.strftime('%H:%M:%S')} {level} {_CONTROL.sub('?', record.name)}"
            _append(self._descriptor, header, f": {self.format(record)}\n".encode(errors="backslashreplace"))
        except Exception:
            self.handleError(record)


class ErrorFile(io.FileIO):
    """In a worker: what ``sys.stderr`` writes to.

    Args:
        descriptor: The log file's; it stays open.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)

    def write(self, data: object, /) -> int:
        """Append what is printed."""
        text = bytes(data)  # type: ignore[call-overload]
        _append(self.fileno(), "", text)
        return len(text)


def _append(descriptor: int, header: str, text: bytes) -> None:
    for mark in _MARKS:  # within a part they are shown, and end nothing
        text = text.replace(bytes([mark]), rb"\x%02d" % mark)
    part = memoryview(_SOH + header.encode(errors="backslashreplace") + _STX + text + _ETX)
    while part:
        part = part[os.write(descriptor, part) :]
