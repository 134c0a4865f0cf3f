"""The data folder: what is refused, with what advice, and what is made."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jetbridge.errors import CorruptDataError, DataFolderError
from jetbridge.store import Database, DataFolder, StoredList, schema

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def common() -> Iterator[Path]:
    """A folder below /tmp that every user can reach, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_folder_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        db = Database.open(tmp_path / "deep" / "data")
        StoredList(db, "a").add(1)
        files = {entry.name: mode(entry) for entry in (tmp_path / "deep" / "data").iterdir()}
        assert mode(tmp_path / "deep" / "data") == 0o700
        assert {name: found for name, found in files.items() if name != ".gitignore"} == {
            "jetbridge.db": 0o600,
            "jetbridge.db-wal": 0o600,
            "jetbridge.db-shm": 0o600,
        }
        for folder in (db.folder.logs, db.folder.staging, db.folder.snapshots):
            assert mode(folder) == 0o700
        db.close()
    finally:
        os.umask(before)
    assert (tmp_path / "deep" / "data" / ".gitignore").read_text() == "*\n"
    Database.open(tmp_path / "deep" / "data").close()


def test_a_folder_of_the_users_own_gets_no_gitignore(tmp_path: Path) -> None:
    (tmp_path / "project.py").touch()
    DataFolder.open(tmp_path)
    assert not (tmp_path / ".gitignore").exists()


def test_the_home_directory_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert DataFolder.open("~/data").path == tmp_path / "data"


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    for path in (tmp_path / "file", tmp_path / "file" / "data", tmp_path / "file" / "deeper" / "data"):
        with pytest.raises(DataFolderError, match="file"):
            Database.open(path)
    assert (tmp_path / "file").read_text() == "precious"
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataFolderError):
        Database.open(tmp_path / "dangling")


@pytest.mark.parametrize("bits", [0o020, 0o002, 0o022])
def test_writable_by_others_is_refused_with_the_way_out(tmp_path: Path, bits: int) -> None:
    home = tmp_path / "data"
    Database.open(home).close()
    home.chmod(0o700 | bits)
    with pytest.raises(DataFolderError, match=rf"mode 07.*chmod go-w {home}$"):
        Database.open(home)
    home.chmod(0o700)
    (home / "jetbridge.db").chmod(0o600 | bits)
    with pytest.raises(DataFolderError, match=rf"chmod go-w {home}/jetbridge\.db"):
        Database.open(home)
    (home / "jetbridge.db").chmod(0o600)
    Database.open(home).close()


def test_a_foreign_owner_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "data"
    Database.open(home).close()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(DataFolderError, match="belongs to another user"):
        Database.open(home)


@pytest.mark.parametrize(("place", "found"), [(".", "cannot be written"), ("jetbridge.db", "chmod u")])
def test_without_the_right_to_write(common: Path, launch: Any, finish: Any, place: str, found: str) -> None:
    """As an ordinary user: root may write everywhere."""
    source = """
        if os.getuid() == 0:
            os.chown(os.path.dirname(home), 65534, 65534)
            os.setgroups([]); os.setgid(65534); os.setuid(65534)
        db = Database.open(home)
        StoredList(db, "a").add(1)
        db.close()
        place = os.path.join(home, sys.argv[1])
        mode = os.stat(place).st_mode
        os.chmod(place, mode & ~0o222)
        try:
            Database.open(home)
        except DataFolderError as error:
            print(error)
        try:
            if sys.argv[1] == ".":
                Database.open(os.path.join(home, "below"))
        except DataFolderError as error:
            assert "cannot be made: Permission denied" in str(error), error
        os.chmod(place, mode)
        print(StoredList(Database.open(home), "a").get_all())
    """
    out = finish(launch(source, place, home=common / "data"))
    assert found in out.splitlines()[0]
    assert out.splitlines()[1] == "[1]"


def test_what_is_not_a_database_of_ours_is_refused_and_kept(tmp_path: Path) -> None:
    home = tmp_path / "data"
    DataFolder.open(home)
    other = sqlite3.connect(home / "jetbridge.db")
    other.execute("CREATE TABLE theirs (a)")
    other.close()
    with pytest.raises(DataFolderError, match="not a database of jetbridge"):
        Database.open(home)
    (home / "jetbridge.db").write_bytes(b"some text that is no database" * 100)
    with pytest.raises(CorruptDataError, match="not a database"):
        Database.open(home)
    assert (home / "jetbridge.db").read_bytes().startswith(b"some text")
    (home / "jetbridge.db").unlink()
    (home / "jetbridge.db").mkdir()
    with pytest.raises(DataFolderError, match="no regular file"):
        Database.open(home)


def test_a_newer_schema_says_upgrade(tmp_path: Path) -> None:
    home = tmp_path / "data"
    db = Database.open(home)
    stored = StoredList(db, "a")
    stored.add(1)
    with sqlite3.connect(home / "jetbridge.db") as later:
        later.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    later.close()
    with pytest.raises(DataFolderError, match=r"later version of jetbridge.*upgrade"):
        Database.open(home)
    with pytest.raises(DataFolderError, match="upgrade"):
        stored.add(2)  # also where it was open before the other migrated it
    db.close()


def test_an_older_schema_walks_through_the_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "data"
    db = Database.open(home)
    StoredList(db, "a").add_all([1, 2])
    db.close()
    step = (
        "CREATE TABLE of_a_later_version (id INTEGER PRIMARY KEY, payload BLOB)",
        "ALTER TABLE chunks ADD COLUMN attempt TEXT",
    )
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, step))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    db = Database.open(home)
    assert db.reader().execute("SELECT count(*) FROM of_a_later_version").fetchone() == (0,)
    StoredList(db, "a").add(3)
    assert StoredList(db, "a").get_all() == [1, 2, 3]
    db.close()


def test_a_failed_step_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "data"
    Database.open(home).close()
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ("CREATE TABLE of_a_later_version (id)", "nonsense")))
        patch.setattr(schema, "VERSION", schema.VERSION + 1)
        with pytest.raises(Exception, match="nonsense"):
            Database.open(home)
    db = Database.open(home)
    assert db.reader().execute("SELECT count(*) FROM sqlite_master WHERE name = 'of_a_later_version'").fetchone() == (
        0,
    )
    db.close()
