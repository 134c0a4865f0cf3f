from __future__ import annotations

import pytest

from jetbridge import Pipeline, PipelineError


def names(pipeline):
    return [node.name for node in pipeline.plan().nodes]


def test_default_names_are_the_operators_and_the_structures():
    pipeline = Pipeline.create()
    stage = pipeline.read_from(Pipeline.from_list("numbers", [1])).map(str).map(int).filter(bool).map(str)
    stage.write_to(Pipeline.to_list("results"))
    assert names(pipeline) == ["numbers", "map", "map-2", "filter", "map-3", "results"]


def test_default_names_are_the_same_each_time():
    def build():
        pipeline = Pipeline.create()
        source = pipeline.read_from(Pipeline.from_list("numbers", [1]))
        source.map(lambda x: x).write_to(Pipeline.to_list("a"))
        source.map(lambda x: -x).write_to(Pipeline.to_list("b"))
        return pipeline

    assert names(build()) == names(build())
    assert not any(character.isdigit() for name in names(build()) for character in name.replace("-2", ""))


def test_the_name_is_seen_in_the_metrics(jet):
    pipeline, results = Pipeline.create(), jet.list()
    stage = pipeline.read_from(Pipeline.from_list("n", [1, 2, 3])).filter(lambda x: x > 1).set_name("big ones")
    stage.write_to(Pipeline.to_list(results.name))
    job = jet.run(pipeline)
    assert job.get_metrics().stages["big ones"].emitted_count == 2


def test_set_name_returns_the_stage_and_builders_go_on(jet):
    results = jet.collect([1], lambda s: s.set_name("first").map(str).set_name("second").map(int).set_name("żółw 🐢/#"))
    assert results == [1]


def test_every_sort_of_stage_takes_a_name():
    pipeline = Pipeline.create()
    source = pipeline.read_from(Pipeline.from_list("n", [1])).set_name("source")
    source.group_by(lambda x: x).collect().set_name("group").write_to(Pipeline.to_list("r")).set_name("sink")
    source.group_by(lambda x: x).aggregate(accumulator=lambda a, x: a, initial=0).set_name("total").write_to(
        Pipeline.to_list("q")
    )
    assert {"source", "group", "sink", "total"} <= set(names(pipeline))


def test_a_stage_knows_its_name():
    stage = Pipeline.create().read_from(Pipeline.from_list("n", [1])).map(str).map(int)
    assert stage.name == "map-2"
    assert stage.set_name("parse").name == "parse"
    assert "parse" in repr(stage)


def test_a_default_name_makes_way_for_one_that_was_given():
    pipeline = Pipeline.create()
    stage = pipeline.read_from(Pipeline.from_list("n", [1])).map(str)
    stage.map(str).set_name("map").write_to(Pipeline.to_list("r"))
    assert names(pipeline) == ["n", "map-2", "map", "r"]


@pytest.mark.parametrize("name", [None, 3, "", "  ", b"x"], ids=repr)
def test_a_name_must_be_a_text(name):
    stage = Pipeline.create().read_from(Pipeline.from_list("n", [1]))
    with pytest.raises(PipelineError, match="name must be") as caught:
        stage.set_name(name)
    assert repr(name) in str(caught.value)


def test_two_stages_cannot_have_one_name():
    stage = Pipeline.create().read_from(Pipeline.from_list("n", [1])).map(str).set_name("parse")
    with pytest.raises(PipelineError, match=r"'parse'.*set_name"):
        stage.map(int).set_name("parse")
