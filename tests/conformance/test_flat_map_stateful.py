from __future__ import annotations

import pytest

from jetbridge import JobFailedError, Pipeline, PipelineError


def pairs(state, item):
    state.append(item)
    if len(state) == 2:
        yield tuple(state)
        state.clear()


def test_the_state_of_the_whole_stage(jet):
    assert jet.collect(range(5), lambda s: s.flat_map_stateful(list, pairs)) == [(0, 1), (2, 3)]


@pytest.mark.parametrize("shards", [1, 128])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_by_key(jet):
    def fn(state, key, item):
        return ((key, *pair) for pair in pairs(state, item))

    found = jet.collect(range(6_000), lambda s: s.group_by(lambda n: n % 7).flat_map_stateful(list, fn))
    numbers = {key: list(range(key, 6_000, 7)) for key in range(7)}
    expected = [(key, *pair) for key, mine in numbers.items() for pair in zip(mine[::2], mine[1::2], strict=False)]
    assert sorted(found) == sorted(expected)


def test_what_is_left_when_a_state_expires(jet):
    build = lambda s: (  # noqa: E731
        s.with_timestamps(lambda n: n)
        .group_by(lambda n: n % 2)
        .flat_map_stateful(
            list, lambda state, key, n: state.append(n) or [], ttl=10, on_evict=lambda state, key, time: [*state, time]
        )
    )
    assert sorted(jet.collect([0, 1, 10, 30], build)) == sorted([0, 10, 20, 30, 40, 1, 11])


def test_one_item_may_give_more_than_a_chunk(jet):
    found = jet.collect([10_000, 3], lambda s: s.flat_map_stateful(dict, lambda state, n: range(n)))
    assert found == [*range(10_000), *range(3)]


def test_a_function_that_gives_no_iterable_is_named(jet):
    pipeline = Pipeline.create()
    stage = pipeline.read_from(Pipeline.from_list("n", [7])).flat_map_stateful(dict, lambda state, n: n)
    stage.write_to(Pipeline.to_list(jet.list().name))
    with pytest.raises(JobFailedError, match="failed on item 7: TypeError: its function must return an iterable"):
        jet.run(pipeline)


def test_all_results_of_an_item_or_none(jet):
    def fn(state, n):
        yield n
        yield 1 // n

    assert jet.collect([0, 1], lambda s: s.flat_map_stateful(dict, fn).on_error("skip")) == [1, 1]


def test_what_is_no_function_is_refused():
    stage = Pipeline.create().read_from(Pipeline.from_list("n", [1]))
    with pytest.raises(PipelineError, match="flat_map_stateful must be given a callable as create; got"):
        stage.flat_map_stateful({}, pairs)
