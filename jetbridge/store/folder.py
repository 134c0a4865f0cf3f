"""The data folder: who may use it, and what lies where in it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from jetbridge.errors import DataFolderError
from jetbridge.store.faults import mapped

DATABASE = "jetbridge.db"
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class DataFolder:
    """A folder that only its owner can write to, since the pipelines in it are code.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     folder = DataFolder.open(Path(parent) / "data")
        ...     folder.logs.name, sorted(os.listdir(folder.path))
        ('logs', ['.gitignore', 'logs'])

    Attributes:
        path: The absolute path.
    """

    path: Path

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> DataFolder:
        """Check a data folder, or make it when it is not there.

        Args:
            path: The folder; ``~`` is expanded. A new one is made with mode 0700
                and a ``.gitignore`` that keeps it out of version control.

        Raises:
            DataFolderError: When it is a file, belongs to another user, can be
                written by others, or cannot be written by this user.
            DiskFullError: When there is no room to make it.
        """
        folder = Path(os.path.abspath(Path(path).expanduser()))
        with mapped(f"the data folder {folder}"):
            cls._make(folder)
            _check(folder, os.stat(folder), "folder")
            if not os.access(folder, os.R_OK | os.W_OK | os.X_OK, **_EFFECTIVE):
                raise DataFolderError(
                    f"the data folder {folder} cannot be written by this user, or lies on a read-only disk; "
                    "make it writable or choose another one (home=..., JETBRIDGE_HOME)"
                )
            for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
                cls._check_file(folder / name)
        return cls(folder)

    @staticmethod
    def _make(folder: Path) -> None:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700)
        except FileExistsError as error:
            if not folder.is_dir():
                kind = "a file" if os.path.lexists(folder) else f"inside {error.filename}, which is a file"
                raise DataFolderError(
                    f"the data folder {folder} is {kind}, not a folder; choose another path"
                ) from error
        except NotADirectoryError as error:
            raise DataFolderError(f"the data folder {folder} lies below a file; choose another path") from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise DataFolderError(
                f"the data folder {folder} cannot be made: {error.strerror}; "
                "choose another one (home=..., JETBRIDGE_HOME)"
            ) from error
        # Only in an empty folder: "*" in a folder of the user's own would hide that from git.
        if os.access(folder, os.R_OK | os.W_OK | os.X_OK, **_EFFECTIVE) and not os.listdir(folder):
            (folder / ".gitignore").write_text("*\n")

    @staticmethod
    def _check_file(file: Path) -> None:
        try:
            found = os.stat(file)
        except FileNotFoundError:
            return
        if not stat.S_ISREG(found.st_mode):
            raise DataFolderError(f"{file} is no regular file; remove it or choose another data folder")
        _check(file, found, "file")
        if not os.access(file, os.R_OK | os.W_OK, **_EFFECTIVE):
            raise DataFolderError(f"{file} cannot be written by this user; run: chmod u+rw {file}")

    def keep_name(self) -> None:
        """Let the folder's name outlive a power cut, and those of the folders above it: they may be new."""
        for each in self.path.parents:
            with contextlib.suppress(OSError):  # of a folder that this user may not read
                descriptor = os.open(each, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)

    @property
    def database(self) -> Path:
        """The database's file, which need not be there yet."""
        return self.path / DATABASE

    @property
    def logs(self) -> Path:
        """Where the jobs' output is kept; made when asked for."""
        return self._subfolder("logs")

    @property
    def staging(self) -> Path:
        """Where files are written aside before they are renamed; made when asked for."""
        return self._subfolder("staging")

    @property
    def snapshots(self) -> Path:
        """Where named snapshots are kept; made when asked for."""
        return self._subfolder("snapshots")

    def _subfolder(self, name: str) -> Path:
        folder = self.path / name
        with mapped(f"the data folder {self.path}"):
            try:
                folder.mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise DataFolderError(f"{folder} cannot be made: {error.strerror}") from error
        return folder


_EFFECTIVE = {"effective_ids": True} if os.access in os.supports_effective_ids else {}


def _check(path: Path, found: os.stat_result, kind: str) -> None:
    if found.st_uid != os.geteuid():
        raise DataFolderError(
            f"the data {kind} {path} belongs to another user (uid {found.st_uid}; this process runs as "
            f"{os.geteuid()}); pipelines in it are code, so only its owner may use it. "
            "Choose another folder (home=..., JETBRIDGE_HOME)"
        )
    if found.st_mode & _WRITABLE_BY_OTHERS:
        raise DataFolderError(
            f"the data {kind} {path} can be written by other users (mode {stat.S_IMODE(found.st_mode):04o}), and "
            f"pipelines in it are code; run: chmod go-w {path}"
        )
