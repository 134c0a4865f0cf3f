"""aggregate2: two stages aggregated at once, whole, by key and in windows."""

from __future__ import annotations

import pytest

from jetbridge import JobConfig, JobStatus, Pipeline, ProcessingGuarantee, StreamSource, aggregations, windows
from jetbridge.aggregations import folding

VIEWS = [(f"u{n % 7}", n) for n in range(5_000)]
BUYS = [(f"u{n % 5 + 4}", n) for n in range(300)]


def who(pair):
    return pair[0]


def number(pair):
    return pair[1]


@pytest.fixture
def both(jet):
    """Runs what is built of the two lists."""

    def run(build, views=VIEWS, buys=BUYS):
        pipeline, results = Pipeline.create(), jet.list()
        left = pipeline.read_from(Pipeline.from_list("views", views))
        right = pipeline.read_from(Pipeline.from_list("buys", buys))
        build(left, right).write_to(Pipeline.to_list(results.name))
        jet.run(pipeline)
        return results.get_all()

    return run


@pytest.mark.parametrize("parallelism", [1, 2])
def test_by_key(both):
    results = both(
        lambda left, right: left.group_by(who).aggregate2(
            aggregations.counting(), right.group_by(who), aggregations.summing(number)
        )
    )
    expected = {
        f"u{u}": (sum(who(v) == f"u{u}" for v in VIEWS), sum(number(b) for b in BUYS if who(b) == f"u{u}"))
        for u in range(9)
    }
    assert dict(results) == expected
    assert len(results) == 9


def test_whole_stages_give_one_pair(both):
    results = both(lambda left, right: left.aggregate2(aggregations.counting(), right, aggregations.max_by(number)))
    assert results == [(5_000, ("u8", 299))]


def test_without_items_there_is_the_result_of_none(both):
    def build(left, right):
        return left.aggregate2(aggregations.counting(), right, aggregations.averaging(number))

    assert both(build, [], []) == [(0, None)]
    assert both(build, [("a", 1)], []) == [(1, None)]


def test_a_stage_with_itself(both):
    results = both(
        lambda left, right: (
            left.merge(right).aggregate2(aggregations.counting(), left, aggregations.counting()).map(lambda pair: pair)
        )
    )
    assert results == [(5_300, 5_000)]


def test_without_a_combiner_the_order_is_that_of_the_source(both):
    fold = folding(lambda acc, pair: [*acc, number(pair)], initial=[])
    results = both(
        lambda left, right: left.group_by(who).aggregate2(fold, right.group_by(who), fold), VIEWS[:200], BUYS[:50]
    )
    assert dict(results)["u4"] == ([n for n in range(200) if n % 7 == 4], list(range(0, 50, 5)))


def test_windows_of_batches(both):
    def build(left, right):
        left = left.with_timestamps(lambda pair: pair[1]).group_by(who)
        right = right.with_timestamps(lambda pair: pair[1]).group_by(who)
        return left.window(windows.tumbling(100)).aggregate2(aggregations.counting(), right, aggregations.to_list())

    results = {(r.start, r.end, r.key): r.value for r in both(build)}
    expected = {}
    for items, side in ((VIEWS, 0), (BUYS, 1)):
        for user, n in items:
            expected.setdefault((n // 100 * 100, n // 100 * 100 + 100, user), ([], []))[side].append((user, n))
    assert results == {place: (len(views), buys) for place, (views, buys) in expected.items()}


@pytest.mark.parametrize("window", [windows.tumbling(10), windows.sliding(20, 10), windows.session(5)], ids=str)
def test_windows_of_streams_end_by_the_watermark_of_both(jet, until, window):
    names, results, late = [jet.name("left"), jet.name("right")], jet.list(), jet.list()
    pipeline = Pipeline.create()
    left, right = (
        pipeline.read_from(StreamSource(name)).with_timestamps(lambda pair: pair[1]).group_by(who) for name in names
    )
    counts = left.window(window).aggregate2(aggregations.counting(), right, aggregations.counting())
    counts.write_to(Pipeline.to_list(results.name))
    counts.late_items().write_to(Pipeline.to_list(late.name))
    job = jet.submit(pipeline, JobConfig(processing_guarantee=ProcessingGuarantee.EXACTLY_ONCE))
    views, buys = (jet.client.get_stream(name) for name in names)
    views.publish_all([("a", 1), ("a", 2), ("b", 3), ("z", 1_000)])
    buys.publish_all([("a", 4), ("z", 500)])
    until(lambda: len(results.get_all()) >= (4 if window == windows.sliding(20, 10) else 2))
    buys.publish_all([("late", 6), ("z", 1_000)])
    until(lambda: late.get_all() == [("late", 6)])
    got = [(r.key, r.value) for r in results.get_all() if r.end <= 30]
    assert sorted(set(got)) == [("a", (2, 1)), ("b", (1, 0))]
    assert job.status is JobStatus.RUNNING
