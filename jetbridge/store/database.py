"""One SQLite file in WAL mode for everything that a data folder keeps: connections, transactions, versions."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from typing import TYPE_CHECKING, NoReturn

from jetbridge.errors import DataFolderError, StoreError
from jetbridge.store import forking, schema
from jetbridge.store.faults import mapped
from jetbridge.store.folder import DataFolder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSY_SECONDS = 30.0
LOG_LIMIT = 64 << 20  # bytes of write-ahead log above which a writer empties it
_LOG_RETRY_SECONDS = 1.0
_CHECKPOINT_PAGES = (16 << 20) // schema.PAGE_SIZE


class Database:
    """The database of one data folder, for any number of threads.

    Each thread has its own connections, and none crosses a fork (see `forking`).

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     db = Database.open(f"{parent}/data")
        ...     with db.transaction() as tx:
        ...         _ = tx.execute("INSERT INTO pipelines VALUES ('a job', x'00', 0)")
        ...     print(db.reader().execute("SELECT count(*) FROM pipelines").fetchone())
        ...     db.close()
        (1,)

    Attributes:
        folder: The data folder.
        home: Its path.
        path: The path of the database file.
    """

    def __init__(self, folder: DataFolder) -> None:
        self.folder = folder
        self.home: Path = folder.path
        self.path: Path = folder.database
        self._connections = forking.Connections(str(self.path))
        self._next_log_check = 0.0

    @classmethod
    def open(cls, home: str | os.PathLike[str]) -> Database:
        """Open the database of a data folder; make or migrate it where needed.

        Args:
            home: The data folder's path.

        Raises:
            DataFolderError: When the folder cannot be used, or a later version of jetbridge wrote it.
            CorruptDataError: When the file is damaged.
            DiskFullError: When there is no room to make it.
        """
        db = cls(DataFolder.open(home))
        try:
            with mapped(f"the data folder {db.home}", db.home):
                db._prepare()
        except BaseException:
            db.close()
            raise
        return db

    @contextlib.contextmanager
    def transaction(self, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Run a block as one atomic write; other writers wait for its end.

        Encode values before it, so that it stays short. An exception rolls it back.

        Args:
            durable: Whether the commit must outlive a power cut: it is then forced to
                the disk, with every commit before it. Without, a commit outlives the
                process but the last ones may be undone (never torn) by a power cut.

        Yields:
            The connection to write with; it must not be kept.

        Raises:
            StoreError: When the write fails; nothing of it is stored then.
        """
        with mapped(f"the data folder {self.home}", self.home):
            tx = self._connection("writer")
            if tx.in_transaction:
                raise StoreError("a transaction was begun inside another one of the same thread; end that first")
            tx.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            tx.execute("BEGIN IMMEDIATE")
            try:
                if tx.execute("PRAGMA user_version").fetchone()[0] != schema.VERSION:
                    self._refuse_version(tx)
                yield tx
                tx.execute("COMMIT")
            except BaseException:
                # A full disk may have rolled it back already.
                if tx.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        tx.execute("ROLLBACK")
                raise
            self._limit_log(tx)

    def reader(self) -> sqlite3.Connection:
        """This thread's connection for reading: each statement sees what is committed when it begins.

        Fetch what a statement gives at once: a statement that is left open keeps the
        log from being emptied.
        """
        return self._connection("reader")

    def close(self) -> None:
        """Close the connections of all threads; later use raises a StoreError."""
        self._connections.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a stored structure or its database cannot travel into a job or another process; "
            "use Pipeline.from_list, Pipeline.to_list and their like, or capture what get_all() returns"
        )

    def _connection(self, role: str) -> sqlite3.Connection:
        return self._connections.find(role) or self._connections.add(role, lambda: self._connect(role))

    def _connect(self, role: str) -> sqlite3.Connection:
        # check_same_thread is off for close() alone, which ends the connections of every thread.
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            for pragma in (
                "trusted_schema = OFF",  # a stranger's file may carry triggers
                "cell_size_check = ON",
                f"wal_autocheckpoint = {_CHECKPOINT_PAGES}",
                f"journal_size_limit = {LOG_LIMIT}",
                f"cache_size = {-16384 if role == 'writer' else -4096}",  # negative: in KiB
                f"query_only = {'OFF' if role == 'writer' else 'ON'}",
            ):
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self) -> None:
        # SQLite gives its log and shared memory the mode of the main file.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        # Two processes must not create or migrate at once, and SQLite does not wait when a journal mode changes. Who
        # only looks holds the lock too: between two looks at a database that another process makes it seems foreign.
        directory = os.open(self.home, os.O_RDONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_SH)
            tx = self._connection("writer")
            if self._is_current(tx):
                return
            fcntl.flock(directory, fcntl.LOCK_EX)
            if not self._is_current(tx):
                self._migrate(tx)
                self.folder.keep_name()
        finally:
            fcntl.flock(directory, fcntl.LOCK_UN)  # a child forked meanwhile has the descriptor too
            os.close(directory)

    def _is_current(self, tx: sqlite3.Connection) -> bool:
        version = tx.execute("PRAGMA user_version").fetchone()[0]
        ours = tx.execute("PRAGMA application_id").fetchone()[0] == schema.APPLICATION_ID
        if not ours and (version or tx.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]):
            raise DataFolderError(f"{self.path} is not a database of jetbridge; choose another data folder")
        if version > schema.VERSION:
            self._refuse_version(tx)
        return bool(ours and version == schema.VERSION)

    def _migrate(self, tx: sqlite3.Connection) -> None:
        tx.execute(f"PRAGMA page_size = {schema.PAGE_SIZE}")
        tx.execute("PRAGMA journal_mode = WAL")
        tx.execute("PRAGMA synchronous = FULL")
        tx.execute("BEGIN IMMEDIATE")
        try:
            version = tx.execute("PRAGMA user_version").fetchone()[0]
            for step in schema.MIGRATIONS[version:]:
                for statement in step:
                    tx.execute(statement)
            tx.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
            tx.execute(f"PRAGMA user_version = {schema.VERSION}")
            tx.execute("COMMIT")
        except BaseException:
            if tx.in_transaction:
                tx.execute("ROLLBACK")
            raise

    def _refuse_version(self, tx: sqlite3.Connection) -> NoReturn:
        version = tx.execute("PRAGMA user_version").fetchone()[0]
        raise DataFolderError(
            f"the data folder {self.home} was written by a later version of jetbridge (schema {version}; this version "
            f"knows schema {schema.VERSION}); upgrade jetbridge (pip install -U jetbridge) or choose another folder"
        )

    def _limit_log(self, tx: sqlite3.Connection) -> None:
        """Empty the log when it has grown: overlapping readers keep SQLite's own checkpoints from ever doing so."""
        if time.monotonic() < self._next_log_check:
            return
        try:
            if os.stat(f"{self.path}-wal").st_size <= LOG_LIMIT:
                return
            tx.execute("PRAGMA busy_timeout = 2000")
            tx.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except (OSError, sqlite3.Error):
            pass  # the commit stands; the log is emptied after a later one
        finally:
            tx.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        # A reader in its way costs the whole timeout, so not after every commit.
        self._next_log_check = time.monotonic() + _LOG_RETRY_SECONDS
