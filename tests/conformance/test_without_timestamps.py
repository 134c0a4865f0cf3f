from __future__ import annotations

import pytest

from jetbridge import Pipeline, PipelineError, windows


def test_the_items_stay(jet):
    assert jet.collect(range(10), lambda s: s.with_timestamps(int).without_timestamps()) == list(range(10))


def test_of_a_stream(flow):
    flow.start(lambda s: s.with_timestamps(int).without_timestamps().distinct()).publish([3, 1, 3, 2])
    assert sorted(flow.get(3)) == [1, 2, 3]


def test_a_window_behind_it_is_refused_and_new_times_may_be_given(jet):
    stage = Pipeline.create().read_from(Pipeline.from_list("n", [1])).with_timestamps(int).without_timestamps()
    with pytest.raises(PipelineError, match="window needs the times"):
        stage.window(windows.tumbling(1))
    results = jet.collect(
        range(10),
        lambda s: (
            s.with_timestamps(int)
            .without_timestamps()
            .with_timestamps(lambda n: n * 100)
            .window(windows.tumbling(500))
            .aggregate(lambda acc, n: acc + n, initial=0)
        ),
    )
    assert sorted((r.start, r.value) for r in results) == [(0, 10), (500, 35)]
