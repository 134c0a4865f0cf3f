"""Operations made of others, of one's own functions, and what is refused when one is made."""

from __future__ import annotations

import math
import operator

import pytest

from jetbridge import aggregations as agg
from jetbridge.errors import ItemError, PipelineError
from jetbridge.kernels.fold import FoldKernel


def result(operation, *parts):
    acc = operation.create()
    for part in parts:
        acc = operation.combine(acc, operation.fold(operation.create(), part))
    return operation.result(acc)


def ordered():
    """An operation without a combiner."""
    return agg.folding(lambda acc, item: [*acc, item], [])


def test_compositions_nest():
    orders = [("ann", ["tea", "cup"]), ("bob", ["tea"]), ("ann", ["pot"])]
    operation = agg.grouping_by(
        operator.itemgetter(0),
        agg.all_of(
            items=agg.flat_mapping(operator.itemgetter(1), agg.to_set().and_then(sorted)),
            long=agg.filtering(lambda order: len(order[1]) > 1, agg.counting()),
            names=agg.mapping(operator.itemgetter(0), agg.concatenating(" ")),
        ),
    )
    expected = {
        "ann": {"items": ["cup", "pot", "tea"], "long": 1, "names": "ann ann"},
        "bob": {"items": ["tea"], "long": 0, "names": "bob"},
    }
    assert result(operation, orders) == expected
    assert result(operation, orders[:1], orders[1:]) == expected


def test_what_a_part_cannot_do_the_whole_cannot():
    for make in (
        lambda part: agg.all_of(agg.counting(), part),
        lambda part: agg.all_of(count=agg.counting(), other=part),
        lambda part: agg.grouping_by(str, part),
        lambda part: agg.mapping(str, part),
        lambda part: agg.filtering(bool, part),
        lambda part: agg.flat_mapping(str, part),
    ):
        assert make(ordered()).combine is None
        assert make(agg.to_list()).combine is not None
        assert make(agg.to_list()).deduct is None
        assert make(agg.counting()).deduct is not None
        operation = make(ordered())
        assert operation.fold(operation.create(), ["a", "b"]) is not None


def test_results_of_operations_without_a_finisher_are_no_part_of_the_state():
    own = agg.folding(lambda acc, item: [*acc, item], [], operator.iadd)
    for operation in (own, agg.all_of(own), agg.grouping_by(str, own), agg.mapping(str, own), own.and_then(list)):
        acc = operation.fold(operation.create(), [1])
        before = repr(operation.result(acc))
        taken = operation.result(acc)
        operation.combine(acc, operation.fold(operation.create(), [1]))
        assert repr(taken) == before


def test_a_builder_as_in_jet():
    operation = agg.aggregate_operation(list, lambda acc, n: [*acc, n], operator.add, lambda a, b: a[: -len(b)], sum)
    assert operation.finish is sum
    assert result(operation, [1, 2], [3]) == 6
    assert operation.deduct([1, 2, 3], [2, 3]) == [1]


def test_what_a_snapshot_says_of_the_state():
    for operation, text in (
        (agg.counting(), "int"),
        (agg.summing(), "(int, float)"),
        (agg.averaging(), "(int, (int, float))"),
        (agg.variance(), "(int, int, int, int, int)"),
        (agg.min_by(), "NoneType"),
        (agg.to_list(), "list"),
        (agg.to_set(), "set"),
        (agg.to_dict(str, str), "dict"),
        (agg.top_n(3), "top_n of 3"),
        (agg.bottom_n(3), "bottom_n of 3"),
        (agg.all_of(agg.counting(), agg.summing()), "(int, (int, float))"),
        (agg.all_of(count=agg.counting(), top=agg.top_n(2)), "(count: int, top: top_n of 2)"),
        (agg.grouping_by(str, agg.averaging()), "dict of (int, (int, float))"),
        (agg.grouping_by(str), "dict of list"),
        (agg.mapping(str, agg.top_n(2)), "top_n of 2"),
        (agg.top_n(2).and_then(len), "top_n of 2"),
        (agg.reducing(0.0, float, operator.add), "float"),
        (agg.approximate_distinct_count(), "CPC sketch of 2**13"),
        (agg.approximate_quantiles([0.5]), "KLL sketch of 269"),
        (agg.heavy_hitters(3), "frequent items sketch of 2**12"),
    ):
        assert operation.state() == text


