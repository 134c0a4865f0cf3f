"""Stages with several inputs that cannot be: what is refused when the pipeline is built, and with which words."""

from __future__ import annotations

import re

import pytest

from jetbridge import Pipeline, PipelineError, StreamSource, aggregations, sources, windows

COUNT = aggregations.counting()
MINUTE = windows.tumbling(60_000)


def key(item):
    return item


class Stages:
    """Stages of all kinds in one pipeline."""

    def __init__(self):
        pipeline = Pipeline.create()
        self.batch, self.other = (pipeline.read_from(Pipeline.from_list(name, [])) for name in ("batch", "other"))
        self.stream = pipeline.read_from(StreamSource("stream"))
        self.timed, self.later = (stage.with_timestamps(key) for stage in (self.stream, self.other))
        self.foreign = Pipeline.create().read_from(Pipeline.from_list("foreign", [])).with_timestamps(key)
        self.grouped, self.grouped_stream = self.batch.group_by(key), self.stream.group_by(key)
        self.timed_groups, self.later_groups = self.timed.group_by(key), self.later.group_by(key)


BAD = {
    "a function as an operation": (
        lambda s: s.batch.aggregate2(len, s.other, COUNT),
        "aggregate2 must be given an operation of jetbridge.aggregations as operation1",
    ),
    "a factory of operations": (
        lambda s: s.batch.aggregate3(COUNT, s.other, COUNT, s.batch, aggregations.counting),
        "as operation3",
    ),
    "no stage": (
        lambda s: s.batch.aggregate2(COUNT, [1], COUNT),
        "aggregate2 must be given a stage of the same pipeline; got [1]",
    ),
    "a source": (
        lambda s: s.grouped.aggregate2(COUNT, Pipeline.from_list("x", []), COUNT),
        "aggregate2 must be given a grouped stage of the same pipeline; got",
    ),
    "another pipeline": (
        lambda s: s.batch.aggregate2(COUNT, s.foreign, COUNT),
        "aggregate2: stage 'with_timestamps' belongs to another pipeline",
    ),
    "keys on one side": (
        lambda s: s.grouped.aggregate2(COUNT, s.other, COUNT),
        "aggregate2 needs keys on every side or on none, and 'other' has none: call group_by(key_fn) on it",
    ),
    "keys on the other side": (lambda s: s.other.aggregate2(COUNT, s.grouped, COUNT), "and 'other' has none"),
    "a stream without a window": (
        lambda s: s.stream.aggregate2(COUNT, s.other, COUNT),
        "aggregate2 needs the end of its input, and a stream has none: call window(...) on the first side",
    ),
    "a stream as another side": (lambda s: s.grouped.aggregate2(COUNT, s.grouped_stream, COUNT), "a stream has none"),
    "a window on the other side alone": (
        lambda s: s.batch.aggregate2(COUNT, s.later.window(MINUTE), COUNT),
        "'batch' has none, and 'with_timestamps-2' has SlidingWindow(size=60000, step=60000)",
    ),
    "unequal windows": (
        lambda s: s.timed.window(MINUTE).aggregate2(COUNT, s.later.window(windows.session(5)), COUNT),
        "aggregate2 has one window for all its sides",
    ),
    "a window without times": (
        lambda s: s.timed.window(MINUTE).aggregate2(COUNT, s.batch, COUNT),
        "aggregate2 needs the times of the items, and those of 'batch' have none: call with_timestamps(fn)",
    ),
    "a builder's stage": (lambda s: s.batch.aggregate_builder(COUNT).add(3, COUNT), "got 3 (int)"),
    "a builder's operation": (lambda s: s.batch.aggregate_builder(COUNT).add(s.other, max), "as operation; got"),
    "no operation for a builder": (lambda s: s.batch.aggregate_builder(None), "aggregate_builder must be given an"),
    "an early period that is none": (
        lambda s: s.timed.window(MINUTE).aggregate2(COUNT, s.later, COUNT, early_results_period=-1),
        "aggregate2's early_results_period must be at least 0 milliseconds; got -1",
    ),
    "a join without times": (
        lambda s: s.timed_groups.interval_join(s.grouped, 1, 1),
        "interval_join needs the times of the items, and those of 'batch' have none",
    ),
    "a join without keys": (lambda s: s.timed_groups.as_of_join(s.later), "as_of_join needs keys on every side"),
    "a join with no window": (lambda s: s.timed_groups.join_window(s.later_groups, 5), "as window, such as"),
    "a join with a windowed stage": (
        lambda s: s.timed_groups.interval_join(s.later_groups.window(MINUTE), 1, 1),
        "interval_join has one window for all its sides",
    ),
    "a way to join": (
        lambda s: s.timed_groups.join_window(s.later_groups, MINUTE, how="cross"),
        "join_window's how must be 'inner', 'left', 'right' or 'outer'; got 'cross' (str)",
    ),
    "another way to join": (lambda s: s.timed_groups.interval_join(s.later_groups, 1, 1, how="outer"), "'inner' or"),
    "a negative distance": (
        lambda s: s.timed_groups.interval_join(s.later_groups, -1, 1),
        "interval_join's before must be at least 0 milliseconds; got -1",
    ),
    "a tolerance that is none": (
        lambda s: s.timed_groups.as_of_join(s.later_groups, tolerance="1s"),
        "as_of_join's tolerance must be an int of milliseconds or a timedelta",
    ),
    "a stream as build side": (
        lambda s: s.batch.hash_join(s.stream, key),
        "hash_join reads its other side to the end first, and 'stream' is a stream, which has none: use interval_join",
    ),
    "a merge with a stream as build side": (lambda s: s.batch.hash_join(s.other.merge(s.stream), key), "is a stream"),
    "no build side": (lambda s: s.batch.hash_join({}, key), "hash_join must be given a batch stage of the same"),
    "a build side of another pipeline": (
        lambda s: s.batch.hash_join(s.foreign, key),
        "hash_join: stage 'with_timestamps' belongs to another pipeline",
    ),
    "a key that is none": (lambda s: s.batch.hash_join(s.other, "id"), "hash_join must be given as on the two key"),
    "keys that are none": (lambda s: s.batch.hash_join(s.other, (key, 3)), "a callable as on[1]; got 3 (int)"),
    "a result that is none": (lambda s: s.batch.hash_join(s.other, key, 5), "a callable as fn; got 5 (int)"),
    "a builder without build sides": (lambda s: s.batch.hash_join_builder().build(), "has nothing to join with"),
    "late items of a hash join": (lambda s: s.batch.hash_join(s.other, key).late_items(), "nothing is late for"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_refused(name):
    build, message = BAD[name]
    with pytest.raises(PipelineError, match=re.escape(message)):
        build(Stages())


def test_a_group_that_was_read_as_another_side_is_read():
    pipeline = Pipeline.create()
    left, right = (pipeline.read_from(sources.text(f"{name}*.txt")).group_by(key) for name in "ab")
    left.aggregate2(COUNT, right, COUNT).write_to(Pipeline.to_list("results"))
    assert pipeline.plan().keyed[0].name == "aggregate2"


def test_a_batch_joined_with_a_stream_is_a_stream():
    stages = Stages()
    assert repr(stages.later_groups.interval_join(stages.timed_groups, 1, 1)) == "<StreamStage 'interval_join'>"
    assert repr(stages.later.window(MINUTE).aggregate2(COUNT, stages.timed, COUNT)) == "<StreamStage 'aggregate2'>"
    assert repr(stages.stream.hash_join(stages.other, key)) == "<StreamStage 'hash_join'>"
