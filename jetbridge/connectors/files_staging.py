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
import secrets
import time
import zlib
from typing import IO, TYPE_CHECKING, Any

from jetbridge.errors import SinkError

if TYPE_CHECKING:
    from jetbridge.connectors.base import ConnectorContext

LOCK_SECONDS = 1.0
"""How long a file is waited for that another process has: one that was killed lets go of it at once."""
_POLL_SECONDS = 0.02
_COPY_BYTES = 1 << 20
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


class StagedFile:
    """A file that only grows, made by `create` or `reopen`.

    One process at a time writes to it. A worker that lost its job may live on,
    even stopped for hours in the middle of a write, so names are never used
    twice, and what such a worker still has open is left to it.

    Attributes:
        path: Where it lies.
        length: Its bytes, those that are still buffered included.
    """

    def __init__(self, file: IO[bytes], path: str, length: int, *, new: bool) -> None:
        self.path = path
        self.length = length
        self._file = file
        self._dirty = self._new = new

    @property
    def name(self) -> str:
        """Its name, for a position."""
        return os.path.basename(self.path)

    @classmethod
    def create(cls, start: str) -> StagedFile:
        """Make a new one.

        Args:
            start: How its path begins.
        """
        path = f"{start}.{secrets.token_hex(4)}.staged"
        file = open(path, "xb", buffering=1 << 20)  # noqa: SIM115 - closed in close()
        _lock(file, 0)
        return cls(file, path, 0, new=True)

    @classmethod
    def reopen(cls, start: str, name: str, length: int, what: str) -> StagedFile:
        """Go on with one at a length. When another process still has it, go on with a copy, under another name.

        Args:
            start: How its path begins.
            name: Its name.
            length: How long it was at the commit.
            what: The sink, for messages.

        Raises:
            SinkError: When it is gone or shorter.
        """
        path = os.path.join(os.path.dirname(start), os.path.basename(name))
        try:
            file = open(path, "r+b", buffering=1 << 20)  # noqa: SIM115 - closed in close()
        except FileNotFoundError:
            raise SinkError(
                f"{what} cannot go on: the staged file {path}, which held {length} bytes of committed rows, "
                f"is gone: restore it, or submit the job anew"
            ) from None
        try:
            found = os.fstat(file.fileno()).st_size
            if found < length:
                raise SinkError(
                    f"{what} cannot go on: the staged file {path} has {found} bytes, but {length} were committed: "
                    f"restore it, or submit the job anew"
                )
            if not _lock(file, LOCK_SECONDS):
                copy = cls.create(start)
                try:
                    copy._fill(file, length)
                except BaseException:
                    copy.close()
                    remove(copy.path)
                    raise
                file.close()
                return copy
            file.truncate(length)
            file.seek(length)
        except BaseException:
            file.close()
            raise
        staged = cls(file, path, length, new=False)
        staged._dirty = found > length
        return staged

    def _fill(self, file: IO[bytes], length: int) -> None:
        while self.length < length and (data := file.read(min(_COPY_BYTES, length - self.length))):
            self.append(data)
        self.sync()

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
        """A commit holds the position, or the job keeps none.

        Only now it is sure that this process has the job: what others left staged may not be removed before.
        """

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


def remove_unused(*paths: str) -> None:
    """Remove files that no process has open."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError), open(path, "r+b") as file:
            if _lock(file, 0):
                os.remove(path)


def make_folder(path: str) -> None:
    """Make a directory and those above it where they are missing, durably."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for each in reversed(missing):
        os.makedirs(each, exist_ok=True)
        sync_folder(each)


def sync_folder(path: str) -> None:
    """Make the names in a file's directory durable."""
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _lock(file: IO[bytes], seconds: float) -> bool:
    """Lock a file; False when another process has it for that long."""
    # such a lock belongs to the process, so children that inherit the file do not hold it
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return True  # a file system without locks
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
