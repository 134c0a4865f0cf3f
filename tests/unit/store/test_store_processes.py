"""Many processes on one data folder, and processes that die."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from jetbridge.store import Database, Registry, StoredList, StoredMap, lists, streams

if TYPE_CHECKING:
    from pathlib import Path

READY = "print('ready', flush=True)\nsys.stdin.readline()\n"


def race(launch: Any, finish: Any, source: str, count: int, home: Path) -> list[str]:
    """Start processes, let all of them come to the line, then let them go at once."""
    processes = [launch(source, number, home=home) for number in range(count)]
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.communicate()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    return [finish(process) for process in processes]


def test_a_folder_is_made_once_by_racing_processes(launch: Any, finish: Any, tmp_path: Path) -> None:
    source = READY + "StoredList(Database.open(home), 'a').add(int(sys.argv[1]))\n"
    race(launch, finish, source, 6, tmp_path / "data")
    db = Database.open(tmp_path / "data")
    assert sorted(StoredList(db, "a")) == list(range(6))
    db.close()


def test_racing_appends_are_whole_and_in_order(launch: Any, finish: Any, db: Database) -> None:
    source = (
        "db = Database.open(home); a = StoredList(db, 'a'); s = StoredStream(db, 's'); m = StoredMap(db, 'm')\n"
        + READY
        + "for step in range(25):\n"
        + "    a.add_all([(int(sys.argv[1]), step, part) for part in range(300)])\n"
        + "    s.publish((int(sys.argv[1]), step))\n"
        + "    m.put_all({(step, part): int(sys.argv[1]) for part in range(40)})\n"
    )
    race(launch, finish, source, 4, db.home)
    items = StoredList(db, "a").get_all()
    assert len(items) == 4 * 25 * 300
    batches = [items[start : start + 300] for start in range(0, len(items), 300)]
    for batch in batches:
        assert batch == [(*batch[0][:2], part) for part in range(300)]
    for who in range(4):
        assert [batch[0][1] for batch in batches if batch[0][0] == who] == list(range(25))
    messages, tail = streams.read(db.reader(), "s", 0, 1000)
    assert tail == streams.tail(db.reader(), "s") == 100
    assert sorted(messages) == [(who, step) for who in range(4) for step in range(25)]
    stored = StoredMap(db, "m")
    assert len(stored) == len(stored.entry_set()) == 25 * 40
    for step in range(25):
        assert len({stored[step, part] for part in range(40)}) == 1


def test_one_of_racing_processes_gets_the_name(launch: Any, finish: Any, db: Database) -> None:
    source = (
        "jobs = Registry(Database.open(home))\n"
        + READY
        + "try:\n"
        + "    jobs.add(JobRecord(id=sys.argv[1], name='nightly', status='NOT_RUNNING'), b'')\n"
        + "    print('mine')\n"
        + "except JobAlreadyExistsError: print('taken')\n"
    )
    assert sorted(race(launch, finish, source, 6, db.home)) == ["mine"] + ["taken"] * 5
    assert len(Registry(db).all()) == 1


def test_one_of_racing_transitions_wins(launch: Any, finish: Any, db: Database) -> None:
    from jetbridge.store import JobRecord

    jobs = Registry(db)
    jobs.add(JobRecord(id="1", status="SUSPENDED"), b"")
    source = (
        "jobs = Registry(Database.open(home))\n"
        + READY
        + "owner = {'pid': os.getpid(), 'token': sys.argv[1]}\n"
        + "print(jobs.transition('1', {'SUSPENDED'}, 'STARTING', owner=owner))\n"
    )
    results = race(launch, finish, source, 6, db.home)
    assert sorted(results) == ["False"] * 5 + ["True"]
    assert (found := jobs.get("1")) is not None
    assert found.owner is not None
    assert results[int(found.owner["token"])] == "True"


def test_a_killed_writer_leaves_nothing_half_done(launch: Any, db: Database) -> None:
    stored = StoredList(db, "a")
    stored.add_all(range(10))
    source = """
        db = Database.open(home)
        StoredList(db, "a").add("committed")
        with db.transaction() as tx:
            from jetbridge.store import lists
            lists.append(tx, "a", [(1, encode(["torn"]))] * 100)
            tx.execute("DELETE FROM structures")
            print("ready", flush=True)
            sys.stdin.readline()
    """
    process = launch(source)
    assert process.stdout.readline() == "ready\n", process.communicate()
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    assert stored.get_all() == [*range(10), "committed"]
    stored.add("on")  # the dead writer's lock is gone
    assert stored[-1] == "on"
    assert lists.names(db.reader()) == ["a"]
    assert db.reader().execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_reader_pages_while_others_write(launch: Any, finish: Any, db: Database) -> None:
    stored = StoredList(db, "a")
    stored.add_all(range(100_000))
    process = launch("a = StoredList(Database.open(home), 'a')\nfor step in range(200): a.add_all([step] * 50)\n")
    assert list(stored)[:100_000] == list(range(100_000))
    finish(process)
    assert len(stored) == 110_000


def test_classes_of_a_script_are_found_in_another_run_of_it(launch: Any, finish: Any) -> None:
    model = "import dataclasses\n@dataclasses.dataclass\nclass Trade:\n    ticker: str\n"
    finish(launch(model + "StoredList(Database.open(home), 'a').add(Trade('A'))\n"))
    assert finish(launch(model + "print(StoredList(Database.open(home), 'a')[0] == Trade('A'))\n")) == "True"
    source = (
        "try: StoredList(Database.open(home), 'a').get_all()\n" + "except UnknownTypeError as error: print(error)\n"
    )
    assert "__main__.Trade, which is not in this process; move it into a module" in finish(launch(source))
