"""The files of named snapshots: their names, their order, and how one appears as a whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import string
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote

from jetbridge.errors import SnapshotError
from jetbridge.store import snapshot_format
from jetbridge.store.crashpoints import reach

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SUFFIX = ".snapshot"
_PARTIAL = re.compile(r".+\.(\d{1,18})\.partial")
_LONGEST = 200  # bytes of the quoted name: file systems take 255, and a partial file has a longer ending
_LAST_NUMBER = 10**18 - 1
_FULL_SYNC = getattr(fcntl, "F_FULLFSYNC", None)  # on macOS fsync alone stops at the disk's own cache
# No capital letters, since "Nightly" and "nightly" are one file on some disks.
_PLAIN = frozenset(f"{string.ascii_lowercase}{string.digits}-_.".encode())


def check_name(name: object) -> str:
    """A snapshot's name, when it is one.

    Raises:
        SnapshotError: Which names the rule.
    """
    if not isinstance(name, str) or not name.strip():
        rule = "be a text that is not empty"
    elif "/" in name or "\\" in name or ".." in name:
        rule = "not hold '/', '\\' or '..'"
    elif name.startswith(".") or name != name.strip():
        rule = "begin and end with no space, and begin with no dot"
    elif not name.isprintable():
        rule = "hold only characters that can be printed"
    elif len(_quoted(name)) > _LONGEST:
        rule = f"have at most {_LONGEST} bytes (as a part of a URL)"
    else:
        return name
    shown = repr(name) if len(repr(name)) <= 80 else repr(name)[:80] + "…"
    raise SnapshotError(f"a snapshot's name must {rule}; got {shown} ({type(name).__name__})")


def path_of(folder: Path, name: str) -> Path:
    """The file of a snapshot."""
    return folder / f"{_quoted(check_name(name))}{_SUFFIX}"


def names(folder: Path) -> list[str]:
    """The names of the snapshots that are there, whole or not, sorted."""
    found = []
    for file in _listed(folder):
        name = unquote(file[: -len(_SUFFIX)])
        if f"{_quoted(name)}{_SUFFIX}" == file:
            with contextlib.suppress(SnapshotError):
                found.append(check_name(name))
    return sorted(found)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A snapshot's file for reading; what replaces it meanwhile is another file.

    Raises:
        FileNotFoundError: When it is not there.
        Damaged: When it is no regular file.
    """
    # Not to wait for ever on a named pipe.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=1 << 18) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise snapshot_format.Damaged("it is no regular file")
        yield file


@contextlib.contextmanager
def replacing(folder: Path, name: str) -> Iterator[tuple[BinaryIO, int]]:
    """Write a snapshot's file aside; at the block's good end it appears under its name, durably.

    Yields:
        The file, and its number: larger than that of any snapshot that is there,
        so that the order of creation does not hang on the clock.
    """
    path = path_of(folder, name)
    partial: Path | None
    partial, descriptor, number = _begin(folder, name)
    try:
        with os.fdopen(descriptor, "wb", buffering=1 << 20) as file:
            yield file, number
            file.flush()
            reach("snapshot:fsync")
            _sync(file.fileno())
            with _locked(folder):
                reach("snapshot:rename")
                # A slow export does not undo one that began later.
                if (_number_at(path) or 0) < number:
                    os.replace(partial, path)
                    partial = None
            reach("snapshot:rename")
            _sync_folder(folder)
            _sync_folder(folder.parent)  # the folder may be new itself
    finally:
        if partial is not None:
            with contextlib.suppress(OSError):
                os.unlink(partial)


def remove(folder: Path, name: str) -> None:
    """Remove a snapshot's file, durably.

    Raises:
        FileNotFoundError: When it is not there.
    """
    os.unlink(path_of(folder, name))
    _sync_folder(folder)


def _begin(folder: Path, name: str) -> tuple[Path, int, int]:
    """Make a partial file of one's own, and remove those of processes that have died."""
    with _locked(folder):
        found = [_number_at(path_of(folder, each)) for each in names(folder)]
        number = 1 + max((*(each for each in found if each is not None), *_partial_numbers(folder)), default=0)
        partial = folder / f"{_quoted(name)}.{number}.partial"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(partial, flags, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held while this process lives and writes
        return partial, descriptor, number


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)


def _number_at(path: Path) -> int | None:
    with contextlib.suppress(OSError, snapshot_format.Damaged, snapshot_format.TooNew), opened(path) as file:
        number = snapshot_format.number_of(file)
        if number < _LAST_NUMBER:  # a stranger's could leave no room for the next
            return number
    return None


def _partial_numbers(folder: Path) -> Iterator[int]:
    for file in _listed(folder):
        match = _PARTIAL.fullmatch(file)
        if match is None:
            continue
        with contextlib.suppress(OSError):
            descriptor = os.open(folder / file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(folder / file)
            except BlockingIOError:
                yield int(match[1])
            finally:
                os.close(descriptor)


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _quoted(name: str) -> str:
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02x}" for byte in name.encode("utf-8", "surrogatepass"))


def _sync(descriptor: int) -> None:
    if _FULL_SYNC is not None:
        with contextlib.suppress(OSError):  # not on every file system
            fcntl.fcntl(descriptor, _FULL_SYNC)
            return
    os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)
