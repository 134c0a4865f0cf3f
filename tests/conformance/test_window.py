"""Windows over streams and batches, against plain loops."""

from __future__ import annotations

import datetime as dt
import operator
from collections import defaultdict

import pytest

from jetbridge import Pipeline, PipelineError, ProcessingGuarantee, StreamSource, aggregations, windows

EXACTLY_ONCE = ProcessingGuarantee.EXACTLY_ONCE
LAG = 3_000


def event(n):
    """Some events: a bit out of order, with ties, and a pause."""
    return {"n": n, "at": 250 * n + n * 7_919 % 2_000 + (60_000 if n >= 120 else 0), "key": "abc"[n % 3]}


EVENTS = [event(n) for n in range(200)]
LAST = {"n": -1, "at": 10_000_000, "key": "end"}
"""Closes all windows before it."""


def at(event):
    return event["at"]


def key(event):
    return event["key"]


def number(event):
    return event["n"]


def append(acc, event):
    return [*acc, event["n"]]


def by_frames(size, step, value):
    """A plain loop over all events."""
    members = defaultdict(list)
    for e in EVENTS:
        first = e["at"] // step * step + step
        for end in range(first, first + size, step):
            members[end - size, end, e["key"]].append(e["n"])
    return sorted((*window, value(numbers), False) for window, numbers in members.items())


def by_sessions(gap, value):
    found = []
    for name in "abc":
        session = []
        for e in sorted((e for e in EVENTS if e["key"] == name), key=at):
            if session and e["at"] >= session[-1]["at"] + gap:
                found.append((session, name))
                session = []
            session.append(e)
        found.append((session, name))
    return sorted((s[0]["at"], s[-1]["at"] + gap, name, value(sorted(e["n"] for e in s)), False) for s, name in found)


