"""Rolling aggregates against naive models, however the items are cut into chunks, bundles and shards."""

from __future__ import annotations

import itertools
import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge import aggregations
from jetbridge.errors import ItemError
from jetbridge.kernels.rolling import RollingKernel
from jetbridge.kernels.stateless import CHUNK_ITEMS

shards = st.sampled_from([1, 2, 128])


def first(item):
    return item[0]


def listed(acc, item):
    acc.append(item[1])
    return acc


OPERATIONS = {
    "sum": (aggregations.folding(lambda acc, item: acc + item[1], 0), lambda ns: list(itertools.accumulate(ns))),
    "combined": (
        aggregations.folding(lambda acc, item: acc + item[1], 0, operator.add),
        lambda ns: list(itertools.accumulate(ns)),
    ),
    "finished": (
        aggregations.folding(lambda acc, item: acc + item[1], 0, finisher=str),
        lambda ns: list(map(str, itertools.accumulate(ns))),
    ),
    "in place": (aggregations.folding(listed, []), lambda ns: [ns[: i + 1] for i in range(len(ns))]),
    "counting": (aggregations.counting(), lambda ns: list(range(1, len(ns) + 1))),
    "averaging": (
        aggregations.averaging(lambda item: item[1]),
        lambda ns: [total / (i + 1) for i, total in enumerate(itertools.accumulate(ns))],
    ),
    "max_by": (aggregations.max_by(lambda item: item[1] % 7), None),
    "to_list": (aggregations.to_list(), None),
}


def by_key(kit, pairs):
    found = {}
    for key, value in pairs:
        found.setdefault(kit.norm(key), []).append(value)
    return found


@pytest.mark.parametrize("name", [name for name, (_, model) in OPERATIONS.items() if model])
@given(data=st.data(), shards=shards)
def test_by_key(kit, name, data, shards):
    operation, model = OPERATIONS[name]
    keys = data.draw(st.lists(st.one_of(kit.small_keys, kit.keys), max_size=30))
    items = list(zip(keys, itertools.count(), strict=False))
    host = kit.Host(RollingKernel("rolling", first, operation), shards)
    out = host.feed(data.draw(kit.cut(items)))
    assert host.end() == [], "all came at once"
    expected = {key: model([n for _, n in group]) for key, (_, group) in kit.by_key(items, first).items()}
    assert by_key(kit, out) == expected


@pytest.mark.parametrize("name", OPERATIONS)
@given(data=st.data())
def test_of_the_whole_stage(kit, name, data):
    operation, _ = OPERATIONS[name]
    items = [("k", n) for n in data.draw(st.lists(st.integers(0, 50), max_size=30))]
    out = kit.Host(RollingKernel("rolling", None, operation), 128).run(data.draw(kit.cut(items)))
    expected, acc = [], operation.create()
    finish = operation.finish or (lambda result: result)
    for item in items:
        acc = operation.accumulate(acc, item)
        expected.append(repr(finish(acc)))
    assert list(map(repr, out)) == expected


def test_results_do_not_change_later(kit):
    items = [("a", n) for n in range(5)]
    out = kit.Host(RollingKernel("rolling", first, aggregations.folding(listed, [])), 1).run([[items[:2]], [items[2:]]])
    assert out == [("a", list(range(n + 1))) for n in range(5)]


@pytest.mark.parametrize("key_fn", [first, None], ids=["keyed", "whole"])
@pytest.mark.parametrize("keys", [1, 9_001])
def test_chunks_stay_bounded(kit, key_fn, keys):
    items = [(n % keys, n) for n in range(30_000)]
    chunks = [items[at : at + CHUNK_ITEMS] for at in range(0, len(items), CHUNK_ITEMS)]
    out = kit.Host(RollingKernel("rolling", key_fn, aggregations.counting()), 1).run([chunks[:3], chunks[3:]])
    assert len(out) == len(items)
    last = dict(out) if key_fn else {None: out[-1]}
    assert sum(last.values()) == len(items)


def test_an_accumulator_that_raises_is_named_with_the_item(kit):
    operation = aggregations.folding(lambda acc, item: acc + 1 // item[1], initial=0)
    with pytest.raises(ItemError, match="ZeroDivisionError") as caught:
        kit.Host(RollingKernel("stage", first, operation), 1).run([[[("a", 1), ("a", 0), ("b", 2)]]])
    assert caught.value.stage == "stage"
    assert caught.value.item == repr(("a", 0))
    assert "rolling_aggregate" in str(caught.value)


def test_a_finisher_that_raises_is_named(kit):
    operation = aggregations.folding(lambda acc, item: acc, initial=0, finisher=lambda acc: 1 // acc)
    with pytest.raises(ItemError, match="ZeroDivisionError") as caught:
        kit.Host(RollingKernel("stage", first, operation), 1).run([[[("a", 1)]]])
    assert caught.value.stage == "stage"


def test_state_is_kept_when_the_host_takes_chunks_slowly(kit):
    """A key whose results fill several chunks has its state after each of them."""
    kernel, state = RollingKernel("rolling", first, aggregations.counting()), {}
    splitter = kernel.splitter(1)
    splitter.add([("hot", n) for n in range(CHUNK_ITEMS * 2 + 5)])
    [(_, payload)] = splitter.flush()
    seen = 0
    for chunk in kernel.process(state, payload):
        seen += len(chunk)
        assert state["hot"] == seen
    assert seen == CHUNK_ITEMS * 2 + 5
    assert kernel.last == ["hot"]
