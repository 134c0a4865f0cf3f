"""Locks on files: they end with the process that holds them, however it ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import weakref
from typing import TYPE_CHECKING

from jetbridge.errors import ClusterError

if TYPE_CHECKING:
    from pathlib import Path

_open: weakref.WeakSet[FileLock] = weakref.WeakSet()


class FileLock:
    """A lock on a file, through a descriptor of its own.

    A process that is forked from the holder closes its copy, so it neither holds
    the lock after the holder's death nor gives it back.

    Args:
        path: The file; it is made when it is not there.
        descriptor: One that holds the lock already, from the process that started this one.
    """

    def __init__(self, path: Path, descriptor: int | None = None) -> None:
        self._path = path
        self.descriptor: int | None = None
        if descriptor is None:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise ClusterError(f"{path} cannot be opened: {error.strerror}") from error
        self.descriptor = descriptor
        _open.add(self)

    def take(self, *, shared: bool = False) -> bool:
        """Take the lock if nobody holds it, or only others that share it; whether that was so."""
        if self.descriptor is None:
            return False
        try:
            fcntl.flock(self.descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == errno.EINTR:
                return False
            raise ClusterError(
                f"{self._path} cannot be locked ({error.strerror}), which clients of one cluster need; "
                "choose a data folder on a disk of this machine"
            ) from error
        return True

    def give_back(self) -> None:
        """Let others take it; it can be taken again."""
        if self.descriptor is not None:
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give it back for good, unless another process was given the descriptor."""
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


def _after_fork() -> None:
    for lock in list(_open):
        with contextlib.suppress(OSError):  # another thread was just closing it
            lock.close()


os.register_at_fork(after_in_child=_after_fork)
