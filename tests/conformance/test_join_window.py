"""join_window: pairs of items of the same key in the same window."""

from __future__ import annotations

import pytest

from jetbridge import Pipeline, StreamSource, windows

LEFT = [("a", n) for n in range(0, 40, 4)] + [("b", 3)]
RIGHT = [("a", n) for n in range(1, 40, 13)] + [("c", 5)]


def grouped(stage):
    return stage.with_timestamps(lambda pair: pair[1]).group_by(lambda pair: pair[0])


@pytest.mark.parametrize("how", ["inner", "left", "right", "outer"])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_batches(jet, how):
    pipeline, results = Pipeline.create(), jet.list()
    left, right = (
        grouped(pipeline.read_from(Pipeline.from_list(*each))) for each in (("left", LEFT), ("right", RIGHT))
    )
    left.join_window(right, windows.tumbling(10), how=how).write_to(Pipeline.to_list(results.name))
    jet.run(pipeline)
    expected = []
    for start in range(0, 40, 10):
        for key in "abc":
            lefts, rights = ([p for p in side if p[0] == key and p[1] // 10 * 10 == start] for side in (LEFT, RIGHT))
            expected += [(start, start + 10, key, (one, other)) for one in lefts for other in rights]
            if not rights and how in ("left", "outer"):
                expected += [(start, start + 10, key, (one, None)) for one in lefts]
            if not lefts and how in ("right", "outer"):
                expected += [(start, start + 10, key, (None, other)) for other in rights]
    assert sorted((r.start, r.end, r.key, r.value) for r in results.get_all()) == sorted(expected, key=repr)


def test_many_pairs_of_one_key(jet):
    pipeline, results = Pipeline.create(), jet.list()
    left, right = (pipeline.read_from(Pipeline.from_list(name, range(300))) for name in ("left", "right"))
    left, right = (stage.with_timestamps(lambda n: 5).group_by(lambda n: 0) for stage in (left, right))
    joined = left.join_window(right, windows.session(10)).map(lambda result: result.value[0] * 300 + result.value[1])
    joined.write_to(Pipeline.to_list(results.name))
    jet.run(pipeline)
    assert sorted(results.get_all()) == list(range(90_000))


def test_nothing_on_one_side(jet):
    pipeline, results = Pipeline.create(), jet.list()
    left, right = (grouped(pipeline.read_from(Pipeline.from_list(*each))) for each in (("left", LEFT), ("right", [])))
    left.join_window(right, windows.tumbling(10)).write_to(Pipeline.to_list(results.name))
    jet.run(pipeline)
    assert results.get_all() == []


def test_streams(jet, until):
    names, results, late = [jet.name("left"), jet.name("right")], jet.list(), jet.list()
    pipeline = Pipeline.create()
    left, right = (grouped(pipeline.read_from(StreamSource(name))) for name in names)
    joined = left.join_window(right, windows.tumbling(10), how="outer")
    joined.write_to(Pipeline.to_list(results.name))
    joined.late_items().write_to(Pipeline.to_list(late.name))
    jet.submit(pipeline)
    lefts, rights = (jet.client.get_stream(name) for name in names)
    lefts.publish_all([("a", 1), ("b", 2), ("z", 100)])
    rights.publish_all([("a", 3), ("c", 4), ("z", 100), ("a", 5)])
    until(lambda: late.get_all() == [("a", 5)])
    until(lambda: results.size() >= 3)
    got = sorted((r.key, r.value) for r in results.get_all())
    assert got == [("a", (("a", 1), ("a", 3))), ("b", (("b", 2), None)), ("c", (None, ("c", 4)))]