SHAPES = {
    "sliding": (
        lambda s: s.window(windows.sliding(10_000, 2_000)).aggregate(aggregations.summing(number)),
        lambda: by_frames(10_000, 2_000, sum),
    ),
    "session": (
        lambda s: s.window(windows.session(5_000)).aggregate(aggregations.counting()),
        lambda: by_sessions(5_000, len),
    ),
    "tumbling": (
        lambda s: s.window(windows.tumbling(4_000)).aggregate(aggregations.counting()),
        lambda: by_frames(4_000, 4_000, len),
    ),
    "sliding-combined": (
        lambda s: s.window(windows.sliding(9_000, 3_000)).aggregate(lambda a, e: a + e["n"], 0, operator.add),
        lambda: by_frames(9_000, 3_000, sum),
    ),
    "sliding-fold": (
        lambda s: s.window(windows.sliding(9_000, 3_000)).aggregate(append, initial=[]),
        lambda: by_frames(9_000, 3_000, list),
    ),
    "session-fold": (
        lambda s: s.window(windows.session(5_000)).aggregate(append, initial=[], finisher=tuple),
        lambda: by_sessions(5_000, tuple),
    ),
    "tumbling-fold": (
        lambda s: s.window(windows.tumbling(4_000)).aggregate(append, initial=[]),
        lambda: by_frames(4_000, 4_000, list),
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_of_a_stream_that_is_suspended_resumed_and_started_from_a_snapshot(flow, jet, shape):
    """Every window comes once, with all its items, wherever the job stopped."""
    build, expected = SHAPES[shape]

    def windowed(stage):
        return build(stage.with_timestamps(at, allowed_lag=LAG).group_by(key)).set_name("windows")

    flow.start(windowed, guarantee=EXACTLY_ONCE).publish(EVENTS[:125])
    flow.get(1)
    flow.job.suspend()
    flow.publish(EVENTS[125:160])
    flow.job.resume()
    snapshot = jet.name("middle")
    flow.job.cancel_and_export_snapshot(snapshot)
    flow.publish(EVENTS[160:]).publish([LAST])
    flow.start(windowed, guarantee=EXACTLY_ONCE, snapshot=snapshot)
    assert sorted(map(tuple, flow.get(len(expected())))) == expected()
    jet.service.get_job_state_snapshot(snapshot).destroy()


@pytest.mark.parametrize("parallelism", [2, 1])
@pytest.mark.parametrize("shape", SHAPES)
def test_of_a_batch(jet, shape):
    build, expected = SHAPES[shape]
    results = jet.collect(EVENTS, lambda s: build(s.with_timestamps(at).group_by(key)))
    assert sorted(map(tuple, results)) == expected()


@pytest.mark.parametrize("shape", ["sliding", "session", "tumbling"])
def test_of_a_batch_without_a_key_and_with_the_key_behind_the_window(jet, shape):
    build, expected = SHAPES[shape]
    whole, keyed = jet.list(), jet.list()
    pipeline = Pipeline.create()
    timed = pipeline.read_from(Pipeline.from_list("events", EVENTS)).with_timestamps(at)
    only = timed.filter(lambda e: e["key"] == "a")
    build(only).write_to(Pipeline.to_list(whole.name))
    window = {
        "sliding": windows.sliding(dt.timedelta(seconds=10), dt.timedelta(seconds=2)),
        "session": windows.session(dt.timedelta(seconds=5)),
        "tumbling": windows.tumbling(dt.timedelta(seconds=4)),
    }[shape]
    operation = aggregations.summing(number) if shape == "sliding" else aggregations.counting()
    timed.window(window).group_by(key).aggregate(operation).write_to(Pipeline.to_list(keyed.name))
    jet.run(pipeline)
    assert sorted(map(tuple, keyed)) == expected()
    assert sorted(map(tuple, whole)) == [(s, e, v, early) for s, e, k, v, early in expected() if k == "a"]


def test_windows_of_windows(flow):
    """A result has the time of its window's last millisecond."""
    flow.start(
        lambda s: (
            s.with_timestamps(at, allowed_lag=LAG)
            .window(windows.tumbling(2_000))
            .aggregate(aggregations.counting())
            .window(windows.tumbling(6_000))
            .aggregate(aggregations.summing(lambda result: result.value))
        )
    ).publish([*EVENTS, LAST])
    counts = defaultdict(int)
    for e in EVENTS:
        counts[e["at"] // 6_000 * 6_000] += 1
    expected = sorted((start, start + 6_000, count, False) for start, count in counts.items())
    assert sorted(map(tuple, flow.get(len(expected)))) == expected


def test_distinct(jet):
    each, keyed, firsts = jet.list(), jet.list(), jet.list()
    pipeline = Pipeline.create()
    timed = pipeline.read_from(Pipeline.from_list("events", EVENTS)).with_timestamps(at)
    timed.map(key).window(windows.tumbling(10_000)).distinct().write_to(Pipeline.to_list(each.name))
    timed.group_by(key).window(windows.tumbling(10_000)).distinct().write_to(Pipeline.to_list(keyed.name))
    timed.window(windows.tumbling(10_000)).distinct(key).write_to(Pipeline.to_list(firsts.name))
    jet.run(pipeline)
    first = {}
    for e in EVENTS:
        first.setdefault((e["at"] // 10_000 * 10_000, e["key"]), e)
    assert sorted((r.start, r.value) for r in each) == sorted(first)
    assert {(r.start, r.key): r.value for r in keyed} == first
    assert sorted((r.start, r.value["key"], r.value["n"]) for r in firsts) == sorted(
        (start, name, e["n"]) for (start, name), e in first.items()
    )


def test_a_batch_branch_that_is_merged_with_a_stream_holds_the_watermark_until_it_ends(jet, until):
    stream, results = jet.client.get_stream(jet.name("stream")), jet.list()
    pipeline = Pipeline.create()
    old = pipeline.read_from(Pipeline.from_list("old", EVENTS[:100])).with_timestamps(at)
    new = pipeline.read_from(StreamSource(stream.name)).with_timestamps(at, allowed_lag=LAG)
    counted = old.merge(new).window(windows.tumbling(4_000)).aggregate(aggregations.counting())
    counted.write_to(Pipeline.to_list(results.name))
    jet.submit(pipeline)
    stream.publish_all([*EVENTS[100:], LAST])
    counts = defaultdict(int)
    for e in EVENTS:
        counts[e["at"] // 4_000 * 4_000] += 1
    until(lambda: results.size() >= len(counts))
    assert {r.start: r.value for r in results} == counts


def test_empty_input_gives_no_window(jet):
    assert jet.collect([], lambda s: s.with_timestamps(at).window(windows.tumbling(1)).aggregate(sum_of())) == []


def sum_of():
    return aggregations.summing(number)


def test_times_long_ago_and_far_ahead(jet):
    times = [-8_900_000_000_000, -1, 0, 8_900_000_000_000]
    results = jet.collect(
        times,
        lambda s: s.with_timestamps(lambda t: t).window(windows.tumbling(1_000)).aggregate(aggregations.to_list()),
    )
    assert sorted((r.start, r.value) for r in results) == [(t // 1_000 * 1_000, [t]) for t in times]


def timed_stage():
    return Pipeline.create().read_from(Pipeline.from_list("n", [1])).with_timestamps(lambda n: n)


REFUSED = {
    "a step larger than the window": (lambda: windows.sliding(1_000, 2_000), ["sliding", "1000", "2000", "larger"]),
    "a step that does not divide it": (lambda: windows.sliding(1_000, 300), ["sliding", "divide", "300"]),
    "a gap of zero": (lambda: windows.session(0), ["session", "gap", "at least 1", "0"]),
    "a negative size": (lambda: windows.tumbling(-5), ["tumbling", "size", "-5"]),
    "a size that is a float": (lambda: windows.tumbling(1.5), ["tumbling", "size", "1.5 (float)"]),
    "a size that is text": (lambda: windows.tumbling("1h"), ["tumbling", "'1h' (str)"]),
    "a size below a millisecond": (lambda: windows.tumbling(dt.timedelta(microseconds=5)), ["whole milliseconds"]),
    "no window": (lambda: timed_stage().window(3), ["windows.tumbling", "3 (int)"]),
    "a second key": (
        lambda: timed_stage().group_by(str).window(windows.tumbling(1)).group_by(str),
        ["group_by", "grouped already"],
    ),
    "a key of distinct behind a key": (
        lambda: timed_stage().group_by(str).window(windows.tumbling(1)).distinct(str),
        ["distinct", "group_by"],
    ),
    "a period that is negative": (
        lambda: timed_stage().window(windows.tumbling(1)).aggregate(sum_of(), early_results_period=-1),
        ["early_results_period", "-1"],
    ),
    "an accumulator that is none": (lambda: timed_stage().window(windows.tumbling(1)).aggregate(3), ["3 (int)"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_when_it_is_built(name, says):
    build, words = REFUSED[name]
    with pytest.raises(PipelineError) as caught:
        build()
    says(caught, *words)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Pipeline.create().read_from(Pipeline.from_list("n", [1])),
        lambda: Pipeline.create().read_from(StreamSource("n")),
        lambda: timed_stage().without_timestamps(),
        lambda: timed_stage().aggregate(aggregations.counting()),
        lambda: timed_stage().sort(),
    ],
    ids=["batch", "stream", "without", "aggregate", "sort"],
)
def test_a_window_over_items_without_times_is_refused(build, says):
    with pytest.raises(PipelineError) as caught:
        build().window(windows.tumbling(1_000))
    says(caught, "window needs the times", "call with_timestamps(fn) behind the source")


def test_a_window_that_nothing_follows_is_refused(jet):
    pipeline = Pipeline.create()
    stage = pipeline.read_from(Pipeline.from_list("n", [1])).with_timestamps(lambda n: n)
    stage.window(windows.tumbling(1_000))
    stage.write_to(Pipeline.to_list(jet.list().name))
    with pytest.raises(PipelineError, match="window"):
        jet.submit(pipeline)
