from __future__ import annotations

import logging

import pytest

from jetbridge import Pipeline


def write(jet, items, name, **options):
    pipeline = Pipeline.create()
    pipeline.read_from(Pipeline.from_list("items", items)).write_to(Pipeline.to_list(name, **options))
    return jet.run(pipeline)


def test_a_list_is_appended_to_as_in_jet(jet, log):
    stored = jet.list()
    write(jet, [1, 2], stored.name)
    write(jet, [3], stored.name)
    assert stored.get_all() == [1, 2, 3]


def test_appending_to_a_list_that_holds_items_logs_one_line(jet, log):
    stored = jet.list()
    write(jet, [1], stored.name)
    assert not [record for record in log.records if stored.name in record.getMessage()]
    write(jet, range(20_000), stored.name)
    lines = [record for record in log.records if stored.name in record.getMessage()]
    assert len(lines) == 1
    assert lines[0].levelno >= logging.INFO
    assert "clear=True" in lines[0].getMessage()


def test_clear_empties_it_at_the_start(jet):
    stored = jet.list()
    stored.add_all(["old"] * 5)
    write(jet, ["new"], stored.name, clear=True)
    assert stored.get_all() == ["new"]
    write(jet, [], stored.name, clear=True)
    assert stored.get_all() == [], "also when nothing is written"


def test_clear_does_not_touch_other_lists(jet):
    stored, other = jet.list(), jet.list()
    other.add("keep")
    write(jet, ["new"], stored.name, clear=True)
    assert other.get_all() == ["keep"]


@pytest.mark.parametrize("items", [[], [None], [1, 1.0, True], [(1,), [1]], ["\udc80", b"\xff"]], ids=repr)
def test_items_of_every_kind(jet, items):
    stored = jet.list()
    write(jet, items, stored.name)
    assert list(map(repr, stored.get_all())) == list(map(repr, items))


@pytest.mark.parametrize("parallelism", [1, 2])
def test_stored_lists_answer_as_python_lists_do(jet):
    stored = jet.list()
    write(jet, range(20_000), stored.name)
    assert len(stored) == stored.size() == 20_000
    assert stored[0] == stored.get(0) == 0
    assert stored[-1] == 19_999
    assert stored[9_990:10_010] == list(range(9_990, 10_010))
    assert 12_345 in stored
    assert list(stored) == list(range(20_000))


def test_two_jobs_at_once_write_to_one_list(jet):
    stored = jet.list()
    jobs = []
    for sign in (1, -1):
        pipeline = Pipeline.create()
        numbers = pipeline.read_from(Pipeline.from_list("n", [sign * n for n in range(1, 5_001)]))
        numbers.write_to(Pipeline.to_list(stored.name))
        jobs.append(jet.submit(pipeline))
    for job in jobs:
        job.join(timeout=60)
    items = stored.get_all()
    assert [n for n in items if n > 0] == list(range(1, 5_001))
    assert [n for n in items if n < 0] == list(range(-1, -5_001, -1))
