from __future__ import annotations

import collections
import itertools
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge.errors import ItemError
from jetbridge.kernels.stateless import CHUNK_ITEMS, FilterKernel, FlatMapKernel, MapKernel, PeekKernel

chunks = st.lists(st.integers(0, 50), min_size=1, max_size=60)


def flat(steps):
    return list(itertools.chain.from_iterable(steps))


@given(chunk=chunks)
def test_map(chunk):
    before = list(chunk)
    assert MapKernel("double", lambda n: n * 2)(chunk) == [n * 2 for n in before]
    assert chunk == before, "other branches read the same chunk"


@given(chunk=chunks, limit=st.integers(0, 60))
def test_filter(chunk, limit):
    before = list(chunk)
    assert FilterKernel("small", lambda n: n < limit)(chunk) == [n for n in before if n < limit]
    assert chunk == before


@given(chunk=chunks, limit=st.integers(1, 40))
def test_flat_map_cuts_its_results_into_chunks_of_bounded_size(chunk, limit):
    before = list(chunk)
    out = list(FlatMapKernel("repeat", range, limit).explode(chunk))
    assert flat(out) == [m for n in before for m in range(n)]
    assert all(0 < len(piece) <= limit for piece in out)
    assert all(len(piece) == limit for piece in out[:-1]), "only the last one is short"
    assert chunk == before


@given(data=st.data(), limit=st.integers(1, 40))
def test_flat_map_takes_iterables_of_any_kind(data, limit):
    kinds = {"list": list, "tuple": tuple, "iterator": iter, "dict": dict.fromkeys, "deque": collections.deque}
    chunk = data.draw(st.lists(st.tuples(st.sampled_from(sorted(kinds)), st.integers(0, 60)), max_size=300))
    kernel = FlatMapKernel("any", lambda item: kinds[item[0]](range(item[1])), limit)
    for _ in range(2):  # the kinds that come first matter to those that come later
        out = list(kernel.explode(chunk))
        assert flat(out) == [m for _, n in chunk for m in range(n)]
        assert all(0 < len(piece) <= limit for piece in out)


def test_flat_map_draws_no_more_than_it_needs():
    drawn = []

    def endless(n):
        for m in itertools.count():
            drawn.append(m)
            yield m

    steps = FlatMapKernel("endless", endless).explode([1, 2])
    assert next(steps) == list(range(CHUNK_ITEMS))
    assert len(drawn) == CHUNK_ITEMS


def test_peek_passes_the_same_chunk_and_logs_each_item(caplog):
    caplog.set_level(logging.INFO)
    chunk = [1, "two", None]
    assert PeekKernel("look", "jetbridge.job")(chunk) == chunk
    assert [record.name for record in caplog.records] == ["jetbridge.job"] * 3
    for record, item in zip(caplog.records, chunk, strict=True):
        assert "look" in record.getMessage()
        assert repr(item) in record.getMessage()


def run(kind, fn, chunk):
    kernel = {"map": MapKernel, "filter": FilterKernel, "flat_map": FlatMapKernel}[kind]("stage", fn)
    return flat(kernel.explode(chunk)) if kind == "flat_map" else kernel(chunk)


@pytest.mark.parametrize("kind", ["map", "filter", "flat_map"])
@given(chunk=chunks, data=st.data())
def test_the_item_that_failed_is_named(kind, chunk, data):
    index = data.draw(st.integers(0, len(chunk) - 1))
    chunk[index] = 4_711

    def fn(n):
        if n == 4_711:
            raise ValueError("on purpose")
        return [n]

    with pytest.raises(ItemError, match=f"{kind} 'stage' failed on item 4711: ValueError: on purpose") as caught:
        run(kind, fn, chunk)
    assert (caught.value.stage, caught.value.item) == ("stage", "4711")
    assert isinstance(caught.value.__cause__, ValueError)
    assert "in fn" in caught.value.user_traceback
    assert "stateless.py" not in caught.value.user_traceback


@pytest.mark.parametrize("kind", ["map", "filter", "flat_map"])
@pytest.mark.parametrize("error", [StopIteration, StopIteration(3), SystemExit, KeyError("x")], ids=repr)
def test_nothing_is_lost_whatever_a_function_raises(kind, error):
    """A StopIteration must not be taken for the end of the chunk."""

    def fn(n):
        if n == 2:
            raise error
        return [n]

    with pytest.raises(ItemError, match="item 2"):
        run(kind, fn, [1, 2, 3])


@given(data=st.data(), sizes=st.lists(st.integers(0, 5), min_size=1, max_size=6))
def test_flat_map_names_the_item_whose_generator_fails(data, sizes):
    bad = data.draw(st.integers(0, len(sizes) - 1))

    def fn(pair):
        number, size = pair
        yield from range(size)
        if number == bad:
            raise ValueError("late")

    with pytest.raises(ItemError, match="late") as caught:
        run("flat_map", fn, list(enumerate(sizes)))
    assert caught.value.item == repr((bad, sizes[bad]))


@pytest.mark.parametrize("result", [None, 3, object], ids=repr)
def test_flat_map_says_that_it_needs_an_iterable(result):
    with pytest.raises(ItemError) as caught:
        run("flat_map", lambda n: result, [7])
    assert "item 7" in str(caught.value)
    assert "iterable" in str(caught.value)


def test_an_item_whose_repr_fails_is_still_named_by_its_type():
    class Shy:
        def __repr__(self):
            raise RuntimeError("no")

    with pytest.raises(ItemError, match="Shy"):
        run("map", lambda item: item + 1, [Shy()])
