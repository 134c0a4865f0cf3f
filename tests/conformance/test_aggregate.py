from __future__ import annotations

import math
import operator
import statistics
from collections import defaultdict

import pytest

from jetbridge import JobFailedError, Pipeline, aggregations


def add(total, item):
    return total + item


def append(items, item):
    items.append(item)
    return items


@pytest.mark.parametrize(
    ("items", "expected"),
    [([], 0), ([7], 7), ([1, 2, 3], 6), ([2**200, 1], 2**200 + 1), ([0.5, 0.25], 0.75)],
    ids=repr,
)
@pytest.mark.parametrize("combiner", [None, operator.add], ids=["fold", "combined"])
def test_a_whole_stage_gives_one_result(jet, items, expected, combiner):
    results = jet.collect(items, lambda s: s.aggregate(accumulator=lambda a, x: a + x, initial=0, combiner=combiner))
    assert results == [expected]


def test_nothing_gives_the_initial_value_finished(jet):
    results = jet.collect([], lambda s: s.aggregate(accumulator=add, initial=0, finisher=lambda total: f"<{total}>"))
    assert results == ["<0>"]


def test_no_key_gives_no_result(jet):
    assert jet.collect([], lambda s: s.group_by(lambda x: x).aggregate(accumulator=add, initial=0)) == []


@pytest.mark.parametrize("combiner", [None, operator.add], ids=["fold", "combined"])
@pytest.mark.parametrize("shards", [1, 128])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_one_result_for_each_key(jet, combiner):
    items = list(range(20_000))
    expected = defaultdict(int)
    for n in items:
        expected[n % 101] += n
    results = jet.collect(
        items,
        lambda s: s.group_by(lambda n: n % 101).aggregate(accumulator=add, initial=0, combiner=combiner),
    )
    assert len(results) == 101
    assert dict(results) == expected


@pytest.mark.parametrize("combiner", [None, lambda left, right: left + right], ids=["fold", "combined"])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_initial_is_copied_for_each_key(jet, combiner):
    results = jet.collect(
        range(10_000),
        lambda s: s.group_by(lambda n: n % 3).aggregate(accumulator=append, initial=[], combiner=combiner),
    )
    assert {key: sorted(items) for key, items in results} == {n: list(range(n, 10_000, 3)) for n in range(3)}


def test_a_nested_initial_is_copied_deeply(jet):
    def count(acc, word):
        acc["seen"].append(word)
        return acc

    results = jet.collect(
        ["a", "b", "a"], lambda s: s.group_by(lambda w: w).aggregate(accumulator=count, initial={"seen": []})
    )
    assert dict(results) == {"a": {"seen": ["a", "a"]}, "b": {"seen": ["b"]}}


@pytest.mark.parametrize("parallelism", [1, 2])
def test_without_a_combiner_a_key_is_folded_in_source_order(jet):
    """The fold does not commute, so that any other order gives another result."""
    items = list(range(30_000))

    def fold(acc, n):
        return (acc * 31 + n) % 1_000_003

    expected = {}
    for n in items:
        expected[n % 5] = fold(expected.get(n % 5, 7), n)
    results = jet.collect(items, lambda s: s.group_by(lambda n: n % 5).aggregate(accumulator=fold, initial=7))
    assert dict(results) == expected


@pytest.mark.parametrize("parallelism", [1, 2])
def test_without_a_combiner_a_whole_stage_is_folded_in_source_order(jet):
    results = jet.collect(range(30_000), lambda s: s.aggregate(accumulator=append, initial=[]))
    assert results == [list(range(30_000))]


def test_initial_may_be_anything_without_a_combiner(jet):
    results = jet.collect(["a", "b"], lambda s: s.group_by(lambda w: w).aggregate(accumulator=add, initial="> "))
    assert sorted(results) == [("a", "> a"), ("b", "> b")]


def test_none_is_an_item_and_an_accumulator_like_any_other(jet):
    keep_last = {"accumulator": lambda _, x: x, "initial": "nothing"}
    assert jet.collect([1, None], lambda s: s.aggregate(**keep_last)) == [None]
    assert jet.collect([1, None], lambda s: s.group_by(lambda _: None).aggregate(**keep_last)) == [(None, None)]
    grown = jet.collect([1, 2, 3], lambda s: s.aggregate(accumulator=lambda a, x: x if a is None else a + x))
    assert grown == [6]


