from __future__ import annotations

import pytest

from jetbridge import ListSource, Pipeline


@pytest.mark.parametrize("items", [[], ["a"], [None, None], [1, 1.0, True], [{"a": [1]}, (b"", "ż")]], ids=repr)
def test_items_of_a_list_of_the_script(jet, bag, items):
    assert bag(jet.collect(items)) == bag(items)


def test_any_iterable_is_taken(jet):
    assert jet.collect(n * n for n in range(4)) == [0, 1, 4, 9]
    assert jet.collect({"a": 1, "b": 2}.items()) == [("a", 1), ("b", 2)]
    assert jet.collect(iter("żółw")) == list("żółw")


def test_no_stored_list_is_made(jet):
    name = jet.name("only-here")
    jet.collect(Pipeline.from_list(name, [1, 2]))
    assert jet.client.get_list(name).size() == 0


def test_later_changes_of_the_scripts_list_do_not_matter(jet):
    items, results = [1, 2], jet.list()
    pipeline = Pipeline.create()
    pipeline.read_from(Pipeline.from_list("n", items)).write_to(Pipeline.to_list(results.name))
    job = jet.submit(pipeline)
    items.append(3)
    job.join(timeout=60)
    assert results.get_all() == [1, 2]


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("count", [0, 1, 30_000])
def test_a_stored_list(jet, count):
    stored = jet.list()
    stored.add_all(range(count))
    assert jet.collect(ListSource(stored.name)) == list(range(count))


def test_a_stored_list_filled_bit_by_bit(jet):
    stored = jet.list()
    for n in range(30):
        stored.add(n)
    assert jet.collect(ListSource(stored.name), lambda stage: stage.map(lambda n: n * 2)) == list(range(0, 60, 2))


def test_a_list_nobody_wrote_to_is_empty(jet):
    assert jet.collect(ListSource(jet.name("nobody"))) == []


def test_a_list_with_an_odd_name(jet):
    stored = jet.list("żółw 'quoted' \"twice\" / .. 🐢 %s")
    stored.add("x")
    assert jet.collect(ListSource(stored.name)) == ["x"]


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_list_that_is_source_and_sink_is_read_as_it_was(jet):
    stored = jet.list()
    stored.add_all(range(20_000))
    pipeline = Pipeline.create()
    pipeline.read_from(ListSource(stored.name)).map(lambda n: -n).write_to(Pipeline.to_list(stored.name))
    jet.run(pipeline)
    assert stored.get_all() == [*range(20_000), *(-n for n in range(20_000))]


def test_results_of_one_job_feed_the_next(jet):
    first, second = jet.list(), jet.list()
    one, two = Pipeline.create(), Pipeline.create()
    one.read_from(Pipeline.from_list("n", [3, 1, 2])).sort().write_to(Pipeline.to_list(first.name))
    two.read_from(ListSource(first.name)).map(str).write_to(Pipeline.to_list(second.name))
    jet.run(one)
    jet.run(two)
    assert second.get_all() == ["1", "2", "3"]


def test_one_list_read_twice(jet):
    stored, results = jet.list(), jet.list()
    stored.add_all([1, 2])
    pipeline = Pipeline.create()
    left = pipeline.read_from(ListSource(stored.name))
    right = pipeline.read_from(ListSource(stored.name)).map(lambda n: n * 10)
    left.merge(right).write_to(Pipeline.to_list(results.name))
    jet.run(pipeline)
    assert sorted(results.get_all()) == [1, 2, 10, 20]
