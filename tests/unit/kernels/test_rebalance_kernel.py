"""Rebalancing: everything arrives, with its time, and goes to many shards."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge.kernels.rebalance import PIECES, RebalanceKernel, stride
from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.times import TimedItems


def passed(kernel, chunks, shards):
    """What leaves each shard."""
    splitter = kernel.splitter(shards)
    for chunk in chunks:
        splitter.add(chunk)
    found = {}
    for shard, payload in splitter.flush():
        for chunk in kernel.process({}, payload):
            assert 0 < len(chunk) <= CHUNK_ITEMS
            found.setdefault(shard, []).append(chunk)
    assert splitter.size == 0
    assert list(splitter.flush()) == []
    return found


@given(items=st.lists(st.integers(0, 9), max_size=60), shards=st.sampled_from([1, 3, 128]), data=st.data())
@pytest.mark.parametrize("key_fn", [None, lambda n: n % 3], ids=["dealt", "by key"])
def test_everything_arrives_with_its_time(kit, key_fn, items, shards, data):
    bundles = data.draw(kit.cut([(n, index) for index, n in enumerate(items)]))
    chunks = [
        TimedItems([n for n, _ in chunk], [index for _, index in chunk]) for bundle in bundles for chunk in bundle
    ]
    found = passed(RebalanceKernel("deal", key_fn), chunks, shards)
    pairs = [pair for parts in found.values() for part in parts for pair in zip(part.times, part, strict=True)]
    assert sorted(pairs) == list(enumerate(items))
    if key_fn is not None:
        where = {}
        for shard, parts in found.items():
            for time, n in [pair for part in parts for pair in zip(part.times, part, strict=True)]:
                assert where.setdefault(key_fn(n), (shard, -1)) <= (shard, time), "of one key in one place, in order"
                where[key_fn(n)] = shard, time


@given(data=st.data())
def test_items_without_times(kit, data):
    items = data.draw(st.lists(st.integers(), max_size=30))
    assert sorted(kit.Host(RebalanceKernel("deal", None), 8).run(data.draw(kit.cut(items)))) == sorted(items)


def test_items_with_and_without_times_meet():
    """As behind a merge of two such stages: then none has a time."""
    found = passed(RebalanceKernel("deal", None), [TimedItems([1], [5]), [2], TimedItems([3], [6])], 1)
    assert found == {0: [[1, 2, 3]]}
    assert type(found[0][0]) is list


@pytest.mark.parametrize("count", [1, 10, 5_000])
def test_a_chunk_goes_to_many_shards(count):
    found = passed(RebalanceKernel("deal", None), [list(range(count))], 128)
    assert len(found) == min(count, PIECES)
    sizes = [sum(map(len, parts)) for parts in found.values()]
    assert max(sizes) <= -(-count // PIECES)


def test_splitters_begin_at_different_shards():
    shards = {next(iter(passed(RebalanceKernel("deal", None), [[1]], 128))) for _ in range(200)}
    assert len(shards) > 20


@pytest.mark.parametrize("shards", [2, 3, 16, 96, 128, 1_000])
@pytest.mark.parametrize("processes", [2, 4])
def test_a_chunk_goes_to_every_process(shards, processes):
    """Whether these hold neighbours or every so-and-so-manieth shard, and wherever the dealing begins."""
    kernel = RebalanceKernel("deal", None)
    for _ in range(20):
        found = passed(kernel, [list(range(PIECES))], shards)
        assert len(found) == min(shards, PIECES)
        if shards >= PIECES:
            assert len({shard * processes // shards for shard in found}) == processes
            assert len({shard % processes for shard in found}) == processes


@given(shards=st.integers(1, 500))
def test_the_dealing_visits_every_shard(shards):
    assert len({n * stride(shards) % shards for n in range(shards)}) == shards
