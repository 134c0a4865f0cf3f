"""aggregate3: three stages aggregated at once."""

from __future__ import annotations

import pytest

from jetbridge import Pipeline, aggregations, windows


@pytest.fixture
def three(jet):
    """Runs what is built of three lists."""

    def run(build):
        pipeline, results = Pipeline.create(), jet.list()
        stages = [pipeline.read_from(Pipeline.from_list(f"n{i}", range(i * 10, i * 10 + 15))) for i in range(3)]
        build(*stages).write_to(Pipeline.to_list(results.name))
        jet.run(pipeline)
        return results.get_all()

    return run


def test_by_key(three):
    count = aggregations.counting()
    results = three(
        lambda a, b, c: a.group_by(lambda n: n // 5).aggregate3(
            count, b.group_by(lambda n: n // 5), aggregations.summing(), c.group_by(lambda n: n // 5), count
        )
    )
    assert sorted(results) == [
        (0, (5, 0, 0)), (1, (5, 0, 0)), (2, (5, 60, 0)), (3, (0, 85, 0)), (4, (0, 110, 5)), (5, (0, 0, 5)),
        (6, (0, 0, 5)),
    ]  # fmt: skip


def test_whole_stages(three):
    count = aggregations.counting()
    assert three(lambda a, b, c: a.aggregate3(count, b, aggregations.summing(), c, count)) == [(15, 255, 15)]


def test_windows_without_keys(three):
    def build(*stages):
        a, b, c = (stage.with_timestamps(lambda n: n) for stage in stages)
        count = aggregations.counting()
        return a.window(windows.tumbling(20)).aggregate3(count, b, count, c, count)

    assert sorted((r.start, r.value) for r in three(build)) == [(0, (15, 10, 0)), (20, (0, 5, 15))]