def test_the_finisher_is_applied_once_to_each_result(jet):
    results = jet.collect(
        [1, 2, 3, 4],
        lambda s: s.group_by(lambda n: n % 2).aggregate(
            accumulator=add, initial=0, combiner=operator.add, finisher=lambda total: total * 10
        ),
    )
    assert sorted(results) == [(0, 60), (1, 40)]


def test_results_that_are_lists_or_none_arrive(jet):
    results = jet.collect([1], lambda s: s.aggregate(accumulator=add, initial=0, finisher=lambda total: None))
    assert results == [None]


@pytest.mark.parametrize("parallelism", [1, 2])
def test_very_skewed_keys(jet):
    items = ["hot"] * 30_000 + [f"cold-{n}" for n in range(100)]
    results = jet.collect(items, lambda s: s.group_by(lambda w: w).aggregate(aggregations.counting()))
    assert dict(results) == {"hot": 30_000, **{f"cold-{n}": 1 for n in range(100)}}


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_key_for_each_item(jet):
    results = jet.collect(range(30_000), lambda s: s.group_by(str).aggregate(aggregations.counting()))
    assert len(results) == 30_000
    assert dict(results) == dict.fromkeys(map(str, range(30_000)), 1)


@pytest.mark.parametrize("combiner", [None, operator.add], ids=["fold", "combined"])
def test_keys_are_equal_as_in_a_dict(jet, combiner):
    keys = [1, 1.0, True, math.nan, float("nan"), (1, math.nan), (1.0, float("nan")), None, "1"]
    results = jet.collect(
        keys,
        lambda s: s.group_by(lambda key: key).aggregate(accumulator=lambda n, _: n + 1, initial=0, combiner=combiner),
    )
    expected = [("'1'", 1), ("(1, nan)", 2), ("1", 3), ("None", 1), ("nan", 2)]
    assert sorted((repr(key), n) for key, n in results) == expected


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (aggregations.counting(), 5),
        (aggregations.summing(), 15),
        (aggregations.summing(lambda n: -n), -15),
        (aggregations.averaging(), 3.0),
        (aggregations.min_by(), 1),
        (aggregations.max_by(), 5),
        (aggregations.max_by(lambda n: -n), 1),
        (aggregations.to_list(), [5, 1, 4, 2, 3]),
    ],
    ids=["counting", "summing", "summing-value", "averaging", "min_by", "max_by", "max_by-value", "to_list"],
)
@pytest.mark.parametrize("parallelism", [1, 2])
def test_operations(jet, operation, expected):
    items = [5, 1, 4, 2, 3]
    assert jet.collect(items, lambda s: s.aggregate(operation)) == [expected]
    assert jet.collect(items, lambda s: s.group_by(lambda _: "k").aggregate(operation)) == [("k", expected)]


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (aggregations.counting(), 0),
        (aggregations.summing(), 0),
        (aggregations.averaging(), None),
        (aggregations.min_by(), None),
        (aggregations.max_by(), None),
        (aggregations.to_list(), []),
    ],
    ids=["counting", "summing", "averaging", "min_by", "max_by", "to_list"],
)
def test_operations_on_nothing(jet, operation, expected):
    assert jet.collect([], lambda s: s.aggregate(operation)) == [expected]


def digit(n):
    return n % 10


