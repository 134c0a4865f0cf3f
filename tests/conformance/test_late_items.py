"""Late items: which they are by a plain loop, and where they go."""

from __future__ import annotations

import pytest

from jetbridge import Pipeline, PipelineError, ProcessingGuarantee, StreamSource, aggregations, windows

LAG = 500


def at(n):
    """Mostly in order; each tenth comes long after its time."""
    return 100 * n - (4_000 if n % 10 == 3 else 0) - (900 if n % 7 == 2 else 0)


ITEMS = list(range(300))
END = 10_000


def marks():
    newest = None
    for n in ITEMS:
        yield -(10**18) if newest is None else newest - LAG
        newest = at(n) if newest is None else max(newest, at(n))


def by_frames(size, step):
    members, late = {}, []
    for n, mark in zip(ITEMS, marks(), strict=True):
        first = at(n) // step * step + step
        ends = [end for end in range(first, first + size, step) if end > mark]
        for end in ends:
            members.setdefault(end - size, []).append(n)
        if not ends:
            late.append(n)
    return sorted(members.items()), late


SHAPES = {"sliding": (2_000, 500), "tumbling": (1_000, 1_000), "sliding-long": (3_000, 1_000)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pieces", [7, 1, 300])
def test_which_are_late_does_not_depend_on_when_items_come(flow, jet, until, shape, pieces):
    size, step = SHAPES[shape]
    window = windows.tumbling(size) if size == step else windows.sliding(size, step)
    late = jet.list()

    def build(stage):
        timed = stage.with_timestamps(at, allowed_lag=LAG)
        listed = timed.window(window).aggregate(lambda acc, n: [*acc, n], initial=[]).set_name("windows")
        listed.late_items().write_to(Pipeline.to_list(late.name))
        return listed

    flow.start(build, guarantee=ProcessingGuarantee.EXACTLY_ONCE)
    each = len(ITEMS) // pieces + 1
    for start in range(0, len(ITEMS), each):
        flow.publish(ITEMS[start : start + each])
    flow.publish([END])
    members, expected = by_frames(size, step)
    assert len(expected) > 5
    results = flow.get(len(members))
    assert sorted((r.start, sorted(r.value)) for r in results) == [(s, sorted(ns)) for s, ns in members]
    assert sorted(late) == expected
    until(lambda: flow.job.get_metrics().stages["windows"].late_count == len(expected))


def test_of_a_batch_nothing_is_late(jet):
    late, results, pipeline = jet.list(), jet.list(), Pipeline.create()
    timed = pipeline.read_from(Pipeline.from_list("items", ITEMS)).with_timestamps(at)
    counted = timed.window(windows.session(1)).aggregate(aggregations.counting())
    counted.late_items().write_to(Pipeline.to_list(late.name))
    counted.write_to(Pipeline.to_list(results.name))
    jet.run(pipeline)
    assert late.get_all() == []
    assert sum(result.value for result in results) == len(ITEMS)


def test_it_is_refused_where_nothing_can_be_late(says):
    stage = Pipeline.create().read_from(StreamSource("n")).with_timestamps(at)
    for bare in (stage, stage.map(str), stage.rolling_aggregate(aggregations.counting())):
        with pytest.raises(PipelineError) as caught:
            bare.late_items()
        says(caught, "late_items: nothing is late", "behind a window")


def test_late_items_have_no_times(says):
    stage = Pipeline.create().read_from(StreamSource("n")).with_timestamps(at)
    counted = stage.window(windows.tumbling(5)).aggregate(aggregations.counting())
    with pytest.raises(PipelineError) as caught:
        counted.late_items().window(windows.tumbling(5))
    says(caught, "window needs the times", "'late_items'")
