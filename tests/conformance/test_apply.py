from __future__ import annotations


def positive(stage):
    """A part of a pipeline for reuse."""
    return stage.filter(lambda x: x > 0).map(lambda x: x * 2)


def test_a_part_is_put_in_place(jet):
    assert jet.collect([-1, 1, 2], lambda stage: stage.apply(positive).map(str)) == ["2", "4"]


def test_a_part_can_be_used_twice(jet):
    assert jet.collect([-1, 1, 2], lambda stage: stage.apply(positive).apply(positive)) == [4, 8]


def test_a_part_may_hold_state(jet):
    def counts(stage):
        return stage.group_by(lambda x: x).aggregate(accumulator=lambda n, _: n + 1, initial=0)

    assert sorted(jet.collect(["a", "b", "a"], lambda stage: stage.apply(counts))) == [("a", 2), ("b", 1)]


def test_a_part_may_fan_out_and_merge(jet):
    def both(stage):
        return stage.map(lambda x: x + 1).merge(stage.map(lambda x: x - 1))

    assert sorted(jet.collect([10], lambda stage: stage.apply(both))) == [9, 11]


def test_nothing_may_be_applied(jet):
    assert jet.collect([1], lambda stage: stage.apply(lambda same: same)) == [1]
