"""Arguments that cannot be what is meant: flags that are no bools, and functions that take other arguments."""

from __future__ import annotations

import collections
import copy
import datetime
import enum
import functools
import inspect
import math
import operator
from unittest import mock

import numpy
import pytest

from jetbridge import Pipeline, PipelineError, aggregations, services, sinks, testing, windows
from jetbridge.errors import ItemError

TEN_MILLIS = windows.tumbling(10)
TEN = services.shared_service(lambda context: 10)


def numbers():
    return Pipeline.create().read_from(Pipeline.from_list("numbers", [1, 2, 3]))


def joined(as_list):
    stage = numbers()
    return stage.hash_join(stage.map(lambda n: (n, n)), abs, as_list=as_list)


@pytest.mark.parametrize("bad", ["no", "", 0, 1, None])
@pytest.mark.parametrize(
    ("call", "operator", "parameter"),
    [
        (lambda bad: Pipeline.to_list("precious", clear=bad), "to_list", "clear"),
        (lambda bad: sinks.hazelcast_list("precious", clear=bad), "hazelcast_list", "clear"),
        (lambda bad: sinks.text("precious.txt", overwrite=bad), "sinks.text", "overwrite"),
        (lambda bad: sinks.csv("precious.csv", overwrite=bad), "sinks.csv", "overwrite"),
        (lambda bad: sinks.json_lines("precious.jsonl", overwrite=bad), "sinks.json_lines", "overwrite"),
        (lambda bad: sinks.parquet("precious.parquet", overwrite=bad), "sinks.parquet", "overwrite"),
        (lambda bad: numbers().sort(reverse=bad), "sort", "reverse"),
        (joined, "hash_join", "as_list"),
        (lambda bad: aggregations.sorting(reverse=bad), "sorting", "reverse"),
        (lambda bad: aggregations.variance(sample=bad), "variance", "sample"),
        (lambda bad: aggregations.stddev(sample=bad), "stddev", "sample"),
        (lambda bad: services.ServiceFactory(print, shared=bad), "ServiceFactory", "shared"),
    ],
)
def test_a_flag_that_is_no_bool(call, operator, parameter, bad, says):
    with pytest.raises(PipelineError) as caught:
        call(bad)
    says(caught, operator, f"True or False as {parameter}", repr(bad), f"({type(bad).__name__})")


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __call__(self, item):
        return item

    def moved(self, item):
        return item


class Adder:
    def __call__(self, left, right):
        return left + right


class TestCalls:
    """A function that cannot be called as it will be."""

    @pytest.mark.parametrize(
        ("call", "where", "got"),
        [
            (lambda s: s.map(lambda key, value: value), "map: fn is called as fn(item)", "(key, value)"),
            (lambda s: s.map(lambda: 1), "map: fn is called as fn(item)", "too many"),
            (lambda s: s.map(lambda item, *, scale: 1), "map: fn is called as fn(item)", "scale"),
            (lambda s: s.map(Point), "map: fn is called as fn(item)", "Point(x, y)"),
            (lambda s: s.map(Adder()), "map: fn is called as fn(item)", "Adder(left, right)"),
            (lambda s: s.map(functools.partial(lambda a, b, c: a, 1)), "map: fn is called as fn(item)", "(b, c)"),
            (lambda s: s.filter(lambda a, b: a), "filter: predicate is called as predicate(item)", "(a, b)"),
            (lambda s: s.flat_map(lambda a, b: a), "flat_map: fn is called as fn(item)", "(a, b)"),
            (lambda s: s.group_by(lambda a, b: a), "group_by: key_fn is called as key_fn(item)", "(a, b)"),
            (lambda s: s.distinct(lambda a, b: a), "distinct: key_fn is called as key_fn(item)", "(a, b)"),
            (lambda s: s.sort(lambda a, b: a), "sort: key_fn is called as key_fn(item)", "(a, b)"),
            (lambda s: s.rebalance(lambda a, b: a), "rebalance: key_fn is called as key_fn(item)", "(a, b)"),
            (lambda s: s.peek(lambda: True), "peek: should_log is called as should_log(item)", "()"),
            (lambda s: s.with_timestamps(lambda a, b: a), "with_timestamps: fn is called as fn(item)", "(a, b)"),
            (lambda s: s.aggregate(lambda n: n, 0), "accumulator(accumulated, item)", "too many"),
            (lambda s: s.group_by(abs).aggregate(lambda n: n, 0), "accumulator(accumulated, item)", "too many"),
            (lambda s: s.aggregate(max, 0, lambda n: n), "combiner(accumulated, accumulated)", "too many"),
            (lambda s: s.aggregate(max, 0, finisher=lambda a, b: a), "finisher(accumulated)", "(a, b)"),
            (
                lambda s: s.aggregate(aggregations.summing(lambda a, b: a)),
                "summing: value is called as value(item)",
                "b",
            ),
            (lambda s: s.map_stateful(lambda state: 1, max), "map_stateful: create is called as create()", "(state)"),
            (lambda s: s.map_stateful(dict, lambda item: 1), "fn(state, item)", "too many"),
            (lambda s: s.group_by(abs).map_stateful(dict, lambda a, b: 1), "fn(state, key, item)", "too many"),
            (lambda s: s.map_using_service(TEN, lambda item: 1), "fn(service, item)", "too many"),
            (lambda s: s.map_using_service_batched(TEN, lambda items: 1), "fn(service, items)", "too many"),
            (lambda s: s.group_by(abs).map_using_service(TEN, lambda a, b: 1), "fn(service, key, item)", "too many"),
            (lambda s: s.map_using_map("m", abs, lambda item: 1), "fn(item, value)", "too many"),
            (lambda s: services.ServiceFactory(lambda: 1), "create(context)", "too many"),
            (lambda s: s.hash_join(s, lambda a, b: a), "hash_join: on is called as on(item)", "(a, b)"),
        ],
    )
    def test_is_refused_where_it_is_given(self, call, where, got, says):
        with pytest.raises(PipelineError) as caught:
            call(numbers())
        says(caught, where, got)

    @pytest.mark.parametrize(
        "fn",
        [
            lambda *items: items,
            lambda item, more=1: item,
            functools.partial(lambda a, b: a, b=1),
            functools.partial(max, 3),
            functools.lru_cache(lambda item: item),
            functools.wraps(lambda a, b: a)(lambda item: item),
            Point(1, 2),
            Point(1, 2).moved,
            operator.itemgetter(0),
            operator.methodcaller("strip"),
            mock.Mock(),
            mock.MagicMock(),
            str.upper,
            "{}".format,
            [].append,
            dict(a=1).get,
            math.sqrt,
            int,
            str,
            bool,
            print,
            Exception,
            list,
            collections.Counter,
            collections.namedtuple("One", "item"),
            datetime.date.fromisoformat,
            enum.Enum("Colour", "RED GREEN"),
            numpy.sqrt,
            numpy.int64,
        ],
    )
    def test_what_can_be_called_is_taken(self, fn):
        assert numbers().map(fn).filter(fn).sort(fn).name == "sort"

    def test_a_signature_for_show_counts_for_nothing(self):
        def shown(*given):
            return given

        shown.__signature__ = inspect.signature(lambda a, b: a)
        assert numbers().map(shown).name == "map"

    def test_a_tuple_is_one_argument(self):
        with pytest.raises(PipelineError, match="take it apart in the function"):
            numbers().map(lambda key, value: value)

    @pytest.mark.parametrize("make", [aggregations.counting, aggregations.summing, aggregations.to_list])
    def test_what_makes_an_operation_is_to_be_called_first(self, make, says):
        for call in (numbers().aggregate, numbers().group_by(abs).aggregate, numbers().rolling_aggregate):
            with pytest.raises(PipelineError) as caught:
                call(make)
            says(caught, f"call it first: aggregations.{make.__name__}(...)")


