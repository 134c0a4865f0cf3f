from __future__ import annotations

import itertools
import math

import pytest

from jetbridge import JobFailedError, Pipeline, PipelineError, aggregations


def by_key(pairs):
    found = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def test_the_running_result_of_each_item(jet):
    results = jet.collect([1, 2, 3, 4], lambda s: s.rolling_aggregate(lambda acc, n: acc + n, initial=0))
    assert results == [1, 3, 6, 10]


@pytest.mark.parametrize("items", [[], [7]], ids=repr)
def test_few_items(jet, items):
    assert jet.collect(items, lambda s: s.rolling_aggregate(aggregations.counting())) == [1] * len(items)


@pytest.mark.parametrize("shards", [1, 128])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_by_key_in_the_order_of_the_source(jet):
    items = list(range(20_000))
    results = jet.collect(
        items, lambda s: s.group_by(lambda n: n % 17).rolling_aggregate(lambda acc, n: acc + n, initial=0)
    )
    assert by_key(results) == {key: list(itertools.accumulate(range(key, 20_000, 17))) for key in range(17)}


@pytest.mark.parametrize("parallelism", [1, 2])
def test_of_the_whole_stage_in_the_order_of_the_source(jet):
    items = list(range(20_000))
    assert jet.collect(items, lambda s: s.rolling_aggregate(lambda a, n: a + n, 0)) == list(itertools.accumulate(items))


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (aggregations.counting(), [1, 2, 3]),
        (aggregations.summing(lambda n: n), [5, 7, 16]),
        (aggregations.averaging(lambda n: n), [5, 3.5, 16 / 3]),
        (aggregations.max_by(lambda n: n), [5, 5, 9]),
        (aggregations.min_by(lambda n: n), [5, 2, 2]),
        (aggregations.to_list(), [[5], [5, 2], [5, 2, 9]]),
    ],
    ids=["counting", "summing", "averaging", "max_by", "min_by", "to_list"],
)
def test_operations(jet, operation, expected):
    assert jet.collect([5, 2, 9], lambda s: s.rolling_aggregate(operation)) == expected


def test_a_finisher_and_an_initial_value_that_is_changed_in_place(jet):
    def add(acc, item):
        acc.append(item)
        return acc

    results = jet.collect(
        ["a", "b", "c"],
        lambda s: s.group_by(lambda w: w < "c").rolling_aggregate(add, initial=[], finisher="".join),
    )
    assert by_key(results) == {True: ["a", "ab"], False: ["c"]}


def test_keys_are_those_of_a_dict(jet):
    results = jet.collect(
        [1, 1.0, True, math.nan, float("nan"), None],
        lambda s: s.group_by(lambda key: key).rolling_aggregate(aggregations.counting()),
    )
    assert sorted(repr(pair) for pair in results) == ["(1, 1)", "(1, 2)", "(1, 3)", "(None, 1)", "(nan, 1)", "(nan, 2)"]


def test_what_follows_sees_every_result(jet):
    results = jet.collect(
        range(100), lambda s: s.rolling_aggregate(aggregations.counting()).filter(lambda n: n % 10 == 0).map(str)
    )
    assert results == [str(n) for n in range(10, 101, 10)]


def test_a_function_that_raises_fails_the_job_and_names_the_item(jet):
    pipeline = Pipeline.create()
    source = pipeline.read_from(Pipeline.from_list("n", [1, 2, 0]))
    source.rolling_aggregate(lambda acc, n: acc + 1 // n, initial=0).set_name("running").write_to(
        Pipeline.to_list(jet.list().name)
    )
    with pytest.raises(JobFailedError, match="ZeroDivisionError") as caught:
        jet.run(pipeline)
    assert caught.value.stage == "running"
    assert caught.value.item == "0"


def test_what_is_no_function_is_refused(says):
    stage = Pipeline.create().read_from(Pipeline.from_list("n", [1]))
    for bad in (3, None, "sum"):
        with pytest.raises(PipelineError) as caught:
            stage.rolling_aggregate(bad)
        says(caught, "callable", repr(bad))
    with pytest.raises(PipelineError) as caught:
        stage.rolling_aggregate(aggregations.counting(), initial=1)
    says(caught, "initial")
