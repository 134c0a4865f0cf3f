from __future__ import annotations

import pytest

from jetbridge import JobFailedError, Pipeline


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_stage_feeds_several_sinks(jet):
    pipeline, odd, even, everything = Pipeline.create(), jet.list(), jet.list(), jet.map()
    numbers = pipeline.read_from(Pipeline.from_list("numbers", range(20_000)))
    numbers.filter(lambda x: x % 2).write_to(Pipeline.to_list(odd.name))
    numbers.filter(lambda x: x % 2 == 0).write_to(Pipeline.to_list(even.name))
    numbers.map(lambda x: (x % 10, x)).write_to(Pipeline.to_map(everything.name))
    jet.run(pipeline)
    assert odd.get_all() == list(range(1, 20_000, 2))
    assert even.get_all() == list(range(0, 20_000, 2))
    assert dict(everything.entry_set()) == {n: 19_990 + n for n in range(10)}


def test_a_stage_written_and_used_further(jet):
    pipeline, raw, total = Pipeline.create(), jet.list(), jet.list()
    numbers = pipeline.read_from(Pipeline.from_list("numbers", [1, 2, 3])).map(lambda x: x * 10)
    numbers.write_to(Pipeline.to_list(raw.name))
    numbers.aggregate(accumulator=lambda a, x: a + x, initial=0).write_to(Pipeline.to_list(total.name))
    jet.run(pipeline)
    assert (raw.get_all(), total.get_all()) == ([10, 20, 30], [60])


def test_branches_do_not_share_changes_to_an_item(jet):
    """Only what a keyed stage or a sink receives matters; a function that changes its item is the user's own risk
    within one branch, but what was written before must not change after."""
    pipeline, before, after = Pipeline.create(), jet.list(), jet.list()
    rows = pipeline.read_from(Pipeline.from_list("rows", [{"n": 1}]))
    rows.write_to(Pipeline.to_list(before.name))
    rows.map(lambda row: {**row, "n": 2}).write_to(Pipeline.to_list(after.name))
    jet.run(pipeline)
    assert (before.get_all(), after.get_all()) == ([{"n": 1}], [{"n": 2}])


@pytest.mark.parametrize("parallelism", [1, 2])
def test_several_pipelines_in_one(jet):
    """Sources that never meet are run by one job all the same."""
    pipeline, one, two = Pipeline.create(), jet.list(), jet.list()
    pipeline.read_from(Pipeline.from_list("a", [1, 2])).map(str).write_to(Pipeline.to_list(one.name))
    pipeline.read_from(Pipeline.from_list("b", ["x", "y", "z"])).sort(reverse=True).write_to(Pipeline.to_list(two.name))
    jet.run(pipeline)
    assert (one.get_all(), two.get_all()) == (["1", "2"], ["z", "y", "x"])


def test_several_keyed_stages_of_one_stage(jet):
    pipeline, counts, sums, kinds = Pipeline.create(), jet.map(), jet.map(), jet.list()
    numbers = pipeline.read_from(Pipeline.from_list("numbers", range(1_000)))
    by_digit = numbers.group_by(lambda x: x % 10)
    by_digit.aggregate(accumulator=lambda n, _: n + 1, initial=0).write_to(Pipeline.to_map(counts.name))
    by_digit.aggregate(accumulator=lambda n, x: n + x, initial=0).write_to(Pipeline.to_map(sums.name))
    numbers.map(lambda x: x % 3).distinct().sort().write_to(Pipeline.to_list(kinds.name))
    jet.run(pipeline)
    assert dict(counts.entry_set()) == dict.fromkeys(range(10), 100)
    assert dict(sums.entry_set()) == {n: sum(range(n, 1_000, 10)) for n in range(10)}
    assert kinds.get_all() == [0, 1, 2]


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_failing_branch_takes_the_others_with_it(jet):
    pipeline, good, bad = Pipeline.create(), jet.list(), jet.list()
    numbers = pipeline.read_from(Pipeline.from_list("numbers", [1, 0, 2]))
    numbers.write_to(Pipeline.to_list(good.name))
    numbers.map(lambda x: 1 / x).write_to(Pipeline.to_list(bad.name))
    with pytest.raises(JobFailedError, match="ZeroDivisionError"):
        jet.run(pipeline)
    assert (good.get_all(), bad.get_all()) == ([], [])


def test_a_wide_and_deep_pipeline(jet):
    pipeline, results = Pipeline.create(), jet.list()
    stage = pipeline.read_from(Pipeline.from_list("n", [0]))
    for _ in range(150):
        stage = stage.map(lambda x: x + 1)
    branches = [stage.map(lambda x, n=n: x * n) for n in range(20)]
    first = branches[0].merge(*branches[1:])
    first.write_to(Pipeline.to_list(results.name))
    jet.run(pipeline)
    assert sorted(results.get_all()) == [150 * n for n in range(20)]