class TestAccumulators:
    """What is wrong with an aggregate is seen at its first items."""

    @pytest.mark.parametrize(
        ("accumulator", "initial", "hint"),
        [
            (lambda total, n: total + n, None, "initial is None: give"),
            (lambda total, n: total + n, lambda: 0, "initial is a function: give the value itself"),
            (lambda found, n: found.append(n), [], "the accumulator returned None: it must return"),
            (lambda total, n: print(total + n), 0, "the accumulator returned None: it must return"),
        ],
        ids=["no-initial", "function", "in-place", "no-return"],
    )
    @pytest.mark.parametrize(
        "build",
        [
            lambda s, *fold: s.aggregate(*fold),
            lambda s, *fold: s.group_by(lambda n: n % 2).aggregate(*fold),
            lambda s, *fold: s.rolling_aggregate(*fold),
        ],
        ids=["whole", "keyed", "rolling"],
    )
    def test_the_error_says_what_to_do(self, build, accumulator, initial, hint):
        with pytest.raises(ItemError, match=hint):
            testing.run_kernels(build(numbers(), accumulator, initial))

    def test_a_list_that_is_not_returned_is_seen_with_one_item_of_a_key(self):
        with pytest.raises(ItemError, match=r"failed on item [123]: .*the accumulator returned None"):
            testing.run_kernels(numbers().group_by(abs).aggregate(lambda found, n: found.append(n), initial=[]))

    def test_a_number_may_become_none(self):
        latest = numbers().map({1: 5, 3: 7}.get).aggregate(lambda last, n: n, initial=0)
        assert testing.run_kernels(latest.map(repr)) == ["7"]
        assert testing.run_kernels(numbers().aggregate(lambda last, n: None, initial=0)) == [None]

    def test_other_errors_are_left_alone(self):
        with pytest.raises(ItemError) as caught:
            testing.run_kernels(numbers().aggregate(lambda total, n: total + "x", initial=0))
        assert "initial" not in str(caught.value)
        assert "returned" not in str(caught.value)


class TestNextSteps:
    """What a stage has not: the error says what comes first."""

    @pytest.mark.parametrize(
        ("make", "names", "advice"),
        [
            (lambda s: s.group_by(abs), ["map", "filter", "flat_map", "sort"], "after group_by first comes aggregate("),
            (lambda s: s.window(TEN_MILLIS), ["map", "filter", "write_to"], "after window first comes aggregate("),
            (
                lambda s: s.group_by(abs).window(TEN_MILLIS),
                ["map", "sort", "write_to"],
                "after window first comes aggregate(",
            ),
            (
                lambda s: s.write_to(Pipeline.to_list("results")),
                ["map", "write_to", "submit"],
                "write_to ends a branch: go on from the stage that it was called on",
            ),
        ],
        ids=["grouped", "windowed", "keyed-windows", "sink"],
    )
    def test_the_error_says_what_comes_first(self, make, names, advice, says):
        stage = make(numbers().with_timestamps(abs))
        for name in names:
            with pytest.raises(AttributeError) as caught:
                getattr(stage, name)
            says(caught, type(stage).__name__, f"no '{name}'", advice)
            assert not hasattr(stage, name)
        with pytest.raises(AttributeError, match=r"object has no attribute '__deep__'$"):
            getattr(stage, "__deep__")  # noqa: B009 - a protocol's question
        assert copy.copy(stage).__dict__ == stage.__dict__
