"""What arrives of a run: each chunk is taken once, in its order, however it comes and however often."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge.connectors import intake
from jetbridge.connectors.base import SinkChunk
from jetbridge.errors import CorruptDataError
from jetbridge.store import Database

runs = itertools.count()


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    opened = Database.open(tmp_path_factory.mktemp("intake") / "data")
    yield opened
    opened.close()


def chunk(number, shard="in/0", run="r"):
    return SinkChunk(run, "out", shard, number, 1, f"{shard}:{number}".encode())


@given(data=st.data())
def test_each_comes_once_and_in_order(db, data):
    """The batches hold all chunks of two shards, some of them again, in any order."""
    run = str(next(runs))
    sent = [chunk(number, shard, run) for shard in ("a", "b") for number in range(data.draw(st.integers(0, 6)))]
    again = data.draw(st.lists(st.sampled_from(sent), max_size=6)) if sent else []
    order = data.draw(st.permutations([*sent, *again]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(order)), max_size=4)))
    taken, arrived = [], set()
    for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True):
        with db.transaction() as tx:
            taken += intake.take(tx, order[start:end])
        arrived |= set(order[start:end])
        for shard in ("a", "b"):
            due = []
            while chunk(len(due), shard, run) in arrived:
                due.append(chunk(len(due), shard, run))
            assert [each for each in taken if each.shard == shard] == due, "all whose turn has come, and no other"
        assert intake.waiting(db.reader(), run) == len(arrived) - len(taken)
    assert set(taken) == set(sent)


def test_runs_do_not_meet(db):
    with db.transaction() as tx:
        assert intake.take(tx, [chunk(0, run="one"), chunk(1, run="two")]) == [chunk(0, run="one")]
    assert (intake.waiting(db.reader(), "one"), intake.waiting(db.reader(), "two")) == (0, 1)
    with db.transaction() as tx:
        intake.clear(tx, "two")
        assert intake.take(tx, [chunk(0, run="two")]) == [chunk(0, run="two")], "it has forgotten the other"


def test_a_damaged_chunk_that_waits(db):
    with db.transaction() as tx:
        intake.take(tx, [chunk(1, run="damaged")])
        tx.execute("UPDATE early SET payload = x'00' WHERE run = 'damaged'")
    with pytest.raises(CorruptDataError, match="stage 'out': a chunk that waits"), db.transaction() as tx:
        intake.take(tx, [chunk(0, run="damaged")])


def test_the_newest_figures_stay(db):
    with db.transaction() as tx:
        for version in (1, 3, 2):
            intake.note(tx, "f", "in/0", version, {"counts": {}, "at": version})
    assert intake.figures(db.reader(), "f") == {"in/0": {"counts": {}, "at": 3}}
    assert intake.figures(db.reader(), "g") == {}
