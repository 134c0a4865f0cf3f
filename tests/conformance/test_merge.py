from __future__ import annotations

import pytest

from jetbridge import Pipeline


@pytest.fixture
def merged(jet):
    def run(*sources):
        pipeline, results = Pipeline.create(), jet.list()
        first, *others = [
            pipeline.read_from(Pipeline.from_list(f"part-{number}", items)) for number, items in enumerate(sources)
        ]
        for other in others:
            first = first.merge(other)
        first.write_to(Pipeline.to_list(results.name))
        jet.run(pipeline)
        return results.get_all()

    return run


@pytest.mark.parametrize(
    "sources",
    [
        ([1, 2], [3]),
        ([], []),
        ([], [1]),
        ([None], [None, None]),
        ([1, 1], [1.0]),
        ([1], ["a"], [b"b"], [(2,)]),
    ],
    ids=repr,
)
def test_all_items_of_all_stages(merged, bag, sources):
    assert bag(merged(*sources)) == bag([item for items in sources for item in items])


@pytest.mark.parametrize("parallelism", [1, 2])
def test_the_order_of_each_source_is_kept(merged):
    left, right = range(0, 40_000, 2), range(1, 20_001, 2)
    results = merged(left, right)
    assert [n for n in results if n % 2 == 0] == list(left)
    assert [n for n in results if n % 2 == 1] == list(right)


def test_branches_of_one_stage_come_together_again(jet):
    def diamond(stage):
        small = stage.filter(lambda x: x < 3)
        big = stage.filter(lambda x: x >= 3).map(lambda x: x * 100)
        return small.merge(big)

    assert sorted(jet.collect([1, 2, 3, 4], diamond)) == [1, 2, 300, 400]


def test_a_stage_with_its_own_result(jet):
    assert sorted(jet.collect([1, 2], lambda stage: stage.merge(stage.map(lambda x: -x)))) == [-2, -1, 1, 2]


def test_a_stage_merged_with_itself_gives_each_item_twice(jet):
    assert sorted(jet.collect([1, 2], lambda stage: stage.merge(stage))) == [1, 1, 2, 2]


def test_merged_keyed_stages_feed_a_keyed_stage(jet):
    def build(stage):
        counts = stage.group_by(lambda x: x % 2).aggregate(accumulator=lambda n, _: n + 1, initial=0)
        sums = stage.group_by(lambda x: x % 2).aggregate(accumulator=lambda n, x: n + x, initial=0)
        return counts.merge(sums).group_by(lambda pair: pair[0])

    results = jet.collect([1, 2, 3, 4, 5], build)
    assert {key: sorted(value for _, value in pairs) for key, pairs in results} == {0: [2, 6], 1: [3, 9]}
