"""The store's own code on a recorded disk: SQLite through a VFS of apsw, other files through the system's calls.

The store opens its connections with the sqlite3 module, which knows no VFS; here
they are apsw's, behind what the store uses of sqlite3's.
"""

from __future__ import annotations

import io
import itertools
import os
import sqlite3

import apsw

from jetbridge.connectors import files_parts, files_staging, files_whole
from jetbridge.store import database, folder, snapshot_files

_ERRORS = {
    apsw.ConstraintError: (sqlite3.IntegrityError, "{}"),
    apsw.BusyError: (sqlite3.OperationalError, "database is locked"),
    apsw.CorruptError: (sqlite3.DatabaseError, "database disk image is malformed"),
    apsw.FullError: (sqlite3.OperationalError, "database or disk is full"),
    apsw.ConnectionClosedError: (sqlite3.ProgrammingError, "Cannot operate on a closed database."),
}
_KEPT = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL
_names = itertools.count()


class _File(apsw.VFSFile):
    def __init__(self, disk, name, flags):
        self.path = name.filename() if isinstance(name, apsw.URIFilename) else name
        existed = os.path.exists(self.path)
        super().__init__("", name, flags)
        self.disk, self.inode = disk, disk.inode(self.path, new=not existed)
        # SQLite syncs the folder with the first sync of a log that it may have made.
        self.with_folder = bool(flags[0] & (apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL))

    def xWrite(self, data, offset):
        self.disk.write(self.inode, offset, data)
        super().xWrite(data, offset)

    def xTruncate(self, size):
        self.disk.truncate(self.inode, size)
        super().xTruncate(size)

    def xSync(self, flags):
        super().xSync(flags)
        self.disk.sync(self.inode)
        if self.with_folder:
            self.with_folder = False
            self.disk.sync_path(os.path.dirname(self.path))


class _VFS(apsw.VFS):
    def __init__(self, disk):
        self.disk, self.name = disk, f"power-{os.getpid()}-{next(_names)}"
        super().__init__(self.name, "")

    def xOpen(self, name, flags):
        return _File(self.disk, name, flags) if flags[0] & _KEPT else super().xOpen(name, flags)

    def xDelete(self, name, sync):
        super().xDelete(name, sync)
        self.disk.unlink(name)
        if sync:
            self.disk.sync_path(os.path.dirname(name))


class _Rows:
    """A finished statement, as a cursor of sqlite3's."""

    def __init__(self, rows, changed, last):
        self._rows, self.rowcount, self.lastrowid = iter(rows), changed, last

    def __iter__(self):
        return self._rows

    def fetchone(self):
        return next(self._rows, None)

    def fetchall(self):
        return list(self._rows)


class Connection:
    """A connection of apsw's with what the store uses of a sqlite3.Connection.

    Args:
        path: The database.
        vfs: The VFS's name.
        commits: Called around each commit of a write: with True before it and False after it.
    """

    def __init__(self, path, vfs, commits, timeout):
        self._connection = apsw.Connection(os.fspath(path), vfs=vfs)
        self._connection.set_busy_timeout(int(timeout * 1000))
        self._commits, self._writes = commits, False

    @property
    def in_transaction(self):
        return self._connection.in_transaction

    def execute(self, statement, arguments=()):
        self._writes = statement == "BEGIN IMMEDIATE" or (self._writes and self.in_transaction)
        noted = self._commits if statement == "COMMIT" and self._writes else None
        if noted:
            noted(self, True)
        if statement == "PRAGMA busy_timeout = 2000":  # to empty the log: here nobody else runs who could make way
            statement = "PRAGMA busy_timeout = 1"
        before = self._connection.total_changes()
        try:
            rows = self._connection.execute(statement, tuple(arguments)).fetchall()
        except apsw.Error as error:
            made, text = _ERRORS.get(type(error), (sqlite3.OperationalError, "{}"))
            raise made(text.format(error)) from error
        if noted:
            noted(self, False)
        return _Rows(rows, self._connection.total_changes() - before, self._connection.last_insert_rowid())

    def executemany(self, statement, many):
        return _Rows([], sum(self.execute(statement, arguments).rowcount for arguments in many), None)

    def close(self):
        self._connection.close()


