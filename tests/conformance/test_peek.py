from __future__ import annotations

import logging

import pytest

from jetbridge import JobConfig, Pipeline


def peeked(log):
    return [record.getMessage() for record in log.records if record.name.startswith("jetbridge.")]


@pytest.mark.parametrize("items", [[], [1], [None, "żółw", b"\xff", (1, 2)]], ids=repr)
def test_items_pass_unchanged(jet, items):
    assert jet.collect(items, lambda stage: stage.peek()) == items


def test_each_item_is_logged_under_the_jobs_name(jet, log):
    pipeline, results, name = Pipeline.create(), jet.list(), jet.name("peeking")
    stage = pipeline.read_from(Pipeline.from_list("n", [1, "two", None])).peek().set_name("look")
    stage.write_to(Pipeline.to_list(results.name))
    jet.run(pipeline, JobConfig(name=name))
    records = [record for record in log.records if record.name == f"jetbridge.{name}"]
    assert [record.levelno for record in records] == [logging.INFO] * 3
    for record, item in zip(records, [1, "two", None], strict=True):
        assert "look" in record.getMessage()
        assert repr(item) in record.getMessage()


def test_it_sees_items_where_it_stands(jet, log):
    jet.collect([1, 2], lambda stage: stage.map(lambda x: x * 100).peek().map(lambda x: x + 1))
    shown = "\n".join(peeked(log))
    assert "100" in shown
    assert "200" in shown
    assert "101" not in shown


@pytest.mark.parametrize("parallelism", [1, 2])
def test_nothing_is_lost_with_many_items(jet, log):
    assert jet.collect(range(6_000), lambda stage: stage.peek()) == list(range(6_000))
    assert len(peeked(log)) == 6_000
