"""Items on which a user's function fails: one in a hundred, none of them lost or doubled, and all others count."""

from __future__ import annotations

import operator

import pytest

from jetbridge import Pipeline, PipelineError, ProcessingGuarantee, StreamSource, aggregations, windows

COUNT = 3_000
BAD = [n for n in range(COUNT) if n % 100 == 57]
GOOD = [n for n in range(COUNT) if n % 100 != 57]


def check(n):
    if n % 100 == 57:
        raise ValueError(f"{n} is bad")
    return n


def add(acc, n):
    return acc + check(n)


def timed(stage):
    return stage.with_timestamps(lambda n: n)


def seventh(n):
    return n % 7


def by_seventh(numbers):
    return sorted((rest, sum(n for n in numbers if n % 7 == rest)) for rest in range(7))


def in_frames(size, step):
    totals = {}
    for n in GOOD:
        for end in range(n // step * step + step, n // step * step + size + 1, step):
            totals[end - size] = totals.get(end - size, 0) + n
    return sorted(totals.items())


def starts(results):
    return sorted((r.start, r.value) for r in results)


STAGES = {
    "window-sliding-fold": (
        lambda s: timed(s).window(windows.sliding(300, 50)).aggregate(add, 0),
        starts,
        in_frames(300, 50),
    ),
    "map": (lambda s: s.map(check), list, GOOD),
    "filter": (lambda s: s.filter(lambda n: check(n) >= 0), list, GOOD),
    "flat_map": (lambda s: s.flat_map(lambda n: [n, check(n)]), list, [n for n in GOOD for _ in range(2)]),
    "flat_map-generator": (
        lambda s: s.flat_map(lambda n: (check(n) if k else n for k in range(2))),
        list,
        [n for n in GOOD for _ in range(2)],
    ),
    "with_timestamps": (lambda s: s.with_timestamps(check), list, GOOD),
    "aggregate-fold": (lambda s: s.aggregate(add, 0), list, [sum(GOOD)]),
    "aggregate-combined": (lambda s: s.aggregate(add, 0, operator.add), list, [sum(GOOD)]),
    "aggregate-operation": (lambda s: s.aggregate(aggregations.summing(check)), list, [sum(GOOD)]),
    "aggregate-key": (lambda s: s.group_by(lambda n: check(n) % 7).aggregate(add, 0), sorted, by_seventh(GOOD)),
    "group_by-fold": (lambda s: s.group_by(seventh).aggregate(add, 0), sorted, by_seventh(GOOD)),
    "group_by-combined": (lambda s: s.group_by(seventh).aggregate(add, 0, operator.add), sorted, by_seventh(GOOD)),
    "group_by-operation": (
        lambda s: s.group_by(seventh).aggregate(aggregations.summing(check)),
        sorted,
        by_seventh(GOOD),
    ),
    "group_by-collect": (lambda s: s.group_by(check).collect(), sorted, [(n, [n]) for n in GOOD]),
    "rolling_aggregate": (lambda s: s.rolling_aggregate(add, 0), lambda r: r[-1:], [sum(GOOD)]),
    "distinct": (lambda s: s.distinct(check), sorted, GOOD),
    "sort": (lambda s: s.sort(lambda n: -check(n)), list, GOOD[::-1]),
    "window-tumbling-fold": (
        lambda s: timed(s).window(windows.tumbling(300)).aggregate(add, 0),
        starts,
        in_frames(300, 300),
    ),
    "window-sliding-combined": (
        lambda s: timed(s).window(windows.sliding(300, 50)).aggregate(add, 0, operator.add),
        starts,
        in_frames(300, 50),
    ),
    "window-sliding-operation": (
        lambda s: timed(s).window(windows.sliding(300, 50)).aggregate(aggregations.summing(check)),
        starts,
        in_frames(300, 50),
    ),
    "window-session-fold": (
        lambda s: timed(s).window(windows.session(50)).aggregate(add, 0),
        starts,
        [(0, sum(GOOD))],
    ),
    "window-session-operation": (
        lambda s: timed(s).group_by(seventh).window(windows.session(50)).aggregate(aggregations.summing(check)),
        lambda results: sorted((r.key, r.value) for r in results),
        by_seventh(GOOD),
    ),
    "window-distinct": (
        lambda s: timed(s).window(windows.tumbling(COUNT)).distinct(check),
        lambda results: sorted(r.value for r in results),
        GOOD,
    ),
}


@pytest.mark.parametrize("guarantee", [ProcessingGuarantee.EXACTLY_ONCE, ProcessingGuarantee.NONE], ids=str)
@pytest.mark.parametrize("name", STAGES)
def test_every_stage_that_calls_a_function_of_an_item(jet, name, guarantee):
    build, comparable, expected = STAGES[name]
    bad, results, pipeline = jet.list(), jet.list(), Pipeline.create()
    stage = build(pipeline.read_from(Pipeline.from_list("numbers", range(COUNT)))).set_name("picky")
    assert stage.on_error(Pipeline.to_list(bad.name)) is stage
    stage.write_to(Pipeline.to_list(results.name))
    job = jet.run(pipeline, jet_config(guarantee))
    failed = bad.get_all()
    assert sorted(failure.item for failure in failed) == BAD
    assert {failure.stage for failure in failed} == {"picky"}
    assert all(failure.error == f"ValueError: {failure.item} is bad" for failure in failed)
    assert all("in check" in failure.traceback for failure in failed)
    assert comparable(results.get_all()) == expected
    assert job.get_metrics().stages["picky"].errors == len(BAD)


def jet_config(guarantee):
    from jetbridge import JobConfig

    return JobConfig(processing_guarantee=guarantee)


def test_a_stream_with_sliding_windows_that_is_suspended_puts_each_aside_once(flow, jet, until):
    bad = jet.list()

    def build(stage):
        summed = stage.with_timestamps(lambda n: n).window(windows.sliding(300, 50)).aggregate(add, 0)
        return summed.on_error(Pipeline.to_list(bad.name))

    flow.start(build, guarantee=ProcessingGuarantee.EXACTLY_ONCE).publish(range(1_000))
    flow.get(3)
    flow.job.suspend()
    flow.publish([*range(1_000, COUNT), 10 * COUNT])
    flow.job.resume()
    results = flow.get(len(in_frames(300, 50)))
    assert starts(results) == in_frames(300, 50)
    assert sorted(failure.item for failure in bad) == BAD


def test_skip_counts_them(jet):
    results, pipeline = jet.list(), Pipeline.create()
    stage = pipeline.read_from(Pipeline.from_list("numbers", range(COUNT))).map(check).set_name("picky")
    stage.on_error("skip").write_to(Pipeline.to_list(results.name))
    job = jet.run(pipeline)
    assert results.get_all() == GOOD
    assert job.get_metrics().stages["picky"].errors == len(BAD)


def test_fail_is_the_default(fails):
    for build in (lambda s: s.map(check), lambda s: s.map(check).on_error("skip").on_error("fail")):
        assert fails(range(100), build).value.item == "57"


@pytest.mark.parametrize("then", ["ignore", None, 3, print], ids=repr)
def test_what_is_no_way_to_go_on(then, says):
    with pytest.raises(PipelineError) as caught:
        Pipeline.create().read_from(Pipeline.from_list("n", [1])).map(str).on_error(then)
    says(caught, "on_error must be given 'fail', 'skip' or a sink")


@pytest.mark.parametrize(
    "build",
    [lambda s: s, lambda s: s.peek(), lambda s: s.merge(s.map(str)), lambda s: s.with_ingestion_timestamps()],
    ids=["source", "peek", "merge", "ingestion"],
)
def test_a_stage_that_calls_no_function_has_none(build, says):
    with pytest.raises(PipelineError) as caught:
        build(Pipeline.create().read_from(StreamSource("n"))).on_error("skip")
    says(caught, "calls no function of an item")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda s: s.write_to(Pipeline.to_list("results")),
            r"<SinkStage 'results'>: call it before write_to, on the stage whose function may fail$",
        ),
        (
            lambda s: s.group_by(str),
            r"<GroupedStage after 'n'>: call it on the stage that follows, as in group_by\(key_fn\)\.aggregate",
        ),
    ],
    ids=["sink", "grouped"],
)
@pytest.mark.parametrize("then", ["skip", Pipeline.to_list("bad")], ids=["skip", "sink"])
def test_what_is_no_stage_with_a_function_says_where_it_belongs(build, message, then):
    with pytest.raises(PipelineError, match=f"^on_error cannot be called on {message}"):
        build(Pipeline.create().read_from(Pipeline.from_list("n", [1]))).on_error(then)
