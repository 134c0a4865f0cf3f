"""interval_join: pairs of items of the same key that are close in time."""

from __future__ import annotations

import datetime as dt

import pytest

from jetbridge import JobConfig, JobStatus, Pipeline, ProcessingGuarantee, StreamSource, aggregations, windows

LEFT = [(n % 5, n * 3) for n in range(400)]
RIGHT = [(n % 7, n * 5) for n in range(300)]


def grouped(stage):
    return stage.with_timestamps(lambda pair: pair[1]).group_by(lambda pair: pair[0])


def naive(lefts, rights, before, after, how):
    found = []
    for left in lefts:
        mine = [r for r in rights if r[0] == left[0] and -before <= r[1] - left[1] <= after]
        found += [(left[0], (left, right)) for right in mine]
        if how == "left" and not mine:
            found.append((left[0], (left, None)))
    return found


@pytest.mark.parametrize("how", ["inner", "left"])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_batches(jet, bag, how):
    pipeline, results = Pipeline.create(), jet.list()
    left, right = (
        grouped(pipeline.read_from(Pipeline.from_list(*each))) for each in (("left", LEFT), ("right", RIGHT))
    )
    left.interval_join(right, 30, dt.timedelta(milliseconds=20), how=how).write_to(Pipeline.to_list(results.name))
    jet.run(pipeline)
    assert bag(results.get_all()) == bag(naive(LEFT, RIGHT, 30, 20, how))


def test_nothing_on_one_side(jet):
    pipeline, results = Pipeline.create(), jet.list()
    left, right = (grouped(pipeline.read_from(Pipeline.from_list(*each))) for each in (("a", []), ("b", RIGHT)))
    left.interval_join(right, 10, 10, how="left").write_to(Pipeline.to_list(results.name))
    jet.run(pipeline)
    assert results.get_all() == []


@pytest.mark.parametrize("guarantee", [ProcessingGuarantee.EXACTLY_ONCE, ProcessingGuarantee.NONE], ids=str)
def test_streams_over_a_suspension(jet, bag, until, guarantee):
    names, results, late = [jet.name("left"), jet.name("right")], jet.list(), jet.list()
    pipeline = Pipeline.create()
    left, right = (grouped(pipeline.read_from(StreamSource(name))) for name in names)
    joined = left.interval_join(right, before=5, after=10, how="left").set_name("near")
    joined.write_to(Pipeline.to_list(results.name))
    joined.late_items().write_to(Pipeline.to_list(late.name))
    job = jet.submit(pipeline, JobConfig(processing_guarantee=guarantee, snapshot_interval_millis=500))
    lefts, rights = (jet.client.get_stream(name) for name in names)
    lefts.publish_all([("a", 10), ("b", 11)])
    rights.publish_all([("a", 6)])
    until(lambda: results.size() >= 1)
    assert results.get_all() == [("a", (("a", 10), ("a", 6)))]
    if guarantee is ProcessingGuarantee.EXACTLY_ONCE:
        job.suspend()
        assert job.status is JobStatus.SUSPENDED
        job.resume()
    rights.publish_all([("a", 20), ("a", 21), ("z", 50), ("a", 12)])
    lefts.publish_all([("z", 60)])
    until(lambda: results.size() >= 3)
    until(lambda: late.get_all() == [("a", 12)])
    assert bag(results.get_all()) == bag(naive([("a", 10), ("b", 11)], [("a", 6), ("a", 20)], 5, 10, "left"))


def test_pairs_have_times_of_their_own(jet):
    pipeline, results = Pipeline.create(), jet.list()
    left, right = (
        grouped(pipeline.read_from(Pipeline.from_list(*each))) for each in (("left", LEFT), ("right", RIGHT))
    )
    counts = left.interval_join(right, 30, 20).window(windows.tumbling(100)).aggregate(aggregations.counting())
    counts.write_to(Pipeline.to_list(results.name))
    jet.run(pipeline)
    times = [max(one[1], other[1]) for _, (one, other) in naive(LEFT, RIGHT, 30, 20, "inner")]
    expected = {start: sum(start <= time < start + 100 for time in times) for start in range(0, 2_000, 100)}
    assert {r.start: r.value for r in results.get_all()} == {start: n for start, n in expected.items() if n}
