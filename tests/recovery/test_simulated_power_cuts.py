"""Power cuts that a disk of our own imitates: what was not synced is dropped, torn or out of order.

A history is recorded once and cut at many moments; each image is opened by the
store as it is. The tests at the end break one promise after the other and see
that the check finds it.
"""

from __future__ import annotations

import collections
import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from power_check import Broken, Check, goes_on, lay_out
from power_disk import MODES, SECTOR, Replay, moments
from power_history import BatchHistory, Outside, StreamHistory
from power_vfs import Connection

from jetbridge import ProcessingGuarantee
from jetbridge.connectors import files_staging
from jetbridge.store import snapshot_files, states
from jetbridge.store.folder import DataFolder
from jetbridge_direct import commits as commits_module

STEPS = 45


@pytest.fixture
def space():
    """A folder in memory where there is one: the real syncs of thousands of images cost nothing then."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="jetbridge-power-", dir=memory) as folder:
        yield Path(folder)


@pytest.fixture
def lived(space, monkeypatch):
    """Records a history; what patches the store is undone before it is checked."""

    def live(kind, chance, steps=STEPS, guarantee=ProcessingGuarantee.EXACTLY_ONCE, broken=None):
        with monkeypatch.context() as patch:
            root = space / f"disk-{len(os.listdir(space))}"
            root.mkdir()
            history = kind(root, chance, patch, guarantee)
            if broken is not None:
                broken(history, patch)
            history.live(steps)
            history.end()
        return history

    return live


class Cuts:
    """Cuts of one history, and what was seen in them."""

    def __init__(self, history, space, chance):
        self.history, self.space, self.chance = history, space, chance
        self.check = Check(history)
        self.modes = collections.Counter()

    def make(self, count, kept=0):
        """Cut at so many moments and check each image; returns some of the images, with the moments."""
        replay, images = Replay(self.history.disk), []
        wanted = {self.chance.randrange(count) for _ in range(kept)}
        for number, moment in enumerate(moments(self.history.disk, count, self.chance)):
            replay.forward(moment)
            to = self.space / "image"
            self.modes[lay_out(replay, to, self.chance)] += 1
            if number in wanted:
                images.append((self.space / f"image-{number}", moment))
                lay_out(replay, images[-1][0], self.chance)
            try:
                self.check.image(to, moment)
            except Broken as error:
                raise Broken(f"{error} (cut {number} at event {moment} of {len(self.history.disk)})") from error
            shutil.rmtree(to)
        return images


@pytest.fixture
def disturb(lived, space, chance):
    """Records a history and cuts it; what the images of some cuts hold goes on to its end."""

    def cut(kind, count, *, guarantee=ProcessingGuarantee.EXACTLY_ONCE, steps=STEPS, kept=0):
        history = lived(kind, chance, steps, guarantee)
        cuts = Cuts(history, space, chance)
        images = cuts.make(count, kept)
        resumed = sum(goes_on(history, image, moment) for image, moment in images)
        for image, _ in images:
            shutil.rmtree(image)
        durable = sum(commit.durable for commit in history.commits)
        print(
            f"{kind.__name__} {guarantee}: {count} cuts of {len(history.disk)} events, {dict(cuts.modes)}; "
            f"{len(cuts.check.met)} of {len(history.commits)} commits were the last one, {durable} are durable; "
            f"{resumed} went on to the end"
        )
        return cuts, resumed

    return cut


HISTORIES = [
    (StreamHistory, ProcessingGuarantee.EXACTLY_ONCE),
    (StreamHistory, ProcessingGuarantee.EXACTLY_ONCE),
    (BatchHistory, ProcessingGuarantee.EXACTLY_ONCE),
    (BatchHistory, ProcessingGuarantee.AT_LEAST_ONCE),
]
NAMES = ["stream", "another stream", "batch", "batch, at least once"]


@pytest.mark.parametrize(("kind", "guarantee"), HISTORIES, ids=NAMES)
def test_a_thousand_cuts(disturb, kind, guarantee):
    exactly_once = guarantee is ProcessingGuarantee.EXACTLY_ONCE
    cuts, resumed = disturb(kind, 250, guarantee=guarantee, kept=3 if exactly_once else 0)
    assert set(cuts.modes) == set(MODES)
    assert len(cuts.check.met) > 20, "the cuts met too few different moments"
    assert not exactly_once or resumed


@pytest.mark.full
@pytest.mark.parametrize(("kind", "guarantee"), HISTORIES, ids=NAMES)
@pytest.mark.parametrize("round_", range(5))
def test_fifty_thousand_cuts(disturb, kind, guarantee, round_):
    exactly_once = guarantee is ProcessingGuarantee.EXACTLY_ONCE
    disturb(kind, 2_500, guarantee=guarantee, steps=80, kept=12 if exactly_once else 0)


# The check finds what is broken.


@pytest.fixture
def finds(lived, space, chance):
    """Breaks something in a history, and gives what the check says to that."""

    def find(kind, broken, steps=25, count=400):
        history = lived(kind, chance, steps, broken=broken)
        with pytest.raises(Broken) as caught:
            Cuts(history, space, chance).make(count)
        return str(caught.value)

    return find


def test_a_disk_that_does_not_sync_the_log_is_found(finds):
    def broken(history, patch):
        history.disk.deaf = lambda path: path.endswith("-wal")

    assert finds(StreamHistory, broken).startswith(("lost", "inconsistent", "damaged"))


@pytest.mark.parametrize(("asked", "given"), [("FULL", "NORMAL"), ("FULL", "OFF")])
def test_a_durable_commit_that_is_none_is_found(finds, asked, given):
    def broken(history, patch):
        execute = Connection.execute

        def unsynced(connection, statement, arguments=()):
            if statement == f"PRAGMA synchronous = {asked}":
                statement = f"PRAGMA synchronous = {given}"
            return execute(connection, statement, arguments)

        patch.setattr(Connection, "execute", unsynced)

    assert finds(StreamHistory, broken)


def test_commits_that_never_sync_are_found(finds):
    """Not even before the log is brought into the file, so that this is damaged in the end."""

    def broken(history, patch):
        history.disk.deaf = lambda path: "jetbridge.db" in path

    assert finds(BatchHistory, broken)


def test_a_checkpoint_in_a_transaction_of_its_own_is_found(finds):
    def broken(history, patch):
        kept = []

        class Later:
            def __getattr__(self, name):
                return getattr(states, name)

            def save(self, tx, job, body):
                kept.append((job, body))

        commit = commits_module.Commits.commit

        def twice(self, ending=None):
            metrics = commit(self, ending)
            with self._db.transaction() as tx:
                while kept:
                    states.save(tx, *kept.pop())
            return metrics

        patch.setattr(commits_module, "states", Later())
        patch.setattr(commits_module.Commits, "commit", twice)

    assert finds(StreamHistory, broken).startswith(("inconsistent", "early", "lost"))


def test_a_snapshot_that_is_not_synced_is_found(finds):
    def broken(history, patch):
        patch.setattr(snapshot_files, "_sync", lambda descriptor: None)
        history._others = history._read_on = history._snapshot

    assert "snapshot 'nightly'" in (said := finds(StreamHistory, broken)) or "snapshot 'weekly'" in said


def test_a_snapshots_name_that_is_not_synced_is_found(finds):
    def broken(history, patch):
        patch.setattr(snapshot_files, "_sync_folder", lambda folder: None)
        history._others = history._read_on = history._snapshot

    assert finds(StreamHistory, broken).startswith("lost: snapshot")


def test_a_staged_file_that_is_not_synced_is_found(finds):
    def broken(history, patch):
        patch.setattr(files_staging.StagedFile, "sync", lambda staged: staged._file.flush())

    assert finds(StreamHistory, broken).startswith(("lost", "damaged: SinkError"))


def test_a_part_that_is_shown_too_early_is_found(finds):
    def broken(history, patch):
        patch.setattr(commits_module.Commits, "_parts_are_due", lambda commits: False)
        patch.setattr(Outside, "volatile", True)  # whose chunks make each commit durable
        history.job._kept = []

    assert finds(StreamHistory, broken, steps=60, count=1_500).startswith(("early", "lost"))


def test_rows_for_another_system_that_are_not_in_the_outbox_are_found(finds):
    def broken(history, patch):
        patch.setattr(Outside, "volatile", True)
        history.job._kept = []

    assert finds(BatchHistory, broken).startswith(("early: chunk", "lost: of"))


def test_a_data_folder_whose_name_is_not_kept_is_found(finds, monkeypatch):
    monkeypatch.setattr(DataFolder, "keep_name", lambda folder: None)
    assert finds(StreamHistory, None, steps=0, count=600).startswith("lost")


def test_what_rots_is_found(lived, space, chance):
    """A sector that was synced is lost, which SQLite itself often does not tell."""
    history = lived(BatchHistory, chance, 20)
    replay, check = Replay(history.disk), Check(history)
    replay.forward(len(history.disk))
    found = 0
    for _ in range(40):
        lay_out(replay, space / "image", chance)
        file = space / "image" / "home" / "jetbridge.db"
        content = bytearray(file.read_bytes())
        used = [at for at in range(0, len(content), SECTOR) if any(content[at : at + SECTOR])]
        place = chance.choice(used)
        content[place : place + SECTOR] = bytes(SECTOR)
        file.write_bytes(content)
        with contextlib.suppress(Broken):
            check.image(space / "image", len(history.disk))
            found -= 1
        found += 1
        shutil.rmtree(space / "image")
    assert found > 10, "damage to rows and pages in use was not found"
