from __future__ import annotations

import pytest

from jetbridge import Pipeline


@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"a": 1},
        {None: None},
        {(1, "x"): [1], b"\xff": {"n": 2}, "żółw": None, 2**100: 1.5, frozenset({1}): ()},
    ],
    ids=repr,
)
def test_items_are_key_value_pairs(jet, entries):
    stored = jet.map()
    stored.put_all(entries)
    results = jet.collect(Pipeline.from_map(stored.name))
    assert all(type(pair) is tuple for pair in results)
    assert len(results) == len(entries)
    assert dict(results) == entries


@pytest.mark.parametrize("parallelism", [1, 2])
def test_many_entries_come_once_each(jet):
    stored = jet.map()
    stored.put_all({f"key-{n}": n for n in range(15_000)})
    results = jet.collect(Pipeline.from_map(stored.name), lambda stage: stage.map(lambda pair: pair[1]))
    assert sorted(results) == list(range(15_000))


def test_a_map_nobody_wrote_to_is_empty(jet):
    assert jet.collect(Pipeline.from_map(jet.name("nobody"))) == []


def test_a_map_that_is_source_and_sink(jet):
    stored = jet.map()
    stored.put_all({n: n for n in range(5_000)})
    pipeline = Pipeline.create()
    source = pipeline.read_from(Pipeline.from_map(stored.name))
    source.map(lambda pair: (pair[0], pair[1] + 1)).write_to(Pipeline.to_map(stored.name))
    jet.run(pipeline)
    assert dict(stored.entry_set()) == {n: n + 1 for n in range(5_000)}