@pytest.mark.parametrize("parallelism", [1, 2])
def test_every_operation_of_the_module(jet):
    numbers = list(range(12_000))
    expected = {
        "variance": statistics.pvariance(map(float, numbers)),
        "stddev": statistics.stdev(map(float, numbers)),
        "trend": 2.0,
        "top": [9, 19, 29],
        "bottom": [0, 10],
        "any": 0,
        "sorted": sorted(numbers[:500], key=digit, reverse=True),
        "text": "<0,100,200>",
        "digits": set(range(10)),
        "last": {n: 11_990 + n for n in range(10)},
        "groups": {n: (1_200, 1_200 * (5_995 + n)) for n in range(10)},
        "even": 6_000,
        "pairs": 24_000,
        "longest": 5,
        "floats": math.fsum(n * 0.1 for n in numbers),
        "different": 200,
        "median": [pytest.approx(6_000, abs=400)],
        "frequent": [(0, 1_200)],
    }
    agg = aggregations
    operation = agg.all_of(
        variance=agg.variance(),
        stddev=agg.stddev(sample=True),
        trend=agg.linear_trend(float, lambda n: 2 * n + 1),
        top=agg.top_n(3, digit),
        bottom=agg.bottom_n(2, digit),
        any=agg.pick_any(),
        sorted=agg.filtering(lambda n: n < 500, agg.sorting(digit, reverse=True)),
        text=agg.filtering(lambda n: n in (0, 100, 200), agg.mapping(str, agg.concatenating(",", "<", ">"))),
        digits=agg.mapping(digit, agg.to_set()),
        last=agg.to_dict(digit, int, max),
        groups=agg.grouping_by(digit, agg.all_of(agg.counting(), agg.summing())),
        even=agg.filtering(lambda n: n % 2 == 0, agg.counting()),
        pairs=agg.flat_mapping(lambda n: [n, n], agg.counting()),
        longest=agg.reducing(0, lambda n: len(str(n)), max),
        floats=agg.summing(lambda n: n * 0.1),
        different=agg.approximate_distinct_count(lambda n: n // 60),
        median=agg.approximate_quantiles([0.5]),
        frequent=agg.heavy_hitters(1, lambda n: n % 10),
    )
    assert jet.collect(numbers, lambda s: s.aggregate(operation)) == [expected]
    assert jet.collect(numbers, lambda s: s.group_by(lambda n: "k").aggregate(operation)) == [("k", expected)]


def test_an_operation_with_functions_of_this_module(jet):
    operation = aggregations.all_of(aggregations.summing(digit), aggregations.grouping_by(digit))
    assert jet.collect([1, 12, 2], lambda s: s.aggregate(operation)) == [(5, {1: [1], 2: [12, 2]})]


def test_two_values_of_one_key_fail_the_job_of_a_dict(jet):
    operation = aggregations.to_dict(digit, str)
    with pytest.raises(JobFailedError, match="two values for the key 3, '13' and '23': give it a merge_fn") as caught:
        jet.collect([1, 13, 23], lambda s: s.aggregate(operation).set_name("by digit"))
    assert caught.value.stage == "by digit"


@pytest.mark.parametrize("parallelism", [1, 2])
def test_lists_and_first_extremes_keep_the_order_of_the_source(jet):
    items = [(n % 7, n) for n in range(20_000)]
    whole = jet.collect(items, lambda s: s.aggregate(aggregations.to_list()))
    assert whole == [items]
    first = jet.collect(items, lambda s: s.aggregate(aggregations.max_by(lambda item: item[0])))
    assert first == [(6, 6)]


def test_an_operation_of_ones_own(jet):
    longest = aggregations.AggregateOperation(
        create=lambda: "", accumulate=lambda best, word: max(best, word, key=len), finish=str.upper
    )
    assert jet.collect(["a", "ccc", "bb"], lambda s: s.aggregate(longest)) == ["CCC"]


def test_float_sums_do_not_depend_on_chunks(jet):
    items = [0.1] * 10_000
    assert jet.collect(items, lambda s: s.aggregate(aggregations.summing())) == [math.fsum(items)]


def test_aggregates_after_aggregates(jet):
    pipeline, results = Pipeline.create(), jet.list()
    words = pipeline.read_from(Pipeline.from_list("words", ["a", "b", "a", "c", "b", "a"]))
    counts = words.group_by(lambda w: w).aggregate(aggregations.counting())
    counts.group_by(lambda pair: pair[1]).aggregate(aggregations.counting()).sort().write_to(
        Pipeline.to_list(results.name)
    )
    jet.run(pipeline)
    assert results.get_all() == [(1, 1), (2, 1), (3, 1)]


def test_stages_go_on_after_an_aggregate(jet):
    results = jet.collect(
        range(10),
        lambda s: (
            s.group_by(lambda n: n % 2)
            .aggregate(aggregations.summing())
            .map(lambda pair: pair[1])
            .flat_map(lambda total: [total, -total])
            .filter(lambda total: total > 0)
        ),
    )
    assert sorted(results) == [20, 25]
