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
from recovery_pipelines import batch, batch_outputs, check_batch

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


def cut(home, chance):
    """Take away the end of the log of a copied data folder, but nothing that may be in the database file already.

    Returns:
        How many frames were there, how many may be lost, and the length that is left.
    """
    log, index = home / "jetbridge.db-wal", home / "jetbridge.db-shm"
    if not index.exists():  # the last connection had just been closed: all is in the database file
        return 0, 0, 0
    shared = index.read_bytes()
    frames = struct.unpack_from("=I", shared, 16)[0]
    backfilled = max(struct.unpack_from("=I", shared, 96)[0], struct.unpack_from("=I", shared, 128)[0])
    page = struct.unpack_from(">I", log.read_bytes(), 8)[0] if log.stat().st_size else 8192
    first, last = 32 + backfilled * (24 + page), 32 + frames * (24 + page)
    length = chance.randint(min(first, last), last)
    os.truncate(log, min(length, log.stat().st_size))
    index.unlink()
    return frames, frames - backfilled, length


def image(processes, home, to):
    """A copy of the folder at one moment: all who could write are stopped meanwhile."""
    for process in processes:
        process.suspend()
    try:
        shutil.copytree(home, to)
    finally:
        for process in processes:
            process.resume()


def images(begin, family, chance, until, home, count):
    """Copies of a data folder at random moments of a run; afterwards the run's processes are gone."""
    script = begin(SOURCE.format(count=COUNT), home=home)
    found = []

    until(lambda: (home / "jetbridge.db").exists())
    db = Database.open(home)
    registry = Registry(db)
    until(lambda: registry.by_name("cut-") is not None and registry.by_name("cut-").commits >= 2, "commits")
    while len(found) < count and script.poll() is None:
        before = registry.by_name("cut-").commits
        until(lambda before=before: script.poll() is not None or registry.by_name("cut-").commits > before, "a commit")
        end = time.monotonic() + chance.uniform(0, 0.2)
        while time.monotonic() < end:
            time.sleep(0.005)
        if len(found) % 2:  # in every second image some frames are in the file already
            passively = sqlite3.connect(db.path, timeout=30)
            passively.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            passively.close()
        to = home.with_name(f"{home.name}-{len(found)}")
        image(family(script), home, to)
        found.append(to)
    db.close()
    processes = family(script)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    script.wait()
    psutil.wait_procs(processes, timeout=30)
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
    # A run that had just ended leaves no log to its second copy.
    assert any(lost < count for count, lost, _ in frames) or not any(count for count, _, _ in frames[cuts:])


def test_the_end_of_the_log_is_lost(begin, family, chance, until, tmp_path, folder, client):
    power_cuts(begin, family, chance, until, tmp_path, folder, 2, 3)


@pytest.mark.full
@pytest.mark.parametrize("round_", range(3))
def test_the_end_of_the_log_is_lost_often(begin, family, chance, until, tmp_path, folder, client, round_):
    power_cuts(begin, family, chance, until, tmp_path, folder, 3, 4)
