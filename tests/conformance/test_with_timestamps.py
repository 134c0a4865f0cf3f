"""Items with times: from functions, and what is no time."""

from __future__ import annotations

import datetime as dt

import pytest

import jetbridge
from jetbridge import Pipeline, PipelineError, StreamSource, aggregations, windows

UTC = dt.timezone.utc
BASE = dt.datetime(2013, 1, 1, tzinfo=UTC)
DAY = windows.tumbling(dt.timedelta(days=1))


def test_times_pass_every_stage_without_state_and_those_that_keep_them(flow):
    """One window's result shows that each item still has its own time behind all of them."""
    flow.start(
        lambda s: (
            s.map(lambda n: n)
            .with_timestamps(lambda n: n * 1_000, allowed_lag=dt.timedelta(seconds=2))
            .map(lambda n: n)
            .filter(lambda n: n % 10)
            .flat_map(lambda n: [n, -n])
            .peek()
            .distinct()
            .rolling_aggregate(lambda acc, n: n, initial=0)
            .window(windows.tumbling(10_000))
            .aggregate(aggregations.to_list())
        )
    ).publish(range(45))
    results = flow.get(4)
    assert {r.start: sorted(map(abs, r.value)) for r in results} == {
        start * 1_000: sorted(2 * [n for n in range(start, start + 10) if n % 10]) for start in range(0, 40, 10)
    }


def test_metrics_tell_how_far_a_stream_is(flow, until):
    flow.start(lambda s: s.with_timestamps(lambda n: n * 1_000, allowed_lag=dt.timedelta(seconds=2)))
    flow.publish([5, 50, 20])
    until(lambda: flow.job.get_metrics().watermark == 48_000)
    assert flow.job.get_metrics().lag == 0
    flow.publish([51])
    until(lambda: flow.job.get_metrics().watermark == 49_000)
    flow.job.cancel()
    assert flow.job.get_metrics().watermark == 49_000


@pytest.mark.parametrize("operator", ["add_timestamps", "with_timestamps"])
def test_datetimes_and_numbers_mean_the_same(jet, operator):
    moments = [BASE + dt.timedelta(hours=n) for n in range(48)]
    there = dt.timezone(dt.timedelta(hours=-5))
    expected = [(1_356_998_400_000 + day * 86_400_000, 24) for day in range(2)]
    for fn in (lambda m: m, lambda m: m.astimezone(there), lambda m: int(m.timestamp() * 1_000)):
        results = jet.collect(moments, lambda s, fn=fn: getattr(s, operator)(fn).window(DAY).aggregate(counting()))
        assert sorted((r.start, r.value) for r in results) == expected


def counting():
    return aggregations.counting()


BAD = {
    "a string": ("2013-01-01", ["must be an int of milliseconds", "'2013-01-01' (str)"]),
    "None": (None, ["None (NoneType)"]),
    "NaN": (float("nan"), ["nan (float)"]),
    "a float": (1.3e12, ["(float)", "int(value)"]),
    "a naive datetime": (dt.datetime(2013, 1, 1), ["needs a time zone", "replace(tzinfo=timezone.utc)"]),
    "a date": (dt.date(2013, 1, 1), ["a date has no hour"]),
    "too far ahead": (10**16, ["years 1687 to 2252"]),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_time_fails_the_job_and_names_the_item(fails, says, name):
    value, words = BAD[name]
    caught = fails([1, value], lambda s: s.with_timestamps(lambda v: v).set_name("times"))
    says(caught, "with_timestamps 'times'", *words)
    assert caught.value.stage == "times"


def test_seconds_are_hinted_at(jet, until, log, capsys):
    """In the client's log, or on its console where a cluster's workers log."""
    printed = []

    def shown():
        printed.append(capsys.readouterr().out)
        return log.text + "".join(printed)

    jet.collect([1_700_000_000 + n for n in range(10)], lambda s: s.with_timestamps(lambda at: at).set_name("times"))
    until(lambda: "looks like seconds" in shown())
    assert shown().count("looks like seconds") == 1
    assert "'times'" in shown()
    assert "multiply by 1000" in shown()


def source(items=(1,)):
    return Pipeline.create().read_from(Pipeline.from_list("n", items))


def diamond():
    stage = source()
    return stage.map(str).merge(stage.filter(bool))


REFUSED = {
    "behind distinct": (lambda: source().distinct().set_name("once"), ["'once'", "source's order"]),
    "behind an aggregate": (lambda: source().aggregate(counting()).map(str), ["'aggregate'", "before that stage"]),
    "behind sort": (lambda: source().sort(), ["'sort'", "before that stage"]),
    "behind a merge of two branches of one source": (diamond, ["merge of two branches", "before the branches part"]),
}


@pytest.mark.parametrize("operator", ["with_timestamps", "with_ingestion_timestamps"])
@pytest.mark.parametrize("name", REFUSED)
def test_where_the_source_s_order_is_lost_it_is_refused(name, operator, says):
    build, words = REFUSED[name]
    stage = build()
    with pytest.raises(PipelineError) as caught:
        stage.with_timestamps(int) if operator == "with_timestamps" else stage.with_ingestion_timestamps()
    says(caught, operator, *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"fn": 3}, ["fn", "3 (int)"]),
        ({"fn": "at"}, ["fn", "'at' (str)"]),
        ({"fn": None}, ["fn", "None"]),
        ({"fn": int, "allowed_lag": -1}, ["allowed_lag", "at least 0", "-1"]),
        ({"fn": int, "allowed_lag": 1.5}, ["allowed_lag", "1.5 (float)"]),
        ({"fn": int, "allowed_lag": dt.timedelta(days=10_000)}, ["allowed_lag", "at most"]),
        ({"fn": int, "idle_timeout": 0}, ["idle_timeout", "at least 1"]),
        ({"fn": int, "idle_timeout": "1m"}, ["idle_timeout", "'1m' (str)"]),
    ],
    ids=repr,
)
def test_what_is_refused_when_it_is_built(arguments, words, says):
    with pytest.raises(PipelineError) as caught:
        source().with_timestamps(**arguments)
    says(caught, "with_timestamps", *words)


def test_a_merge_of_two_sources_may_be_stamped_together(jet):
    pipeline, results = Pipeline.create(), jet.list()
    stages = [pipeline.read_from(Pipeline.from_list(name, range(k, 100, 2))) for k, name in enumerate("ab")]
    merged = stages[0].merge(stages[1]).with_timestamps(lambda n: n)
    merged.window(windows.tumbling(50)).aggregate(counting()).write_to(Pipeline.to_list(results.name))
    jet.run(pipeline)
    assert sorted((r.start, r.value) for r in results) == [(0, 50), (50, 50)]


def test_a_stream_s_failing_function_fails_the_job(flow):
    flow.start(lambda s: s.with_timestamps(lambda n: 1 // n).set_name("times")).publish([1, 0])
    with pytest.raises(jetbridge.JobFailedError, match="ZeroDivisionError") as caught:
        flow.job.join(timeout=60)
    assert caught.value.stage == "times"


def test_repr_and_kind():
    assert repr(source().with_timestamps(int)) == "<BatchStage 'with_timestamps'>"
    assert repr(Pipeline.create().read_from(StreamSource("s")).with_timestamps(int)).startswith("<StreamStage")
