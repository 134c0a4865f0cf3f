"""Flipped bytes in every region of a data folder's files: no effect or a named error, never a wrong result."""

from __future__ import annotations

import collections
import logging
import os
import random
import shutil

import pytest
from flips import READINGS, differences, flipped, of_database, of_log, read_all
from power_check import Check, NotOpened
from power_disk import Replay
from power_history import JOB, SNAPSHOTS, StreamHistory

from jetbridge.errors import JetbridgeError
from jetbridge.store import Database, StoredList, snapshots

DATABASE, LOG, SHARED = "jetbridge.db", "jetbridge.db-wal", "jetbridge.db-shm"


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.ERROR, "jetbridge")  # what is left out is logged, hundreds of times


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """A stream's job with something in each table, after which the folder was closed."""
    root = tmp_path_factory.mktemp("flips") / "disk"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        history = StreamHistory(root, random.Random("flips"), patch)
        history.live(25)
        history.outside.volatile = True
        history.job._deliver_kept = lambda: None  # what it commits now stays in the outbox
        history.feed()
        history.feed()
        history.epochs.run()
        history.job.commit()
        for name in SNAPSHOTS:
            snapshots.export(history.db, JOB, JOB, name)
        history.end()
    return history


@pytest.fixture(scope="module")
def logged(history):
    """The commit behind which the most commits were in the log."""
    begun = [0]  # how often the log had been begun, at each moment
    for kind, inode, *rest in history.disk.events:
        anew = kind == "write" and history.disk.path(inode).endswith(LOG) and rest[0] == 0
        begun.append(begun[-1] + anew)
    of_log = [begun[commit.known] for commit in history.commits]
    most, count = collections.Counter(of_log).most_common(1)[0]
    assert count > 5
    return max(number for number, each in enumerate(of_log) if each == most)


@pytest.fixture(scope="module")
def before(history):
    readings = read_all(history.home)
    assert not [value for value in readings.values() if isinstance(value, JetbridgeError)]
    assert readings["outbox"]
    assert len(readings["jobs"]) > 1
    assert set(readings) == set(READINGS)
    return readings


@pytest.fixture
def copy(history, tmp_path):
    """Gives a fresh copy of the folder."""

    def make():
        shutil.rmtree(tmp_path / "home", ignore_errors=True)
        return shutil.copytree(history.home, tmp_path / "home")

    return make


def by_kind(regions):
    found = collections.defaultdict(list)
    for region in regions:
        found[region.kind].append(region)
    return found


def flip_in_the_database(copy, before, chance, rounds):
    regions = by_kind(of_database(copy() / DATABASE))
    assert len(regions) > 80, "some kinds of pages are not there"
    effects = collections.Counter()
    for kind, some in regions.items():
        for _ in range(rounds):
            home = copy()
            place = flipped(home, chance.choice(some), chance)
            what = f"byte {place} ({kind})"
            assert differences(home, before) == [], f"wrong results after a flip of {what}"
            effects[_write(home, before, what)] += 1
    return effects


def _write(home, before, what):
    """Something more is written to the damaged folder: that must not make it worse in silence."""
    try:
        db = Database.open(home)
    except JetbridgeError:
        return "closed"
    try:
        StoredList(db, "others").add_all(["more"] * 2_000)
    except JetbridgeError:
        return "not written"
    finally:
        db.close()
    for name, value in differences(home, before):
        assert name == "list others", f"wrong results of {name} after a flip of {what} and a write"
        assert value == before[name] + ["more"] * 2_000
    return "written"


def test_flips_in_the_database(copy, before, chance):
    print(effects := flip_in_the_database(copy, before, chance, 2))
    assert effects["closed"] > 10
    assert effects["written"] > 10


@pytest.mark.full
@pytest.mark.parametrize("round_", range(4))
def test_many_flips_in_the_database(copy, before, chance, round_):
    print(effects := flip_in_the_database(copy, before, chance, 20))
    assert set(effects) == {"closed", "not written", "written"}


def flip_in_the_log(history, logged, tmp_path, chance, rounds):
    """What is behind a damaged frame is gone, as if it had never been committed; what is there is of one commit."""
    replay, check = Replay(history.disk), Check(history)
    replay.forward(history.commits[logged].known)
    found = collections.Counter()
    regions = None
    number = 0
    while regions is None or number < rounds:
        root = tmp_path / "image"
        replay.image(root, random.Random(), "all")
        home = root / "home"
        regions = regions or by_kind(of_log(home / LOG))
        for some in regions.values():
            shutil.copytree(home, tmp_path / "home")
            flipped(tmp_path / "home", chance.choice(some), chance)
            try:
                found[check.store(tmp_path / "home")] += 1
            except NotOpened:
                found["closed"] += 1
            shutil.rmtree(tmp_path / "home")
        shutil.rmtree(root)
        number += 1
    return found


def test_flips_in_the_log(history, logged, tmp_path, chance):
    print(found := flip_in_the_log(history, logged, tmp_path, chance, 6))
    assert len(found) > 3


@pytest.mark.full
def test_many_flips_in_the_log(history, logged, tmp_path, chance):
    print(found := flip_in_the_log(history, logged, tmp_path, chance, 150))
    assert len(found) > 3


def test_the_shared_memory_is_made_anew(history, logged, tmp_path, chance):
    """Nobody had the folder open: what the file holds then means nothing."""
    replay, check = Replay(history.disk), Check(history)
    replay.forward(history.commits[logged].known)
    replay.image(tmp_path, chance, "all")
    assert (tmp_path / "home" / LOG).stat().st_size > 100_000
    last = check.store(tmp_path / "home")
    for content in (b"", os.urandom(32_768), bytes(32_768), os.urandom(100), None):
        shutil.rmtree(tmp_path / "home")
        replay.image(tmp_path, chance, "all")
        if content is not None:
            (tmp_path / "home" / SHARED).write_bytes(content)
        assert check.store(tmp_path / "home") == last
    assert last == logged
