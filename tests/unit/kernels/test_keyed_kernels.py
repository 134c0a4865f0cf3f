"""Stages with state against naive models, however the items are cut into chunks, bundles and shards."""

from __future__ import annotations

import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge import aggregations
from jetbridge.errors import ItemError
from jetbridge.kernels.distinct import DistinctKernel
from jetbridge.kernels.fold import FoldKernel
from jetbridge.kernels.group import GroupKernel
from jetbridge.kernels.order import SortKernel
from jetbridge.kernels.stateless import CHUNK_ITEMS

shards = st.sampled_from([1, 2, 128])
stops = st.sampled_from([None, 1])


def first(item):
    return item[0]


def numbered(data, kit, keys=None):
    """Items (key, number), so that the order of arrival can be seen."""
    drawn = data.draw(st.lists(st.one_of(kit.small_keys, kit.keys) if keys is None else keys, max_size=30))
    return [(key, number) for number, key in enumerate(drawn)]


@given(data=st.data(), shards=shards, stop=stops)
def test_group_by(kit, data, shards, stop):
    items = numbered(data, kit)
    out = kit.Host(GroupKernel("groups", first), shards).run(data.draw(kit.cut(items)), stop)
    model = kit.by_key(items, first)
    assert len(out) == len(model), "each key comes once"
    assert {kit.norm(key): [n for _, n in group] for key, group in out} == {
        key: [n for _, n in group] for key, (_, group) in model.items()
    }


@given(data=st.data(), shards=shards, stop=stops)
def test_fold_without_a_combiner_keeps_the_order(kit, data, shards, stop):
    items = numbered(data, kit)
    operation = aggregations.folding(lambda acc, item: [*acc, item[1]], initial=[])
    out = kit.Host(FoldKernel("fold", first, operation), shards).run(data.draw(kit.cut(items)), stop)
    model = kit.by_key(items, first)
    assert len(out) == len(model)
    assert {kit.norm(key): acc for key, acc in out} == {k: [n for _, n in group] for k, (_, group) in model.items()}


