from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge.errors import ItemError, StoreError
from jetbridge.kernels.aside import Careful
from jetbridge.kernels.lookup import CachedLookup, MapLookupKernel
from jetbridge.kernels.services import Services
from jetbridge.plan.services import MapLookupNode
from jetbridge.services import Lookup
from jetbridge.times import TimedItems


class Table(Lookup):
    """A dict that counts what it is asked."""

    def __init__(self, values):
        super().__init__("table")
        self.values = values
        self.asked, self.calls = [], []

    def open(self, context):
        self.calls.append("open")

    def get_many(self, keys):
        self.asked.append(list(keys))
        return [self.values.get(key) for key in keys]

    def close(self):
        self.calls.append("close")


def kernel(lookup, key_fn=lambda item: item, fn=lambda item, value: (item, value), ttl=1000, services=None, most=100):
    node = MapLookupNode(0, "s", True, (), key_fn=key_fn, fn=fn, lookup=lookup, ttl=ttl, max_entries=most)
    return MapLookupKernel(node, services or Services())


keys = st.one_of(st.integers(0, 9), st.booleans(), st.sampled_from(["a", "", None, 1.0, math.nan, (1, math.nan)]))


@given(
    chunks=st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=40), max_size=6), ttl=st.sampled_from([0, 60_000])
)
def test_each_item_meets_the_value_of_its_key(chunks, ttl):
    table = Table({n: str(n) for n in range(10)})
    joined = kernel(table, key_fn=lambda item: item // 2, ttl=ttl)
    for chunk in chunks:
        assert joined(chunk) == [(item, table.values.get(item // 2)) for item in chunk]
        timed = joined.timed(TimedItems(chunk, list(chunk)))
        assert timed.times == chunk
    assert all(len(set(asked)) == len(asked) for asked in table.asked), "a chunk asks for a key once"
    flat = [key for asked in table.asked for key in asked]
    if ttl:
        assert len(flat) == len(set(flat)), "and the process once, as long as that is fresh"
    else:
        assert len(table.asked) == 2 * len(chunks)


@given(chunk=st.lists(keys, min_size=1, max_size=30))
def test_keys_are_equal_as_in_a_dict_and_nan_is_one(chunk):
    table = Table({})
    assert [value for _, value in kernel(table)(chunk)] == [None] * len(chunk)
    [asked] = table.asked
    assert len({repr(key) for key in asked if key != key}) == len([key for key in asked if key != key]) <= 1


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@given(
    steps=st.lists(
        st.tuples(st.lists(st.integers(0, 8), unique=True), st.sampled_from([0.0, 0.4, 0.7]), st.booleans()),
        max_size=25,
    ),
    most=st.integers(1, 10),
)
def test_the_cache_is_of_bounded_size_and_no_older_than_its_time(steps, most):
    clock, table = Clock(), Table({})
    cached = CachedLookup(table, 1000, most, clock)
    written = {}  # the versions of each key by the time from which they were there
    for number, (asked, pause, write) in enumerate(steps):
        if write:
            for key in range(9):
                table.values[key] = number
                written.setdefault(key, []).append((clock.now, number))
        found = cached.get_many(asked)
        assert list(sorted(found)) == sorted(asked)
        for key, value in found.items():
            fresh = [version for at, version in written.get(key, []) if at > clock.now - 1]
            before = [version for at, version in written.get(key, []) if at <= clock.now - 1]
            assert value in [*fresh, *(before[-1:] or [None])]
        assert len(cached._kept) <= most
        clock.now += pause


def test_what_is_not_there_is_known_too():
    clock, table = Clock(), Table({})
    cached = CachedLookup(table, 500, 10, clock)
    assert cached.get_many(["a"]) == cached.get_many(["a"]) == {"a": None}
    table.values["a"] = 1
    clock.now = 0.499
    assert cached.get_many(["a"]) == {"a": None}
    clock.now = 0.5
    assert cached.get_many(["a"]) == {"a": 1}
    assert len(table.asked) == 2


def test_a_lookup_is_opened_once_and_closed_at_the_end():
    table, services = Table({}), Services()
    for _ in range(3):
        kernel(table, services=services)([1])
    services.close()
    assert table.calls == ["open", "close"]


@pytest.mark.parametrize(
    ("key_fn", "fn", "message"),
    [
        (lambda item: 1 // item, max, "the key function of map_using_map 's' failed on item 0: ZeroDivisionError"),
        (
            lambda item: [item],
            max,
            "map_using_map 's' failed on item 5: KeyTypeError: its key must be hashable; got list",
        ),
        (abs, lambda item, value: 1 // item, "map_using_map 's' failed on item 0: ZeroDivisionError"),
        (abs, lambda item: item, "map_using_map 's' failed on item 5: TypeError: .*takes 1 positional argument"),
    ],
)
def test_a_function_that_fails_names_the_item(key_fn, fn, message):
    with pytest.raises(ItemError, match=message):
        kernel(Table({}), key_fn, fn)([5, 0])


def test_a_map_that_cannot_be_read_is_no_matter_of_an_item():
    class Broken(Lookup):
        def get_many(self, keys):
            raise StoreError("the data folder was closed")

    careful = Careful(kernel(Broken("delays")))
    with pytest.raises(ItemError, match=r"^map_using_map 's' cannot look map 'delays' up: the data f") as caught:
        careful([1])
    assert caught.value.item is None


def test_a_lookup_must_give_one_value_for_each_key():
    class Short(Lookup):
        kind = "table"

        def get_many(self, keys):
            return []

    with pytest.raises(ItemError, match=r"cannot look table 'x' up: .*get_many must return one value for each key"):
        kernel(Short("x"))([1])


def test_carefully_item_by_item():
    careful = Careful(kernel(Table({1: "one"}), fn=lambda item, value: (1 // item, value)))
    assert careful([1, 0]) == [(1, "one")]
    assert [failed.item for failed in careful.failed] == [0]
