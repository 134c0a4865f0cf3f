"""Look-ups in a map of a cluster."""

from __future__ import annotations

import pytest

from jetbridge import JobFailedError, Pipeline
from jetbridge.connectors.hazelcast.map_lookup import MapLookup


def looked_up(client, items, lookup, **options):
    pipeline = Pipeline.create()
    stage = pipeline.read_from(Pipeline.from_list("data", items))
    stage = stage.map_using_map(lookup, lambda item: item, lambda item, value: (item, value), **options)
    stage.write_to(Pipeline.to_list("results"))
    client.get_jet().submit(pipeline).join(timeout=90)
    return client.get_list("results").blocking().get_all()


def test_values_of_the_clusters_map(client, hz, name):
    airlines = hz.get_map(name("airlines")).blocking()
    airlines.put_all({"UA": "United", 7: 3.5})
    found = looked_up(client, ["UA", "XX", 7, "UA"], airlines.name)
    assert [tuple(pair) for pair in found] == [("UA", "United"), ("XX", None), (7, 3.5), ("UA", "United")]


def test_a_map_that_nobody_has_written_is_empty(client, name):
    assert [tuple(pair) for pair in looked_up(client, [1], name("nothing"))] == [(1, None)]


def test_many_keys_and_no_cache(client, hz, name):
    squares = hz.get_map(name("squares")).blocking()
    squares.put_all({n: n * n for n in range(5_000)})
    found = looked_up(client, list(range(6_000)), squares.name, ttl=0)
    assert [tuple(pair) for pair in found] == [(n, n * n if n < 5_000 else None) for n in range(6_000)]


def test_a_cluster_that_does_not_answer(client, name):
    nowhere = MapLookup(name("m"), {"cluster_members": ["127.0.0.1:1"], "cluster_connect_timeout": 1})
    with pytest.raises(JobFailedError, match=r"127\.0\.0\.1:1"):
        looked_up(client, [1], nowhere)
