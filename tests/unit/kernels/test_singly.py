"""Items one by one: whatever form a flush takes, each key's items come in order, with their times."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge import aggregations
from jetbridge.errors import ItemError
from jetbridge.kernels import rolling
from jetbridge.kernels.keyed import Keys, decode, restored
from jetbridge.kernels.rolling import RollingKernel
from jetbridge.kernels.singly import SinglySplitter, grouped
from jetbridge.times import TimedItems

NAN = float("nan")
chunks = st.lists(
    st.tuples(st.lists(st.sampled_from([*range(12), "a", 2.5, NAN, ("t", NAN)]), max_size=12), st.booleans()),
    max_size=8,
)


def splitter(shards):
    return SinglySplitter(Keys("rolling_aggregate", "sums", lambda item: item[0], shards))


def taken(splitter):
    """The forms of a flush, and its items and times by key and shard."""
    forms, found = set(), []
    for shard, payload in splitter.flush():
        content = decode(payload)
        forms.add(content[2] is None)
        keys, groups, odd, times = grouped(content) if content[2] is None else content
        for at, (key, items) in enumerate(zip(restored(keys, odd), groups, strict=True)):
            found += [(shard, key, item, times and times[at][i]) for i, item in enumerate(items)]
    return forms, found


@given(bundles=st.lists(chunks, max_size=5), shards=st.sampled_from([1, 4]))
def test_each_key_has_its_items_in_order(bundles, shards):
    one, numbers = splitter(shards), itertools.count()
    for bundle in bundles:
        given_, timed = [], True
        for keys, with_times in bundle:
            items = [(key, next(numbers)) for key in keys]
            given_ += items
            timed = timed and with_times
            one.add(TimedItems(items, [n for _, n in items]) if with_times else items)
        assert one.size == len(given_)
        forms, found = taken(one)
        assert one.size == 0
        assert len(forms) <= 1, "a flush has one form"
        for text in {repr(key) for key, _ in given_}:
            mine = [(shard, item) for shard, key, item, _ in found if repr(key) == text]
            assert [n for _, (_, n) in mine] == [n for key, n in given_ if repr(key) == text]
            assert len({shard for shard, _ in mine}) == 1
        if timed:
            assert all(time == n for *_, (_, n), time in found)


@given(rounds=st.lists(st.lists(st.integers(0, 30), max_size=60), max_size=6), shards=st.sampled_from([1, 4]))
def test_running_sums_are_those_of_a_dict(rounds, shards):
    kernel = RollingKernel("sums", lambda n: n % 9, aggregations.folding(lambda acc, n: acc + n, 0))
    one, states, sums = kernel.splitter(shards), [{} for _ in range(shards)], {}
    for first in (list(range(9)), *rounds):  # the first ones have a key each
        one.add(first)
        found, expected = {}, {}
        for shard, payload in one.flush():
            for out in kernel.process(states[shard], payload):
                for key, total in out:
                    found.setdefault(key, []).append(total)
        for n in first:
            sums[n % 9] = sums.get(n % 9, 0) + n
            expected.setdefault(n % 9, []).append(sums[n % 9])
        assert found == expected
    assert {key: value for state in states for key, value in state.items()} == sums


def test_the_form_follows_the_keys():
    one, forms = splitter(1), []
    for keys in (range(100), range(100), [1] * 100, *itertools.repeat([1] * 100, 9), range(100), [*range(99), NAN]):
        one.add([(key, 0) for key in keys])
        forms.append(taken(one)[0] == {True})
    # After a flush with many keys; few are noticed at the first look, which is at the ninth flush here.
    assert forms == [False, *[True] * 9, False, False, False, False]
    one.add([(key, 0) for key in range(100)])
    assert taken(one)[0] == {False}, "a NaN is no key that stands for itself"
    one.add([(key, 0) for key in range(100)])
    assert taken(one)[0] == {True}


def test_an_error_names_the_item_of_many():
    operation = aggregations.folding(lambda acc, item: acc + 1 // (item - 77), 0)
    kernel = RollingKernel("sums", lambda item: item, operation)
    one = kernel.splitter(1)
    for _ in range(2):
        one.add(list(range(100)))
        payloads = [payload for _, payload in one.flush()]
    assert decode(payloads[0])[2] is None
    with pytest.raises(ItemError, match=r"rolling_aggregate 'sums' failed on item 77: Zero"):
        list(kernel.process({}, payloads[0]))
    kernel.be_careful()
    [out] = kernel.process({}, payloads[0])
    assert [key for key, _ in out] == [key for key in range(100) if key != 77]
    assert [item for item, _ in kernel.failed] == [77]


def test_chunks_are_bounded(monkeypatch):
    monkeypatch.setattr(rolling, "CHUNK_ITEMS", 7)
    kernel = RollingKernel("sums", lambda item: item, aggregations.folding(lambda acc, item: acc + item, 0))
    one = kernel.splitter(1)
    for _ in range(2):
        one.add(list(range(20)))
        payloads = [payload for _, payload in one.flush()]
    assert list(map(len, kernel.process({}, payloads[0]))) == [7, 7, 6]