OPERATIONS = {
    "combined": aggregations.folding(lambda acc, item: acc + item[1], initial=0, combiner=operator.add),
    "finished": aggregations.folding(lambda a, i: a + i[1], initial=0, combiner=operator.add, finisher=lambda t: -t),
    "fold": aggregations.folding(lambda acc, item: acc + item[1], initial=0),
    "counting": aggregations.counting(),
    "summing": aggregations.summing(lambda item: item[1]),
    "averaging": aggregations.averaging(lambda item: item[1]),
    "min_by": aggregations.min_by(lambda item: -item[1]),
    "max_by": aggregations.max_by(lambda item: item[1] // 3),
    "to_list": aggregations.to_list(),
}
MODELS = {
    "combined": lambda items: sum(n for _, n in items),
    "finished": lambda items: -sum(n for _, n in items),
    "fold": lambda items: sum(n for _, n in items),
    "counting": len,
    "summing": lambda items: sum(n for _, n in items),
    "averaging": lambda items: sum(n for _, n in items) / len(items) if items else None,
    "min_by": lambda items: min(items, key=lambda item: -item[1], default=None),
    "max_by": lambda items: max(items, key=lambda item: item[1] // 3, default=None),
    "to_list": list,
}


@pytest.mark.parametrize("name", OPERATIONS)
@given(data=st.data(), shards=shards, stop=stops)
def test_aggregates_by_key(kit, name, data, shards, stop):
    items = numbered(data, kit, kit.small_keys)
    out = kit.Host(FoldKernel("total", first, OPERATIONS[name]), shards).run(data.draw(kit.cut(items)), stop)
    model = kit.by_key(items, first)
    assert len(out) == len(model)
    results = {kit.norm(key): repr(result) for key, result in out}
    assert results == {key: repr(MODELS[name](group)) for key, (_, group) in model.items()}


@pytest.mark.parametrize("name", OPERATIONS)
@given(data=st.data(), shards=shards, stop=stops)
def test_aggregates_of_a_whole_stage(kit, name, data, shards, stop):
    items = numbered(data, kit, kit.small_keys)
    [result] = kit.Host(FoldKernel("total", None, OPERATIONS[name]), shards).run(data.draw(kit.cut(items)), stop)
    assert repr(result) == repr(MODELS[name](items))


@given(data=st.data(), shards=shards)
def test_distinct_keeps_the_first_item_of_each_key(kit, data, shards):
    items = numbered(data, kit)
    host = kit.Host(DistinctKernel("once", first), shards)
    out = host.feed(data.draw(kit.cut(items)))
    assert host.end() == [], "all came at once"
    assert sorted(n for _, n in out) == sorted(group[0][1] for _, group in kit.by_key(items, first).values())


@given(data=st.data(), shards=shards)
def test_distinct_items(kit, data, shards):
    items = data.draw(st.lists(st.one_of(kit.small_keys, kit.keys), max_size=30))
    out = kit.Host(DistinctKernel("once", None), shards).run(data.draw(kit.cut(items)))
    model = kit.by_key(items, lambda item: item)
    assert {kit.norm(item) for item in out} == set(model)
    assert len(out) == len(model)
    assert sorted(map(type_and_repr, out)) == sorted(type_and_repr(firsts) for firsts, _ in model.values())


def type_and_repr(item):
    shown = repr(item)
    return f"{type(item).__name__} {shown if 'frozenset' not in shown else len(item)}"


@given(data=st.data(), reverse=st.booleans(), stop=stops)
def test_sort_is_stable(kit, data, reverse, stop):
    items = [(key, number) for number, key in enumerate(data.draw(st.lists(st.integers(0, 5), max_size=40)))]
    out = kit.Host(SortKernel("order", first, reverse), 128).run(data.draw(kit.cut(items)), stop)
    assert out == sorted(items, key=first, reverse=reverse)


@given(data=st.data(), reverse=st.booleans())
@pytest.mark.parametrize("kind", [int, float, str, bytes, tuple])
def test_sort_of_the_items_themselves(kit, kind, data, reverse):
    strategy = {
        int: st.integers(),
        float: st.floats(allow_nan=False),
        str: st.text(max_size=4),
        bytes: st.binary(max_size=4),
        tuple: st.tuples(st.integers(0, 3), st.text(max_size=2)),
    }[kind]
    items = data.draw(st.lists(strategy, max_size=30))
    out = kit.Host(SortKernel("order", None, reverse), 1).run(data.draw(kit.cut(items)))
    assert list(map(repr, out)) == list(map(repr, sorted(items, reverse=reverse)))


@given(data=st.data())
def test_sort_with_nan_loses_nothing(kit, data):
    items = data.draw(st.lists(st.floats(), max_size=30))
    out = kit.Host(SortKernel("order", None, False), 1).run(data.draw(kit.cut(items)))
    assert sorted(map(repr, out)) == sorted(map(repr, items))


MANY = [(n % 9_001, n) for n in range(30_000)]
LARGE = {
    "group_by": (lambda: GroupKernel("k", first), 9_001),
    "aggregate": (lambda: FoldKernel("k", first, aggregations.counting()), 9_001),
    "fold": (lambda: FoldKernel("k", first, aggregations.folding(lambda a, i: a + 1, 0)), 9_001),
    "distinct": (lambda: DistinctKernel("k", first), 9_001),
    "sort": (lambda: SortKernel("k", first, False), 30_000),
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("shards", [1, 128])
@pytest.mark.parametrize("stop", [None, 1])
def test_chunks_stay_bounded_and_the_host_may_stop_after_each(kit, name, shards, stop):
    make, count = LARGE[name]
    chunks = [MANY[at : at + CHUNK_ITEMS] for at in range(0, len(MANY), CHUNK_ITEMS)]
    assert len(kit.Host(make(), shards).run([chunks[:3], chunks[3:]], stop)) == count


@pytest.mark.parametrize("name", LARGE)
def test_one_hot_key(kit, name):
    make, _ = LARGE[name]
    chunks = [[("hot", n) for n in range(at, at + CHUNK_ITEMS)] for at in range(0, CHUNK_ITEMS * 5, CHUNK_ITEMS)]
    out = kit.Host(make(), 128).run([[chunk] for chunk in chunks], 1)
    total = CHUNK_ITEMS * 5
    expected = {
        "group_by": lambda: [("hot", [("hot", n) for n in range(total)])],
        "aggregate": lambda: [("hot", total)],
        "fold": lambda: [("hot", total)],
        "distinct": lambda: [("hot", 0)],
        "sort": lambda: [("hot", n) for n in range(total)],
    }[name]()
    assert out == expected


def test_initial_is_copied_for_each_key_and_each_partial_result(kit):
    def append(acc, item):
        acc["seen"].append(item[1])
        return acc

    operation = aggregations.folding(append, initial={"seen": []})
    items = [("a", 1), ("b", 2), ("a", 3)]
    out = kit.Host(FoldKernel("k", first, operation), 1).run([[items[:2]], [items[2:]]])
    assert sorted(out) == [("a", {"seen": [1, 3]}), ("b", {"seen": [2]})]
    again = kit.Host(FoldKernel("k", first, operation), 1).run([[items[:1]]])
    assert again == [("a", {"seen": [1]})]


KERNELS = {
    "group_by": lambda fn: GroupKernel("stage", fn),
    "distinct": lambda fn: DistinctKernel("stage", fn),
    "sort": lambda fn: SortKernel("stage", fn, False),
    "aggregate": lambda fn: FoldKernel("stage", fn, aggregations.folding(lambda a, i: a, 0)),
    "aggregate-combined": lambda fn: FoldKernel("stage", fn, OPERATIONS["combined"]),
    "aggregate-operation": lambda fn: FoldKernel("stage", fn, aggregations.counting()),
}


def explain(kit, kernel, items):
    with pytest.raises(ItemError) as caught:
        kit.Host(kernel, 128).run([[items]])
    assert caught.value.stage == "stage"
    return caught.value


@pytest.mark.parametrize("name", KERNELS)
def test_a_key_function_that_raises_is_named_with_the_item(kit, name):
    def key(item):
        if item == ("x", 4_711):
            raise ValueError("on purpose")
        return item[0]

    error = explain(kit, KERNELS[name](key), [("a", 1), ("x", 4_711), ("b", 2)])
    assert error.item == repr(("x", 4_711))
    assert "ValueError: on purpose" in str(error)
    assert name.partition("-")[0] in str(error)
    assert "in key" in error.user_traceback


@pytest.mark.parametrize("name", [name for name in KERNELS if name != "sort"])
@pytest.mark.parametrize(
    ("key", "words"),
    [
        ([1], ["hashable", "list"]),
        ((1, {}), ["hashable", "tuple"]),
        (1j, ["key must be one of", "complex"]),
        (object, ["key must be one of", "type"]),
        ((1, range(2)), ["key must be one of", "range"]),
    ],
    ids=repr,
)
def test_a_key_that_is_none_is_named_with_the_item(kit, name, key, words):
    error = explain(kit, KERNELS[name](first), [("a", 1), (key, 2)])
    for word in [name.partition("-")[0], *words]:
        assert word in str(error)
    assert repr(key) in error.item


class Treacherous(str):
    """A key whose comparison raises what ends a loop."""

    __hash__ = str.__hash__

    def __eq__(self, other):
        raise StopIteration


def test_items_are_not_lost_when_a_key_raises_stop_iteration(kit):
    items = [("a", 1), (Treacherous("a"), 2)]
    with pytest.raises(RuntimeError, match="StopIteration"):
        kit.Host(GroupKernel("groups", first), 1).run([[items]])


@pytest.mark.parametrize("combiner", [None, operator.add], ids=["fold", "combined"])
@pytest.mark.parametrize("key_fn", [first, None], ids=["keyed", "whole"])
def test_an_accumulator_that_raises_is_named_with_the_item(kit, combiner, key_fn):
    def accumulate(acc, item):
        return acc + 1 // item[1]

    operation = aggregations.folding(accumulate, initial=0, combiner=combiner)
    error = explain(kit, FoldKernel("stage", key_fn, operation), [("a", 1), ("a", 2), ("a", 0)])
    assert error.item == repr(("a", 0))
    assert "ZeroDivisionError" in str(error)
    assert "in accumulate" in error.user_traceback


def test_a_type_error_of_an_accumulator_is_not_blamed_on_the_key(kit):
    operation = aggregations.folding(lambda acc, item: acc + item[1], initial=0, combiner=operator.add)
    error = explain(kit, FoldKernel("stage", first, operation), [("a", "text")])
    assert "hashable" not in str(error)
    assert "TypeError" in str(error)


@pytest.mark.parametrize("what", ["combine", "finish"])
def test_combiners_and_finishers_that_raise_are_named(kit, what):
    def bad(*_):
        raise ValueError("on purpose")

    operation = aggregations.AggregateOperation(
        create=int, accumulate=lambda a, i: a + 1, combine=operator.add, **({"finish": bad} if what == "finish" else {})
    )
    if what == "combine":
        operation = aggregations.AggregateOperation(create=int, accumulate=lambda a, i: a + 1, combine=bad)
    with pytest.raises(ItemError, match="on purpose") as caught:
        kit.Host(FoldKernel("stage", first, operation), 1).run([[[("a", 1)]], [[("a", 2)]]])
    assert caught.value.stage == "stage"


@pytest.mark.parametrize("items", [[1, "a"], [None, 1], [{}, {}], [1, 2j]], ids=repr)
@pytest.mark.parametrize("together", [True, False], ids=["one-run", "two-runs"])
def test_sort_says_which_types_do_not_compare(kit, items, together):
    bundles = [[items]] if together else [[[item]] for item in items]
    with pytest.raises(ItemError, match="key_fn") as caught:
        kit.Host(SortKernel("stage", None, False), 1).run(bundles)
    assert caught.value.stage == "stage"
    for item in items:
        assert type(item).__name__ in str(caught.value)
    assert str(caught.value).count("TypeError") == 1
