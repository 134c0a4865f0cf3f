"""Which sources wait for the end of build sides."""

from __future__ import annotations

from jetbridge import Pipeline
from jetbridge.plan.hash_join import gates


def named(build):
    """The gates of a pipeline, by names."""
    pipeline = Pipeline.create()
    stages = [pipeline.read_from(Pipeline.from_list(name, [])) for name in "abc"]
    build(*stages).write_to(Pipeline.to_list("results"))
    for stage in stages:
        stage.write_to(Pipeline.to_list(f"{stage.name}-copy"))
    plan = pipeline.plan()
    return {
        plan.node(source).name: {plan.node(build).name for build in builds} for source, builds in gates(plan).items()
    }


def on(item):
    return item


def test_the_items_wait_for_the_build_side():
    assert named(lambda a, b, c: a.merge(c).hash_join(b.map(str), on)) == {
        "a": {"hash_join-build"}, "c": {"hash_join-build"}
    }  # fmt: skip


def test_a_stage_that_is_joined_with_itself_does_not():
    assert named(lambda a, b, c: a.merge(b).hash_join(a.distinct(), on)) == {"b": {"hash_join-build"}}


def test_no_two_wait_for_each_other():
    def build(a, b, c):
        one, two = a.hash_join(b, on), b.hash_join(c, on)
        three = c.hash_join(a, on)
        return one.merge(two, three)

    assert named(build) == {"a": {"hash_join-build"}, "b": {"hash_join-build-2"}}


def test_parts_bear_the_name_of_the_whole():
    pipeline = Pipeline.create()
    a, b, c = (pipeline.read_from(Pipeline.from_list(name, [])) for name in "abc")
    a.hash_join2(b, on, c, on).set_name("rich").write_to(Pipeline.to_list("results"))
    assert {node.name for node in pipeline.plan().keyed} == {"rich", "rich-build1", "rich-build2", "rich-step1"}
