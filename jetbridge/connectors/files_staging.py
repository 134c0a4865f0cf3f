"""Staged files: hidden ones that grow with each commit and can be cut back to it.

They lie in the directory of what they become, so that the last step is a rename
within one file system: a reader sees no file or a complete one.
"""

from __future__ import annotations

import abc
import contextlib
import errno
import fcntl
import glob
import os
import time
import zlib
from typing import IO, TYPE_CHECKING, Any

from jetbridge.errors import SinkError

if TYPE_CHECKING:
    from jetbridge.connectors.base import ConnectorContext

LOCK_SECONDS = 10.0
_POLL_SECONDS = 0.02
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


class StagedFile:
    """A file that only grows, made by `create` or `reopen`.

    One process at a time has it: a worker that lost its job may live on for a
    moment, and must not write into what its successor has opened.

    Attributes:
        path: Where it lies.
        length: Its bytes, those that are still buffered included.
    """

    def __init__(self, path: str, mode: str) -> None:
        self.path = path
        self.length = 0
        self._file: IO[bytes] = open(path, mode, buffering=1 << 20)  # noqa: SIM115 - closed in close()
        self._dirty = False
        self._new = True
        try:
            _lock(self._file, path)
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(cls, path: str) -> StagedFile:
        """Make a new one."""
        return cls(path, "wb")

    @classmethod
    def reopen(cls, path: str, length: int, what: str) -> StagedFile:
        """Open one and cut it to a length.

        Args:
            path: Where it lies.
            length: How long it was at the commit.
            what: The sink, for messages.

        Raises:
            SinkError: When it is gone or shorter.
        """
        try:
            staged = cls(path, "r+b")
        except FileNotFoundError:
            raise SinkError(
                f"{what} cannot go on: the staged file {path}, which held {length} bytes of committed rows, "
                f"is gone: restore it, or submit the job anew"
            ) from None
        found = os.fstat(staged._file.fileno()).st_size
        if found < length:
            staged.close()
            raise SinkError(
                f"{what} cannot go on: the staged file {path} has {found} bytes, but {length} were committed: "
                f"restore it, or submit the job anew"
            )
        staged._file.truncate(length)
        staged._file.seek(length)
        staged.length = length
        staged._dirty = found > length
        return staged

    def append(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._file.write(data)
        self.length += len(data)
        self._dirty = True

    def sync(self) -> None:
        """Make everything durable."""
        if self._dirty or self._new:
            self._file.flush()
            os.fsync(self._file.fileno())
        if self._new:
            sync_folder(self.path)
        self._dirty = self._new = False

    def close(self) -> None:
        """Close it; what was not synced may be lost."""
        with contextlib.suppress(OSError):  # closing writes what is buffered, which a full disk refuses
            self._file.close()


class Output(abc.ABC):
    """Where the bytes of a file sink go: the one file of a batch job, or the parts of a stream."""

    @property
    @abc.abstractmethod
    def length(self) -> int:
        """The bytes of the current file; a new one has none, not even a header."""

    @abc.abstractmethod
    def open(self) -> None:
        """Begin a fresh run, and remove what earlier ones left staged."""

    @abc.abstractmethod
    def reopen(self, position: dict[str, Any]) -> None:
        """Go on at a position."""

    def begin(self) -> None:
        """Called before each chunk: the moment to turn to another file."""

    @abc.abstractmethod
    def append(self, data: bytes) -> None:
        """Add bytes to the current file."""

    @abc.abstractmethod
    def sync(self) -> None:
        """Make everything durable."""

    @abc.abstractmethod
    def position(self) -> dict[str, Any]:
        """Make everything durable and say how much it is."""

    def due(self) -> bool:
        """Whether something waits to become visible; see `Sink.due`."""
        return False

    def committed(self, position: dict[str, Any] | None) -> None:
        """A commit holds the position, or the job keeps none."""

    @abc.abstractmethod
    def pause(self) -> None:
        """Close and keep everything."""

    @abc.abstractmethod
    def complete(self) -> None:
        """Publish everything."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close and leave nothing behind that is hidden."""


def stem(folder: str, name: str, context: ConnectorContext) -> str:
    """The start of the hidden files' paths of one stage of one job, for all of its runs."""
    short = os.fsencode(name)[:80].decode(errors="ignore")
    return os.path.join(folder, f".{short}.{zlib.crc32(f'{context.job_id} {context.stage}'.encode()):08x}")


def hidden(start: str) -> list[str]:
    """The files whose paths begin so and go on after a dot."""
    return sorted(glob.glob(f"{glob.escape(start)}.*"))


def remove(*paths: str) -> None:
    """Remove files; those that are gone already do no harm."""
    for path in paths:
        try:
            os.remove(path)
        except FileNotFoundError:
            continue


def sync_folder(path: str) -> None:
    """Make the names in a file's directory durable."""
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _lock(file: IO[bytes], path: str) -> None:
    # such a lock belongs to the process, so children that inherit the file do not hold it
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return  # a file system without locks
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
        if time.monotonic() > deadline:
            raise SinkError(f"another process still writes the staged file {path}: end it and try again")
        time.sleep(_POLL_SECONDS)
