"""Functions with state: one for each key or for the whole stage, for ever or until no item has come for a time."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest

from jetbridge import (
    JobConfig,
    JobFailedError,
    Pipeline,
    PipelineError,
    ProcessingGuarantee,
    SnapshotError,
    StreamSource,
    aggregations,
    windows,
)


def counter():
    return SimpleNamespace(count=0)


def counted(state, item):
    state.count += 1
    return state.count, item


def counted_by_key(state, key, item):
    state.count += 1
    return key, state.count, item


def test_the_state_of_the_whole_stage_sees_the_items_in_their_order(jet):
    assert jet.collect(list("abc"), lambda s: s.map_stateful(counter, counted)) == [(1, "a"), (2, "b"), (3, "c")]


@pytest.mark.parametrize("items", [[], [None]], ids=repr)
def test_few_items(jet, items):
    assert jet.collect(items, lambda s: s.map_stateful(dict, lambda state, item: item)) == items


@pytest.mark.parametrize("shards", [1, 128])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_by_key_in_the_order_of_the_source(jet):
    found = jet.collect(range(20_000), lambda s: s.group_by(lambda n: n % 17).map_stateful(counter, counted_by_key))
    by_key = {}
    for key, count, item in found:
        by_key.setdefault(key, []).append((count, item))
    assert by_key == {key: list(enumerate(range(key, 20_000, 17), 1)) for key in range(17)}


def test_none_is_an_output_like_any_other(jet):
    assert jet.collect([1, 2], lambda s: s.map_stateful(dict, lambda state, item: None)) == [None, None]


def test_an_instance_of_a_class_of_the_users_and_a_state_that_is_emitted(jet):
    def swapped(state, item):
        state["last"], before = item, state.get("last")
        state.setdefault("all", []).append(before)
        return state

    results = jet.collect([1, 2], lambda s: s.map_stateful(dict, swapped))
    assert results == [{"all": [None], "last": 1}, {"all": [None, 1], "last": 2}]


def test_a_state_that_is_dropped_by_its_predicate(jet):
    results = jet.collect(
        range(7), lambda s: s.map_stateful(counter, counted, delete_state_predicate=lambda state: state.count == 3)
    )
    assert [count for count, _ in results] == [1, 2, 3, 1, 2, 3, 1]


EVENTS = [("a", 0), ("a", 10), ("b", 12), ("a", 20), ("a", 31), ("b", 60), ("b", 70)]


def gathered(state, key, item):
    state.append(item[1])
    return ("item", *item)


def over(state, key, time):
    return "over", key, list(state), time


def visits(stage):
    timed = stage.with_timestamps(lambda event: event[1])
    grouped = timed.group_by(lambda event: event[0])
    return grouped.map_stateful(list, gathered, ttl=timedelta(milliseconds=10), on_evict=over)


OVER = [("over", "a", [0, 10, 20], 30), ("over", "b", [12], 22), ("over", "b", [60, 70], 80), ("over", "a", [31], 41)]


def test_states_expire_between_the_items_and_at_the_end_of_a_bounded_input(jet):
    results = jet.collect(EVENTS, visits)
    assert sorted(results) == sorted([*(("item", *event) for event in EVENTS), *OVER])
    for expired in OVER:
        after = [event for event in EVENTS if event[0] == expired[1] and event[1] > expired[3]]
        assert all(results.index(expired) < results.index(("item", *event)) for event in after)


def test_outputs_have_the_times_of_their_items_and_of_their_ends(jet):
    """So windows below put them where they belong."""
    results = jet.collect(EVENTS, lambda s: visits(s).window(windows.tumbling(20)).aggregate(aggregations.to_list()))
    found = {window.start: sorted(window.value, key=repr) for window in results}
    expected = {}
    for result, time in [*((("item", *event), event[1]) for event in EVENTS), *((each, each[3]) for each in OVER)]:
        expected.setdefault(time // 20 * 20, []).append(result)
    assert found == {start: sorted(mine, key=repr) for start, mine in expected.items()}


@pytest.fixture
def flow(jet, until):
    """Runs a stage built on a stream, and gives what reaches its list sink."""

    class Flow:
        def __init__(self):
            self.stream = jet.client.get_stream(jet.name("stream"))
            self.results = jet.list()
            self.late = jet.list()

        def start(self, build, **config):
            pipeline = Pipeline.create()
            stage = build(pipeline.read_from(StreamSource(self.stream.name))).set_name("stage")
            stage.write_to(Pipeline.to_list(self.results.name)).set_name("results")
            if pipeline._nodes[stage._id].drops_late:
                stage.late_items().set_name("late").write_to(Pipeline.to_list(self.late.name)).set_name("late list")
            guarantee = ProcessingGuarantee.EXACTLY_ONCE
            config = JobConfig(processing_guarantee=guarantee, snapshot_interval_millis=500, **config)
            self.job = jet.submit(pipeline, config)
            return self

        def get(self, count):
            until(lambda: self.results.size() >= count)
            return self.results.get_all()

    return Flow()


def test_states_expire_by_the_watermark_of_a_stream_and_late_items_go_aside(flow, until):
    flow.start(visits)
    flow.stream.publish_all(EVENTS[:3])
    flow.get(3)
    flow.stream.publish_all([("c", 100), ("a", 50), ("c", 101)])
    expected = [("over", "a", [0, 10], 20), ("over", "b", [12], 22), ("item", "c", 100), ("item", "c", 101)]
    assert sorted(flow.get(7)[3:]) == sorted(expected)
    until(lambda: flow.late.size() == 1)
    assert flow.late.get_all() == [("a", 50)]
    until(lambda: flow.job.get_metrics().stages["stage"].late_count == 1)
    flow.stream.publish(("a", 112))
    assert sorted(flow.get(9)[7:]) == [("item", "a", 112), ("over", "c", [100, 101], 111)]


@pytest.mark.parametrize("ttl", [None, 1_000_000])
def test_state_is_there_again_after_suspend_and_resume(flow, ttl):
    flow.start(
        lambda s: (
            s.with_timestamps(lambda n: n).group_by(lambda n: n % 3).map_stateful(counter, counted_by_key, ttl=ttl)
        )
    )
    flow.stream.publish_all(range(30))
    flow.get(30)
    flow.job.suspend()
    flow.stream.publish_all(range(30, 60))
    flow.job.resume()
    assert sorted(flow.get(60)) == sorted((n % 3, n // 3 + 1, n) for n in range(60))


def test_a_state_that_was_to_expire_does_so_after_suspend_and_resume(flow):
    flow.start(visits)
    flow.stream.publish_all(EVENTS[:3])
    flow.get(3)
    flow.job.suspend()
    flow.job.resume()
    flow.stream.publish(("c", 100))
    expected = [("over", "a", [0, 10], 20), ("over", "b", [12], 22), ("item", "c", 100)]
    assert sorted(flow.get(6)[3:]) == sorted(expected)


def test_a_snapshot_of_another_kind_of_state_is_refused(flow, jet, says):
    flow.start(lambda s: s.map_stateful(counter, counted))
    flow.stream.publish(1)
    flow.get(1)
    flow.job.export_snapshot("counted")
    flow.job.cancel()
    with pytest.raises(SnapshotError) as caught:
        flow.start(lambda s: s.map_stateful(dict, counted), initial_snapshot_name="counted")
    says(caught, "stage 'stage' was map_stateful without key of SimpleNamespace", "is map_stateful without key of dict")
    jet.service.get_job_state_snapshot("counted").destroy()


def inverse(state, item):
    state.count += 1
    return 1 // item


def test_a_function_that_raises_fails_the_job_and_names_the_item(jet):
    pipeline = Pipeline.create()
    stage = pipeline.read_from(Pipeline.from_list("n", [1, 0])).map_stateful(counter, inverse).set_name("inverse")
    stage.write_to(Pipeline.to_list(jet.list().name))
    with pytest.raises(JobFailedError, match="map_stateful 'inverse' failed on item 0: ZeroDivisionError") as caught:
        jet.run(pipeline)
    assert caught.value.stage == "inverse"


def test_items_that_fail_go_to_a_sink(jet):
    bad, results = jet.list(), jet.list()
    pipeline = Pipeline.create()
    stage = pipeline.read_from(Pipeline.from_list("n", [1, 0, 1])).map_stateful(counter, inverse).set_name("inverse")
    stage.on_error(Pipeline.to_list(bad.name)).write_to(Pipeline.to_list(results.name))
    job = jet.run(pipeline)
    assert results.get_all() == [1, 1]
    assert [(failed.stage, failed.item) for failed in bad.get_all()] == [("inverse", 0)]
    assert job.get_metrics().stages["inverse"].errors == 1


@pytest.mark.parametrize("create", [lambda: 0, lambda: None, str])
def test_a_state_that_cannot_be_changed_is_refused(jet, create):
    pipeline = Pipeline.create()
    stage = pipeline.read_from(Pipeline.from_list("n", [1])).map_stateful(create, counted)
    stage.write_to(Pipeline.to_list(jet.list().name))
    with pytest.raises(JobFailedError, match="an object that fn can change, such as a dict"):
        jet.run(pipeline)


def test_state_that_cannot_be_stored_is_named(flow):
    def keep(state, item):
        state["fn"] = lambda: None
        return item

    flow.stream.publish(1)
    flow.start(lambda s: s.map_stateful(dict, keep))
    with pytest.raises(JobFailedError, match="map_stateful 'stage' failed while storing its state"):
        flow.job.join(60)


def test_what_is_no_function_or_has_no_times_is_refused(says):
    stage = Pipeline.create().read_from(Pipeline.from_list("n", [1]))
    timed = stage.with_timestamps(lambda n: n)
    for refused, *parts in (
        (lambda: stage.map_stateful(3, counted), "create", "3 (int)"),
        (lambda: stage.map_stateful(dict, "fn"), "fn", "'fn' (str)"),
        (lambda: stage.map_stateful(dict, counted, 5), "'n'", "with_timestamps"),
        (lambda: stage.map_stateful(dict, counted, on_evict=print), "on_evict", "ttl"),
        (lambda: stage.map_stateful(dict, counted, delete_state_predicate=1), "delete_state_predicate"),
        (lambda: timed.map_stateful(dict, counted, 0), "ttl", "at least 1"),
        (lambda: timed.map_stateful(dict, counted, 1.5), "ttl", "1.5 (float)"),
        (lambda: timed.map_stateful(dict, counted, 5, on_evict=1), "on_evict"),
        (lambda: timed.map_stateful(dict, counted).late_items(), "late_items", "ttl"),
    ):
        with pytest.raises(PipelineError) as caught:
            refused()
        says(caught, *parts)
