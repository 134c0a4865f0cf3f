from __future__ import annotations

import math

import pytest

from jetbridge import Pipeline, StreamSource, aggregations, windows
from jetbridge.services import Lookup


class Squares(Lookup):
    """Another system, as a connector would reach it."""

    kind = "squares"

    def open(self, context):
        self.opened = context.stage

    def get_many(self, keys):
        return [(self.opened, key * key) for key in keys]


@pytest.fixture
def names(jet):
    """A stored map of a hundred names."""
    stored = jet.map()
    stored.put_all({n: f"name {n}" for n in range(100)})
    return stored


@pytest.mark.parametrize("parallelism", [1, 2])
def test_each_item_meets_the_value_of_its_key(jet, names):
    def build(stage):
        return stage.map_using_map(names.name, lambda n: n % 200, lambda n, name: (n, name))

    expected = [(n, f"name {n % 200}" if n % 200 < 100 else None) for n in range(20_000)]
    assert jet.collect(range(20_000), build) == expected


@pytest.mark.parametrize("ttl", [0, 1, 60_000])
def test_however_long_values_are_kept(jet, names, ttl):
    def build(stage):
        return stage.map_using_map(names.name, lambda n: n, lambda n, name: name, ttl=ttl, max_entries=10)

    assert jet.collect([*range(50), *range(50)], build) == [f"name {n}" for n in [*range(50), *range(50)]]


def test_a_map_that_is_not_there_is_empty(jet):
    results = jet.collect([1, 2], lambda s: s.map_using_map(jet.name("nowhere"), abs, lambda n, value: (n, value)))
    assert results == [(1, None), (2, None)]


def test_keys_are_equal_as_in_a_dict(jet):
    stored = jet.map()
    stored.put_all({1: "one", "1": "text", math.nan: "nan", (1, "a"): "pair", None: "none"})
    keys = [True, 1.0, "1", math.nan, (1.0, "a"), None, "2"]
    results = jet.collect(keys, lambda s: s.map_using_map(stored.name, lambda key: key, lambda key, value: value))
    assert results == ["one", "one", "text", "nan", "pair", "none", None]


def test_times_are_kept(jet, names):
    def build(stage):
        timed = stage.with_timestamps(lambda n: n * 1000).map_using_map(names.name, abs, lambda n, name: name)
        return timed.window(windows.tumbling(2000)).aggregate(aggregations.counting()).map(lambda w: (w.start, w.value))

    assert sorted(jet.collect(range(3), build)) == [(0, 2), (2000, 1)]


def test_a_change_of_the_map_is_seen(jet, until):
    stored, results = jet.map(), jet.list()
    stream = jet.client.get_stream(jet.name("stream"))
    stored.put("a", 1)
    pipeline = Pipeline.create()
    stage = pipeline.read_from(StreamSource(stream.name, initial_position="earliest"))
    stage.map_using_map(stored.name, lambda key: key, lambda key, value: value, ttl=50).write_to(
        Pipeline.to_list(results.name)
    )
    jet.submit(pipeline)
    stream.publish("a")
    until(lambda: results.get_all() == [1])
    stored.put("a", 2)

    def seen():
        stream.publish("a")
        return results.get_all()[-1] == 2

    until(seen)
    assert results.get_all() == sorted(results.get_all())


def test_another_system(jet):
    results = jet.collect([3], lambda s: s.map_using_map(Squares("any"), lambda n: n + 1, lambda n, value: (n, value)))
    assert results == [(3, ("map_using_map", 16))]


@pytest.mark.parametrize("key", [[1], object], ids=["unhashable", "no type of a key"])
def test_a_key_that_cannot_be_one(fails, says, key):
    caught = fails([5], lambda s: s.map_using_map("any", lambda n: key, max).set_name("join"))
    says(caught, "map_using_map 'join' failed on item 5: KeyTypeError: ")


def test_a_function_that_fails_is_named(fails, says):
    caught = fails([5, 0], lambda s: s.map_using_map("any", abs, lambda n, value: 1 // n).set_name("join"))
    says(caught, "map_using_map 'join' failed on item 0: ZeroDivisionError")
