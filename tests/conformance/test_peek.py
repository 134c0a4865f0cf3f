from __future__ import annotations

import logging

import pytest

from jetbridge import JobConfig, JobFailedError, Pipeline, PipelineError


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


def test_only_what_it_is_told_to_in_the_words_that_it_is_given(jet, log):
    build = lambda stage: stage.peek(lambda n: n > 2, to_string=lambda n: f"<{n:03}>")  # noqa: E731
    assert jet.collect([1, 2, 3, 4], build) == [1, 2, 3, 4]
    assert [message.partition(": ")[2] for message in peeked(log)] == ["<003>", "<004>"]


def test_a_function_that_raises_names_the_stage_and_the_item(jet):
    pipeline = Pipeline.create()
    stage = pipeline.read_from(Pipeline.from_list("n", [0])).peek(lambda n: 1 // n).set_name("look")
    stage.write_to(Pipeline.to_list(jet.list().name))
    with pytest.raises(JobFailedError, match="peek 'look' failed on item 0: ZeroDivisionError"):
        jet.run(pipeline)


@pytest.mark.parametrize("arguments", [{"should_log": 3}, {"to_string": "%s"}], ids=repr)
def test_what_is_no_function_is_refused(arguments):
    [name] = arguments
    with pytest.raises(PipelineError, match=f"peek must be given a callable as {name}; got"):
        Pipeline.create().read_from(Pipeline.from_list("n", [1])).peek(**arguments)