@pytest.mark.parametrize("key_fn", [operator.itemgetter(0), None], ids=["keyed", "whole"])
def test_a_value_that_raises_is_named_with_its_item(kit, key_fn):
    for make in (agg.summing, agg.averaging, agg.variance):
        kernel = FoldKernel("stage", key_fn, make(lambda item: 1 // item[1]))
        with pytest.raises(
            ItemError, match=r"aggregate 'stage' failed on item \('a', 0\): ZeroDivisionError"
        ) as caught:
            kit.Host(kernel, 1).run([[[("a", 1), ("b", 2), ("a", 0)]]])
        assert caught.value.item == "('a', 0)"


def test_a_key_that_cannot_be_one_is_named_with_its_item(kit):
    kernel = FoldKernel("stage", lambda item: [item], agg.summing(lambda item: 2 * item))
    with pytest.raises(ItemError, match="must be hashable") as caught:
        kit.Host(kernel, 1).run([[[7]]])
    assert caught.value.item == "7"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: agg.summing(3), "summing must be given a callable as value; got 3 (int)"),
        (lambda: agg.averaging("x"), "averaging must be given a callable as value; got 'x' (str)"),
        (lambda: agg.variance(None), "variance must be given a callable as value; got None (NoneType)"),
        (lambda: agg.stddev(1), "stddev must be given a callable as value"),
        (lambda: agg.min_by(1), "min_by must be given a callable as value"),
        (lambda: agg.max_by(1), "max_by must be given a callable as value"),
        (lambda: agg.linear_trend(str, 1), "linear_trend must be given a callable as y"),
        (lambda: agg.linear_trend(1, str), "linear_trend must be given a callable as x"),
        (lambda: agg.top_n(0), "top_n must be given an int of 1 or more as n; got 0 (int)"),
        (lambda: agg.top_n(True), "top_n must be given an int of 1 or more as n; got True (bool)"),
        (lambda: agg.bottom_n(1.0), "bottom_n must be given an int of 1 or more as n; got 1.0 (float)"),
        (lambda: agg.top_n(1, 2), "top_n must be given a callable as value"),
        (lambda: agg.sorting(1), "sorting must be given a callable as key_fn"),
        (lambda: agg.concatenating(1), "concatenating must be given a str as delimiter; got 1 (int)"),
        (lambda: agg.concatenating("", "", b""), "concatenating must be given a str as suffix; got b'' (bytes)"),
        (lambda: agg.to_dict(1, str), "to_dict must be given a callable as key_fn"),
        (lambda: agg.to_dict(str, 1), "to_dict must be given a callable as value_fn"),
        (lambda: agg.to_dict(str, str, 1), "to_dict must be given a callable as merge_fn"),
        (lambda: agg.grouping_by(1), "grouping_by must be given a callable as key_fn"),
        (lambda: agg.grouping_by(str, agg.counting), "as downstream, such as counting(); got <function "),
        (lambda: agg.mapping(1, agg.counting()), "mapping must be given a callable as fn"),
        (lambda: agg.mapping(str, str), "mapping must be given an aggregate operation as downstream"),
        (lambda: agg.filtering(1, agg.counting()), "filtering must be given a callable as predicate"),
        (lambda: agg.filtering(str, 1), "filtering must be given an aggregate operation as downstream"),
        (lambda: agg.flat_mapping(1, agg.counting()), "flat_mapping must be given a callable as fn"),
        (lambda: agg.flat_mapping(str, 1), "flat_mapping must be given an aggregate operation as downstream"),
        (lambda: agg.reducing(0, 1, max), "reducing must be given a callable as to_accumulator"),
        (lambda: agg.reducing(0, int, 1), "reducing must be given a callable as combine"),
        (lambda: agg.reducing(0, int, max, 1), "reducing must be given a callable as deduct"),
        (lambda: agg.reducing(None, int, operator.add), "cannot combine empty None with itself: TypeError"),
        (lambda: agg.all_of(), "got none"),
        (lambda: agg.all_of(agg.counting(), n=agg.counting()), "got both"),
        (lambda: agg.all_of(agg.counting(), 1), "all_of must be given an aggregate operation as argument 2"),
        (lambda: agg.all_of(n=1), "all_of must be given an aggregate operation as n"),
        (lambda: agg.counting().and_then(1), "and_then must be given a callable as finish"),
        (lambda: agg.aggregate_operation(1, max), "create must be a function; got 1 (int)"),
        (lambda: agg.aggregate_operation(int, max, deduct=min), "deduct undoes its combine, and it has no combine"),
        (lambda: agg.AggregateOperation(int, max, value=str), "value and accumulate_values belong together"),
        (lambda: agg.approximate_distinct_count(1), "approximate_distinct_count must be given a callable as value"),
        (lambda: agg.approximate_distinct_count(error=0), "given a number from 0.001 to 0.1 as error; got 0 (int)"),
        (lambda: agg.approximate_distinct_count(error=math.nan), "as error; got nan (float)"),
        (lambda: agg.approximate_quantiles(0.5), "must be given a list of ranks, such as [0.5, 0.99]; got 0.5 (float)"),
        (lambda: agg.approximate_quantiles([]), "must be given a list of ranks"),
        (lambda: agg.approximate_quantiles([50]), "must be given a number from 0 to 1 as rank; got 50 (int)"),
        (lambda: agg.approximate_quantiles([0.5], 1), "approximate_quantiles must be given a callable as value"),
        (lambda: agg.approximate_quantiles([0.5], error=1), "given a number from 0.0001 to 0.2 as error; got 1 (int)"),
        (lambda: agg.heavy_hitters(0), "heavy_hitters must be given an int of 1 or more as n"),
        (lambda: agg.heavy_hitters(1, 1), "heavy_hitters must be given a callable as value"),
        (lambda: agg.heavy_hitters(1, error="a"), "given a number from 1e-05 to 0.4 as error; got 'a' (str)"),
    ],
)
def test_what_is_wrong_is_refused_when_the_operation_is_made(make, text):
    with pytest.raises(PipelineError) as caught:
        make()
    assert text in str(caught.value)
