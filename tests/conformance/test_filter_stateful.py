from __future__ import annotations

import pytest

from jetbridge import JobFailedError, Pipeline, PipelineError


def is_new_maximum(state, item):
    if "top" in state and item <= state["top"]:
        return False
    state["top"] = item
    return True


def test_the_state_of_the_whole_stage(jet):
    assert jet.collect([1, 3, 2, 3, 5, 0], lambda s: s.filter_stateful(dict, is_new_maximum)) == [1, 3, 5]


@pytest.mark.parametrize("shards", [1, 128])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_by_key(jet):
    """Every third item of a key."""

    def third(state, key, item):
        state["n"] = state.get("n", 0) + 1
        return state["n"] % 3 == 0

    found = jet.collect(range(9_000), lambda s: s.group_by(lambda n: n % 10).filter_stateful(dict, third))
    assert sorted(found) == sorted(n for n in range(9_000) if n // 10 % 3 == 2)


def test_a_state_that_expires_is_dropped_without_a_word(jet):
    """One item of each burst: the first that comes after 100 ms of silence."""

    def is_first(state, key, item):
        seen, state["seen"] = "seen" in state, True
        return not seen

    times = [0, 50, 140, 300, 310, 500]
    build = lambda s: s.with_timestamps(lambda n: n).group_by(lambda n: 0).filter_stateful(dict, is_first, ttl=100)  # noqa: E731
    assert jet.collect(times, build) == [0, 300, 500]


def test_a_state_that_is_dropped_by_its_predicate(jet):
    build = lambda s: s.filter_stateful(dict, is_new_maximum, delete_state_predicate=lambda state: state["top"] > 8)  # noqa: E731
    assert jet.collect([5, 9, 1, 0, 2], build) == [5, 9, 1, 2]


def test_a_predicate_that_raises_names_the_item(jet):
    pipeline = Pipeline.create()
    stage = pipeline.read_from(Pipeline.from_list("n", [0])).filter_stateful(dict, lambda state, n: 1 // n)
    stage.write_to(Pipeline.to_list(jet.list().name))
    with pytest.raises(JobFailedError, match="filter_stateful 'filter_stateful' failed on item 0: ZeroDivisionError"):
        jet.run(pipeline)


def test_what_is_no_function_is_refused():
    stage = Pipeline.create().read_from(Pipeline.from_list("n", [1]))
    with pytest.raises(PipelineError, match="filter_stateful must be given a callable as fn; got None"):
        stage.filter_stateful(dict, None)
