"""A power cut, imitated: the data folder as a disk may hold it, with the end of the log missing."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import struct
import time

import psutil
import pytest
from halting import halt
from recovery_pipelines import TRICKLE, batch, batch_outputs, check_batch

import jetbridge
from jetbridge.store import Database
from jetbridge.store.registry import Registry

DEADLINE = 120.0
COUNT = 6_000
SOURCE = """
client = connect()
recovery_pipelines.prepare(client, files)
pipeline = recovery_pipelines.batch("cut-", files, {count}, external=False)
client.get_jet().submit(pipeline, config("cut-")).join()
"""


def frames_of(home):
    """How many frames a log has, and how many of them are in the database file as well."""
    shared = (home / "jetbridge.db-shm").read_bytes()
    frames, attempted, backfilled = (struct.unpack_from("=I", shared, at)[0] for at in (16, 128, 96))
    return frames, max(attempted, backfilled)


def cut(home, chance):
    """Take away the end of the log of a copied data folder, but nothing that may be in the database file already.

    Returns:
        How many frames were there, how many may be lost, and the length that is left.
    """
    log, index = home / "jetbridge.db-wal", home / "jetbridge.db-shm"
    frames, backfilled = frames_of(home)
    page = struct.unpack_from(">I", log.read_bytes(), 8)[0]
    first, last = 32 + backfilled * (24 + page), 32 + frames * (24 + page)
    length = chance.randint(min(first, last), last)
    os.truncate(log, min(length, log.stat().st_size))
    index.unlink()
    return frames, frames - backfilled, length


def image(processes, home, to, *, backfill):
    """A copy of the folder at one moment: all who could write are stopped meanwhile.

    Returns:
        False where frames should have been brought into the file before, and none could be.
    """
    halt(processes)
    try:
        if backfill:
            with contextlib.closing(sqlite3.connect(home / "jetbridge.db", timeout=1)) as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            if not frames_of(home)[1]:
                return False
        shutil.copytree(home, to)
        return True
    finally:
        for process in processes:
            process.resume()


class Run:
    """A job in a client of its own, which slows down at a random item so that it outlasts all copies."""

    def __init__(self, begin, family, chance, until, home):
        held = str(chance.randrange(300, COUNT - 2_000))
        self.script = begin(SOURCE.format(count=COUNT), home=home, **{TRICKLE: held})
        self.family, self.chance, self.until, self.home = family, chance, until, home
        until(lambda: (home / "jetbridge.db").exists())
        self.db = Database.open(home)
        self.registry = Registry(self.db)
        until(lambda: self.commits() >= 2, "commits")

    def commits(self):
        record = self.registry.by_name("cut-")
        return 0 if record is None else record.commits

    def goes_on(self):
        """Wait for a commit and a random moment behind it."""
        before = self.commits()
        self.until(lambda: self.commits() > before, "a commit")
        time.sleep(self.chance.uniform(0, 0.2))

    def copy(self, to, *, backfill):
        """Copy the folder; with ``backfill`` some frames of its log are in the file already, and some are not."""
        with contextlib.closing(sqlite3.connect(self.home / "jetbridge.db", isolation_level=None)) as reader:
            if backfill:  # no frame behind what a reader sees gets into the file
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM jobs").fetchall()
            self.goes_on()
            return image(self.family(self.script), self.home, to, backfill=backfill)

    def end(self):
        assert self.script.poll() is None, "the run was over before the last copy"
        self.db.close()
        processes = self.family(self.script)
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.script.wait()
        psutil.wait_procs(processes, timeout=30)


def images(begin, family, chance, until, home, count):
    """Copies of a data folder at random moments of a run; afterwards the run's processes are gone."""
    run = Run(begin, family, chance, until, home)
    found = []
    while len(found) < count:
        to, backfill = home.with_name(f"{home.name}-{len(found)}"), bool(len(found) % 2)
        # A reader that found an empty log, or a writer that is stopped in the middle, is in the way.
        until(lambda to=to, backfill=backfill: run.copy(to, backfill=backfill), "a copy")
        found.append(to)
    run.end()
    return found


def check_that_it_goes_on(home, folder):
    with jetbridge.connect(home=home, parallelism=1, shards=16) as client:
        assert client._session.db.reader().execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        job = client.get_jet().get_job_by_name("cut-")
        if job is None:  # a cut so early that not even the job is there
            if not client.get_list("stored").size() or not client.get_map("squares").size():
                return 0
            job = client.get_jet().submit(batch("cut-", folder, COUNT, external=False))
        elif not job.is_terminal():
            assert str(job.status) == "SUSPENDED"
            job.resume()
        before = client._session.registry.get(job.id).commits
        job.join(DEADLINE)
        check_batch(batch_outputs(client, "cut-", folder, external=False), COUNT)
        counts = job.get_metrics().stages
        assert counts["plain"].received_count == COUNT
        assert counts["sorted"].received_count == COUNT
        return before


def power_cuts(begin, family, chance, until, tmp_path, folder, moments, cuts):
    home = tmp_path / "home"
    frames, goes_on = [], []
    for number, copy in enumerate(images(begin, family, chance, until, home, moments)):
        for _ in range(cuts):
            again = tmp_path / f"again-{number}-{len(goes_on)}"
            shutil.copytree(copy, again)
            frames.append(cut(again, chance))
            goes_on.append(check_that_it_goes_on(again, folder))
            shutil.rmtree(again)
    print("frames, of them not in the file, bytes left:", frames, "commits that stood:", goes_on)
    assert len(goes_on) == moments * cuts
    assert any(lost for _, lost, _ in frames), "no copy had anything to lose"
    assert any(lost < count for count, lost, _ in frames), "no copy had frames in the file"
    assert any(0 < lost < count for count, lost, _ in frames), "no copy had both"


def test_the_end_of_the_log_is_lost(begin, family, chance, until, tmp_path, folder, client):
    power_cuts(begin, family, chance, until, tmp_path, folder, 2, 3)


@pytest.mark.full
@pytest.mark.parametrize("round_", range(3))
def test_the_end_of_the_log_is_lost_often(begin, family, chance, until, tmp_path, folder, client, round_):
    power_cuts(begin, family, chance, until, tmp_path, folder, 3, 4)
