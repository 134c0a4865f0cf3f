"""Transactions, threads, forks, full disks, the log."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jetbridge.errors import (
    CorruptDataError,
    DataFolderError,
    DiskFullError,
    StoreError,
)
from jetbridge.store import Database, StoredList, StoredMap, database, lists
from jetbridge.store.faults import translate

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("database or disk is full", DiskFullError),
        ("database disk image is malformed", CorruptDataError),
        ("file is not a database", CorruptDataError),
        ("Could not decode to UTF-8 column 'name' with text 'x'", CorruptDataError),
        ("unable to open database file", DataFolderError),
        ("attempt to write a readonly database", DataFolderError),
        ("database is locked", StoreError),
        ("disk I/O error", StoreError),
        ("string or blob too big", StoreError),
        ("Cannot operate on a closed database.", StoreError),
        ("something new", StoreError),
    ],
)
def test_every_fault_of_sqlite_becomes_ours(tmp_path: Path, text: str, kind: type) -> None:
    error = translate(sqlite3.OperationalError(text), "list 'a'", tmp_path)
    assert type(error) is kind
    assert str(error).startswith("list 'a': ")


def test_a_statement_that_fails_is_mapped_with_its_cause(db: Database) -> None:
    with pytest.raises(StoreError, match=r"the data folder .*syntax error") as caught, db.transaction() as tx:
        tx.execute("nonsense")
    assert isinstance(caught.value.__cause__, sqlite3.Error)


@pytest.mark.parametrize("durable", [False, True])
def test_a_transaction_is_all_or_nothing(db: Database, durable: bool) -> None:
    with db.transaction(durable) as tx:
        lists.append(tx, "a", [(1, b"")])
        assert tx.execute("PRAGMA synchronous").fetchone() == (2 if durable else 1,)

    def interrupted() -> None:
        with db.transaction(durable) as tx:
            lists.append(tx, "a", [(1, b"")])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert lists.size(db.reader(), "a") == 1
    with pytest.raises(StoreError, match="inside another"), db.transaction(), db.transaction():
        pass
    with db.transaction() as tx:
        lists.append(tx, "a", [(1, b"")])
    assert lists.size(db.reader(), "a") == 2


def test_a_reader_cannot_write(db: Database) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        db.reader().execute("DELETE FROM chunks")


def test_after_close_every_call_says_so(db: Database) -> None:
    stored = StoredList(db, "a")
    stored.add(1)
    db.close()
    db.close()
    for call in (stored.get_all, stored.size, lambda: stored.add(2), StoredMap(db, "m").size):
        with pytest.raises(StoreError, match="closed"):
            call()


def test_threads_have_connections_of_their_own_that_end_with_them(db: Database) -> None:
    stored = StoredList(db, "a")
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(20):
                stored.add((number, step))
                assert (number, step) in stored
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    items = stored.get_all()
    assert len(items) == 120
    for number in range(6):
        assert [step for who, step in items if who == number] == list(range(20))
    for _ in range(3):  # connections of ended threads are closed when others are opened
        thread = threading.Thread(target=stored.size)
        thread.start()
        thread.join()
    assert len(db._connections._open) <= 4


def test_a_locked_folder_is_waited_for_and_then_named(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with db.transaction():
            held.set()
            release.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    other = Database.open(db.home)
    with pytest.raises(StoreError, match="another process kept the data folder locked"):
        StoredList(other, "a").add(1)
    release.set()
    thread.join()
    StoredList(other, "a").add(1)
    other.close()


def test_the_log_is_emptied_above_its_limit(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LOG_LIMIT", 1 << 20)
    monkeypatch.setattr(database, "_LOG_RETRY_SECONDS", 0)
    stored = StoredList(db, "a")
    log = Path(f"{db.path}-wal")
    other = Database.open(db.home)
    conn = other.reader()
    conn.execute("BEGIN")
    conn.execute("SELECT count(*) FROM chunks").fetchone()
    stored.add_all([os.urandom(300_000) for _ in range(10)])  # a reader is in the way: the commit stands all the same
    assert log.stat().st_size > 1 << 20
    conn.execute("COMMIT")
    stored.add(b"y")
    assert log.stat().st_size <= 1 << 20
    assert len(stored) == 11
    other.close()


# Forks


def test_a_forked_child_and_its_parent_lose_nothing(db: Database, launch: Any, finish: Any) -> None:
    """With a connection that stays open over the fork, what the child commits last is lost."""
    source = """
        db = Database.open(home)
        stored = StoredList(db, "a")
        stored.add("parent")
        iterator = iter(stored)
        (to_child, tell), (to_parent, answer) = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            stored.add("child, first")
            os.write(answer, b".")
            os.read(to_child, 1)
            stored.add("child, last")
            os._exit(0)
        os.read(to_parent, 1)
        assert list(iterator) == ["parent", "child, first"]
        db.close()
        os.write(tell, b".")
        assert os.waitpid(pid, 0)[1] == 0
        print(StoredList(Database.open(home), "a").get_all())
    """
    db.close()
    assert finish(launch(source)) == "['parent', 'child, first', 'child, last']"


def test_a_fork_under_another_threads_connection_is_refused_in_the_child(launch: Any, finish: Any) -> None:
    source = """
        import threading, warnings
        warnings.simplefilter("ignore")  # later versions of Python warn of forks among threads, rightly
        db = Database.open(home)
        stored = StoredList(db, "a")
        opened, end = threading.Event(), threading.Event()
        thread = threading.Thread(target=lambda: (stored.add(1), opened.set(), end.wait()))
        thread.start()
        opened.wait()
        pid = os.fork()
        if pid == 0:
            for use in (stored.size, lambda: Database.open(home)):
                try:
                    use()
                except StoreError as error:
                    print(error, flush=True)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        stored.add(2)
        end.set()
        thread.join()
        print(stored.get_all())
    """
    out = finish(launch(source)).splitlines()
    assert len(out) == 3
    assert all("'spawn'" in line for line in out[:2])
    assert out[2] == "[1, 2]"


# Full disks


@pytest.fixture(params=["small disk", "page limit"])
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Database, Any, Any]]:
    """A database, a function that fills its disk, and one that makes room again.

    A small disk needs the right to mount; where that is missing both cases use SQLite's own limit.
    """
    home = tmp_path / "disk"
    home.mkdir(0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs", str(home)]
    with contextlib.ExitStack() as stack:
        mounted = False
        if request.param == "small disk":
            with contextlib.suppress(FileNotFoundError):
                mounted = subprocess.run(mount, capture_output=True).returncode == 0
        if mounted:
            stack.callback(subprocess.run, ["umount", str(home)], check=True)
        db = Database.open(home)
        stack.callback(db.close)

        def fill() -> None:
            if mounted:
                with open(home / "filler", "wb", buffering=0) as file, contextlib.suppress(OSError):
                    while file.write(bytes(4096)):
                        pass
            else:
                writer = db._connection("writer")
                (pages,) = writer.execute("PRAGMA page_count").fetchone()
                writer.execute(f"PRAGMA max_page_count = {pages}")

        def empty() -> None:
            if mounted:
                os.unlink(home / "filler")
            else:
                db._connection("writer").execute("PRAGMA max_page_count = 1000000")

        yield db, fill, empty


def test_a_full_disk_is_named_and_the_last_commit_stands(room: tuple[Database, Any, Any]) -> None:
    db, fill, empty = room
    stored = StoredList(db, "a")
    stored.add_all(range(1000))
    fill()

    def add_many() -> None:
        for number in range(1000):
            stored.add(f"{number}" * 10_000)

    with pytest.raises(DiskFullError, match="full; make room"):
        add_many()
    with pytest.raises(DiskFullError):
        stored.add_all([os.urandom(1_000_000)])
    with pytest.raises(DiskFullError), db.transaction(durable=True) as tx:
        lists.append(tx, "b", [(1, os.urandom(1_000_000))])
    assert stored[:1000] == list(range(1000))
    assert lists.size(db.reader(), "b") == 0
    empty()
    stored.add("after")
    assert stored[-1] == "after"
    assert db.reader().execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_full_disk_when_the_folder_is_made(room: tuple[Database, Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    db, fill, _ = room
    fill()
    if not (db.home / "filler").exists():
        # SQLite's own limit is one connection's, so here the system call itself says that the disk is full.
        def mkdir(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(DiskFullError, match=r"data folder .*other: the disk"):
        Database.open(db.home / "other")


def test_nobody_looks_while_another_process_makes_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    original = Database._is_current

    def is_current(db: Database, tx: sqlite3.Connection) -> bool:
        directory = os.open(db.home, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(directory)
        looked.append(1)
        return original(db, tx)

    monkeypatch.setattr(Database, "_is_current", is_current)
    for _ in range(2):
        Database.open(tmp_path / "data").close()
    assert len(looked) == 3


def test_a_damaged_schema_whose_message_cannot_be_read_is_damage(tmp_path: Path) -> None:
    Database.open(tmp_path / "data").close()
    file = tmp_path / "data" / "jetbridge.db"
    data = file.read_bytes()
    assert data.count(b"CREATE TABLE chunks") == 1
    file.write_bytes(data.replace(b"CREATE TABLE chunks", b"CREATE TABLE c \xff\xff\xff("))
    with pytest.raises(CorruptDataError, match="the stored data is damaged") as caught:
        Database.open(tmp_path / "data")
    assert isinstance(caught.value.__cause__, UnicodeDecodeError)
