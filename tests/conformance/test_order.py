"""The order of one source partition is kept by stateless stages and by list sinks, however the work is split."""

from __future__ import annotations

import time

import pytest

from jetbridge import ListSource, Pipeline, sources

COUNT = 60_000

pytestmark = pytest.mark.parametrize("parallelism", [1, 2])


def uneven(n):
    """Work that makes some slices slower than those after them."""
    if n % 20_000 == 0:
        time.sleep(0.05)
    return n


def test_of_items_that_travel_with_the_job(jet):
    assert jet.collect(range(COUNT), lambda s: s.map(uneven).filter(lambda n: True)) == list(range(COUNT))


def test_of_a_stored_list(jet):
    stored = jet.list()
    stored.add_all(range(COUNT))
    results = jet.collect(ListSource(stored.name), lambda s: s.map(uneven).flat_map(lambda n: (n, -n)))
    assert results == [m for n in range(COUNT) for m in (n, -n)]


def test_of_a_file(jet, folder):
    path = folder / "lines.txt"
    path.write_text("".join(f"{n}\n" for n in range(COUNT)))
    assert jet.collect(sources.text(str(path)), lambda s: s.map(int).map(uneven)) == list(range(COUNT))


def test_of_each_of_several_files(jet, folder):
    for part in "abc":
        (folder / f"{part}.txt").write_text("".join(f"{part}{n}\n" for n in range(COUNT // 3)))
    results = jet.collect(sources.text(str(folder / "*.txt")), lambda s: s.map(lambda line: (line[0], int(line[1:]))))
    assert len(results) == COUNT
    for part in "abc":
        assert [n for which, n in results if which == part] == list(range(COUNT // 3))


def test_in_every_sink_of_a_pipeline(jet):
    pipeline, plain, squared = Pipeline.create(), jet.list(), jet.list()
    numbers = pipeline.read_from(Pipeline.from_list("n", range(COUNT)))
    numbers.map(uneven).write_to(Pipeline.to_list(plain.name))
    numbers.map(lambda n: n * n).write_to(Pipeline.to_list(squared.name))
    jet.run(pipeline)
    assert plain.get_all() == list(range(COUNT))
    assert squared.get_all() == [n * n for n in range(COUNT)]


def test_of_the_items_of_a_key(jet):
    results = jet.collect(range(COUNT), lambda s: s.map(uneven).group_by(lambda n: n % 11))
    assert {key: items == list(range(key, COUNT, 11)) for key, items in results} == dict.fromkeys(range(11), True)


def test_after_a_sort(jet):
    results = jet.collect(
        range(COUNT), lambda s: s.sort(key_fn=lambda n: -n).map(uneven).filter(lambda n: n % 2).flat_map(lambda n: [n])
    )
    assert results == list(range(COUNT - 1, 0, -2))