class _Sqlite:
    """The sqlite3 module with another `connect`."""

    def __init__(self, vfs, commits):
        self._vfs, self._commits = vfs, commits

    def __getattr__(self, name):
        return getattr(sqlite3, name)

    def connect(self, path, *, timeout, isolation_level, check_same_thread):
        assert isolation_level is None
        assert not check_same_thread
        return Connection(path, self._vfs, self._commits, timeout)


class _Raw(io.FileIO):
    """A file whose writes are noted as they reach the system."""

    def __init__(self, disk, file, mode, inode):
        super().__init__(file, mode)
        self._disk, self._inode = disk, inode
        if mode == "wb":
            disk.truncate(inode, 0)

    def write(self, data):
        self._disk.write(self._inode, self.tell(), data)
        return super().write(data)

    def truncate(self, size=None):
        size = self.tell() if size is None else size
        self._disk.truncate(self._inode, size)
        return super().truncate(size)


class _System:
    """The os module: what changes or syncs something on the disk is noted."""

    def __init__(self, disk):
        self._disk = disk

    def __getattr__(self, name):
        return getattr(os, name)

    def open(self, path, flags, mode=0o777):
        fresh = flags & os.O_CREAT and not os.path.lexists(path)
        descriptor = os.open(path, flags, mode)
        if fresh:
            self._disk.inode(path, new=True)
        return descriptor

    def fdopen(self, descriptor, mode, buffering=-1):
        if "r" in mode:
            return os.fdopen(descriptor, mode, buffering)
        raw = _Raw(self._disk, descriptor, mode, self._disk.inode(_path_of(descriptor)))
        return io.BufferedWriter(raw, buffering)

    def fsync(self, descriptor):
        os.fsync(descriptor)
        self._disk.sync_path(_path_of(descriptor))

    def makedirs(self, path, mode=0o777, exist_ok=False):
        os.makedirs(path, mode, exist_ok)
        self._disk.inode(path)

    def stat(self, path, *, follow_symlinks=True):
        """With the disk's own numbers, since a file that is copied for an image gets another one."""
        found = os.stat(path, follow_symlinks=follow_symlinks)
        if not self._disk.holds(path):
            return found
        mode, _, _, *others = found
        return os.stat_result((mode, self._disk.inode(path), 0, *others))

    def replace(self, path, to):
        os.replace(path, to)
        self._disk.rename(path, to)

    rename = replace

    def link(self, path, to):
        os.link(path, to)
        self._disk.link(path, to)

    def unlink(self, path):
        os.unlink(path)
        self._disk.unlink(path)

    remove = unlink


def _path_of(descriptor):
    return os.path.realpath(f"/proc/self/fd/{descriptor}")


def _opener(disk):
    def opened(path, mode="r", buffering=-1, encoding=None):
        if "r" in mode and "+" not in mode:
            return open(path, mode, buffering, encoding)
        fresh = not os.path.lexists(path)
        raw = _Raw(disk, path, mode.replace("b", "") + "b", disk.inode(path, new=fresh))
        if "b" not in mode:
            return io.TextIOWrapper(io.BufferedWriter(raw), encoding)
        return io.BufferedRandom(raw, buffering) if "+" in mode else io.BufferedWriter(raw, buffering)

    return opened


def record(disk, commits, patch):
    """Let the store and the file sinks of this process work on a disk, until the patch is undone.

    Args:
        disk: The disk.
        commits: See `Connection`.
        patch: A pytest.MonkeyPatch.
    """
    vfs = _VFS(disk)
    patch.setattr(database, "sqlite3", _Sqlite(vfs.name, commits))
    system = _System(disk)
    for module in (database, folder, snapshot_files, files_staging, files_parts, files_whole):
        patch.setattr(module, "os", system)
    for module in (files_staging, files_whole):
        patch.setattr(module, "open", _opener(disk), raising=False)
    return vfs
