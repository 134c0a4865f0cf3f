"""Operations that collect, sort, rank and choose: order, ties, NaN and None."""

from __future__ import annotations

import math
import pickle
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge import aggregations as agg

NAN = math.nan
scores = st.sampled_from([NAN, 0.0, -0.0, 1, 2.5, -3, math.inf, -math.inf, True, float("nan")])
scored = st.lists(st.tuples(scores, st.integers()), max_size=12)


def score(item):
    return item[0]


def combined(operation, parts, at_once=True):
    """As a job does it: parts are folded apart from each other, and lose the identity of their NaN on their way."""
    acc = operation.create()
    for part in parts:
        one = operation.create()
        if at_once:
            one = operation.fold(one, part)
        else:
            for item in part:
                one = operation.accumulate(one, item)
        acc = operation.combine(pickle.loads(pickle.dumps(acc)), pickle.loads(pickle.dumps(one)))
    return acc


def result(operation, parts, at_once=True):
    return operation.result(combined(operation, parts, at_once))


def whole(items):
    """The items as one part, as one for each, and as two."""
    return [items], [[item] for item in items], [items[: len(items) // 2], items[len(items) // 2 :]]


def ranked(items, reverse):
    """The naive order: NaN behind all others, equal ones as they came."""
    good = sorted([item for item in items if item[0] == item[0]], key=score, reverse=reverse)
    return good + [item for item in items if item[0] != item[0]]


@given(items=scored, n=st.integers(1, 4), at_once=st.booleans())
def test_nan_comes_after_all_others_wherever_it_arrives(items, n, at_once):
    for parts in whole(items):
        for make, one, reverse in ((agg.top_n, agg.max_by, True), (agg.bottom_n, agg.min_by, False)):
            expected = ranked(items, reverse)
            assert repr(result(make(n, score), parts, at_once)) == repr(expected[:n])
            assert repr(result(one(score), parts, at_once)) == repr(expected[0] if items else None)
            assert repr(result(agg.sorting(score, reverse=reverse), parts, at_once)) == repr(expected)


@given(items=st.lists(st.sampled_from([Decimal("NaN"), Decimal(1), Decimal("1.0"), Decimal(-2)]), max_size=6))
def test_nan_of_decimals_is_not_compared(items):
    for parts in whole(items):
        expected = ranked([(item,) for item in items], True)
        assert repr(result(agg.top_n(6), parts)) == repr([item for (item,) in expected])
        assert repr(result(agg.max_by(), parts, False)) == repr(expected[0][0] if items else None)


@given(words=st.lists(st.text("ab", max_size=3), max_size=10))
def test_extremes_are_the_first_of_several(words):
    for parts in whole(words):
        for at_once in (True, False):
            assert result(agg.min_by(len), parts, at_once) == min(words, key=len, default=None)
            assert result(agg.max_by(len), parts, at_once) == max(words, key=len, default=None)


@pytest.mark.parametrize("falsy", [0, "", None, False, [], 0.0], ids=repr)
def test_an_item_may_be_falsy(falsy):
    for operation in (agg.max_by(lambda item: 1), agg.pick_any()):
        assert operation.result(operation.accumulate(operation.create(), falsy)) is falsy
        assert operation.result(operation.fold(operation.create(), [falsy, 1])) is falsy
        both = operation.combine(operation.fold(operation.create(), [falsy]), operation.fold(operation.create(), [1]))
        assert operation.result(both) is falsy


def test_none_is_an_item_like_any_other():
    items = [None, 1, None]
    assert result(agg.to_list(), [items]) == items
    assert result(agg.to_set(), [items, items]) == {None, 1}
    assert result(agg.counting(), [items]) == 3
    assert result(agg.to_dict(lambda item: item, str, max), [items, items]) == {None: "None", 1: "1"}
    assert result(agg.grouping_by(lambda item: item), [items]) == {None: [None, None], 1: [1]}
    assert result(agg.mapping(lambda item: None, agg.to_list()), [items]) == [None, None, None]


def test_items_that_do_not_compare_are_an_error():
    for operation in (agg.max_by(), agg.min_by(), agg.top_n(3), agg.bottom_n(1), agg.sorting()):
        with pytest.raises(TypeError, match="not supported between"):
            operation.result(operation.fold(operation.create(), [1, "a", 2]))


@given(data=st.data())
def test_members_and_keys_are_equal_as_in_a_dict_and_nan_is_one(kit, data):
    parts = data.draw(st.lists(st.lists(st.one_of(kit.small_keys, kit.keys), max_size=6), max_size=4))
    at_once = data.draw(st.booleans())
    model = kit.by_key([item for part in parts for item in part], lambda item: item)
    members = result(agg.to_set(), parts, at_once)
    assert len(members) == len(model)
    assert {kit.norm(member) for member in members} == set(model)
    counts = result(agg.grouping_by(lambda item: item, agg.counting()), parts, at_once)
    assert [(kit.norm(key), count) for key, count in counts.items()] == [(k, len(v)) for k, (_, v) in model.items()]
    entries = result(agg.to_dict(lambda item: item, lambda item: (item,), lambda a, b: a + b), parts, at_once)
    assert {kit.norm(key): len(values) for key, values in entries.items()} == {k: len(v) for k, (_, v) in model.items()}


@given(data=st.data())
def test_groups_go_when_their_last_item_is_taken_away(kit, data):
    parts = data.draw(st.lists(st.lists(kit.small_keys, max_size=6), min_size=2, max_size=2))
    operation = agg.grouping_by(lambda item: item, agg.summing(lambda item: 0))
    one, other = combined(operation, parts[:1]), combined(operation, parts[1:])
    expected = repr(operation.result(one))
    assert repr(operation.result(operation.deduct(operation.combine(one, other), other))) == expected


@pytest.mark.parametrize("make", [agg.to_set, lambda: agg.grouping_by(list), lambda: agg.to_dict(list, str)])
def test_a_key_that_cannot_be_one(make):
    operation = make()
    with pytest.raises(TypeError, match="unhashable"):
        operation.fold(operation.create(), [[1]])


def test_two_values_of_a_key_need_a_merge_function():
    operation = agg.to_dict(lambda item: item[0], lambda item: item[1])
    one = operation.fold(operation.create(), [("a", 1), ("b", 2)])
    with pytest.raises(ValueError, match="two values for the key 'a', 1 and 3: give it a merge_fn"):
        operation.accumulate(one, ("a", 3))
    with pytest.raises(ValueError, match="two values for the key 'b', 2 and 2"):
        operation.combine(one, operation.fold(operation.create(), [("b", 2)]))


def test_texts():
    operation = agg.concatenating("-")
    assert result(operation, [["a"], [], ["b", "c"]]) == "a-b-c"
    assert result(agg.concatenating("-", "<", ">"), []) == "<>"
    assert result(agg.concatenating(), [["a", ""], ["", "b"]]) == "ab"
    for items in ([1], ["a", None], [b"a"]):
        with pytest.raises(TypeError, match=r"takes strings; got .*: map items to strings first"):
            operation.fold(operation.create(), items)
        with pytest.raises(TypeError, match="takes strings"):
            operation.accumulate(operation.create(), items[-1])


def test_a_text_of_a_class_of_ones_own_is_a_text():
    class Name(str):
        __slots__ = ()

    assert result(agg.concatenating(","), [["a", "b"]]) == "a,b"
    operation = agg.concatenating(",")
    assert operation.result(operation.fold(operation.create(), [Name("a"), "b"])) == "a,b"


@given(items=st.lists(st.integers(-5, 5), max_size=60), n=st.integers(1, 20))
def test_the_first_of_equal_ones_are_kept_when_there_are_more(items, n):
    numbered = [(item, place) for place, item in enumerate(items)]
    for parts in whole(numbered):
        assert result(agg.top_n(n, score), parts) == ranked(numbered, True)[:n]
        assert result(agg.bottom_n(n, score), parts, False) == ranked(numbered, False)[:n]
