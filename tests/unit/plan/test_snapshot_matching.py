"""Which pipelines may start from which snapshot."""

from __future__ import annotations

from typing import Any

import pytest

from jetbridge import sources
from jetbridge.aggregations import averaging, counting, summing, to_list
from jetbridge.connectors.memory import ItemsSource
from jetbridge.errors import SnapshotError
from jetbridge.pipeline import Pipeline
from jetbridge.plan.graph import Plan, upstream
from jetbridge.plan.matching import check, described, state_kind


def body_of(plan: Plan, read: int = 2) -> dict[str, Any]:
    def default(node: Any) -> str | None:
        return None if node.named else upstream(plan, node)

    return {
        "format": 1,
        "sources": {
            node.name: {
                "kind": node.source.kind,
                "name": node.source.name,
                "default": default(node),
                "partitions": {"0": [read, False]},
            }
            for node in plan.sources
        },
        "stages": {node.name: {"kind": state_kind(node), "default": default(node)} for node in plan.keyed},
        "sinks": {
            node.name: {"kind": node.sink.kind, "name": node.sink.name, "default": default(node)} for node in plan.sinks
        },
    }


def plan_of(*stages: Any, items: int = 3, source: str = "in", sink: str = "out", named: bool = True) -> Plan:
    """A pipeline of stages given as functions; the ends carry names of the user's."""
    pipeline = Pipeline.create()
    stage: Any = pipeline.read_from(Pipeline.from_list(source, list(range(items))))
    if named:
        stage = stage.set_name("read")
    for add in stages:
        stage = add(stage)
    end = stage.write_to(Pipeline.to_list(sink))
    if named:
        end.set_name("write")
    return pipeline.plan()


def distinct(name: str | None = None, key: Any = None) -> Any:
    def add(stage: Any) -> Any:
        made = stage.distinct() if key is None else stage.distinct(key)
        return made.set_name(name) if name else made

    return add


def aggregate(operation: Any, name: str | None = None) -> Any:
    return lambda stage: stage.aggregate(operation).set_name(name) if name else stage.aggregate(operation)


def mapped(stage: Any) -> Any:
    return stage.map(str)


def refused(then: Plan, now: Plan, read: int = 2) -> str:
    with pytest.raises(SnapshotError, match="the snapshot does not fit the pipeline: ") as caught:
        check(body_of(then, read), now)
    return str(caught.value)


def test_the_same_pipeline_fits() -> None:
    for named in (True, False):
        plan = plan_of(mapped, distinct(), aggregate(counting()), named=named)
        check(body_of(plan), plan)
    check({}, plan_of(mapped, distinct("a")))


def test_named_stages_may_come_go_and_move() -> None:
    then = plan_of(distinct("a"), aggregate(counting(), "b"))
    check(body_of(then), plan_of(mapped, distinct("new"), distinct("a"), mapped, aggregate(counting(), "b")))
    check(body_of(then), plan_of(distinct("a")))
    check(body_of(then), plan_of(mapped))
    check(body_of(plan_of(distinct("a"), distinct("b"))), plan_of(distinct("b"), distinct("a")))


def test_another_sink_or_a_new_source_fits() -> None:
    check(body_of(plan_of(distinct("a"), sink="out")), plan_of(distinct("a"), sink="elsewhere"))


@pytest.mark.parametrize(
    ("then", "now", "text"),
    [
        (
            distinct("a"),
            aggregate(counting(), "a"),
            "stage 'a' was distinct without key and is aggregate without key into int",
        ),
        (aggregate(counting(), "a"), aggregate(to_list(), "a"), "was .* into int and is .* into list"),
        (
            aggregate(summing(), "a"),
            aggregate(averaging(), "a"),
            r"into \(int, float\) and is .* into \(int, \(int, float\)\)",
        ),
        (aggregate(counting()), aggregate(to_list()), "'aggregate' was aggregate without key into int"),
        (distinct("a"), distinct("a", str), "stage 'a' was distinct without key and is distinct by key"),
        (distinct("a"), lambda stage: stage.map(str).set_name("a"), "stage 'a' was distinct without key and is map"),
    ],
)
def test_another_kind_of_state_is_refused_by_name(then: Any, now: Any, text: str) -> None:
    with pytest.raises(SnapshotError, match=text):
        check(body_of(plan_of(then)), plan_of(now))


def test_a_body_may_name_the_operator_alone() -> None:
    plan = plan_of(aggregate(counting(), "a"))
    body = body_of(plan)
    body["stages"]["a"]["kind"] = "aggregate"
    check(body, plan)
    with pytest.raises(SnapshotError, match="stage 'a' was aggregate and is distinct without key"):
        check(body, plan_of(distinct("a")))


def test_an_end_that_became_a_stage_is_refused() -> None:
    then = plan_of(distinct("a"))
    body = body_of(then)
    body["sources"]["a"] = {"kind": "items", "name": "x", "default": None, "partitions": {}}
    del body["stages"]["a"]
    with pytest.raises(SnapshotError, match="stage 'a' was a source and is distinct"):
        check(body, then)


def test_a_stage_that_took_a_removed_name_by_default_is_new() -> None:
    check(body_of(plan_of(distinct("map"))), plan_of(mapped))


def test_default_names_must_stay_in_their_places() -> None:
    then = plan_of(distinct())
    for now in (plan_of(mapped, distinct()), plan_of(distinct(), distinct()), plan_of(mapped), plan_of(distinct("x"))):
        message = refused(then, now)
        assert "default names differ" in message
        assert "call set_name" in message
    assert "only in the snapshot: 'distinct' (items read > distinct)" in refused(then, plan_of(mapped))
    assert "only in the pipeline: 'distinct-2' (items read > distinct > distinct)" in refused(
        then, plan_of(distinct(), distinct())
    )


def test_ends_with_default_names_must_stay_too() -> None:
    then = plan_of(mapped, named=False)
    assert "only in the snapshot: 'in' (items in)" in refused(then, plan_of(mapped, source="other", named=False))
    assert "'elsewhere'" in refused(then, plan_of(mapped, sink="elsewhere", named=False))
    assert "call set_name" in refused(then, plan_of(named=False))


def test_set_name_with_the_snapshots_name_says_which_stage_is_meant() -> None:
    check(body_of(plan_of(distinct())), plan_of(mapped, distinct("distinct"), distinct("new")))


def test_sources_match_by_name_and_kind() -> None:
    message = refused(plan_of(source="in"), plan_of(source="other"))
    assert "source 'read' read items 'in' and reads items 'other'" in message


def test_a_list_may_grow_and_not_shrink() -> None:
    check(body_of(plan_of(items=3)), plan_of(items=2))
    check(body_of(plan_of(items=3)), plan_of(items=30))
    assert "source 'read' had read 2 items and its list has 1" in refused(plan_of(items=3), plan_of(items=1))
    for offset in (None, "x", 2.5, []):
        body = body_of(plan_of())
        body["sources"]["read"]["partitions"] = {"0": offset, "1": [offset, True]}
        check(body, plan_of(items=1))


def test_a_strangers_body_gives_no_other_error() -> None:
    plan = plan_of(distinct("a"))
    for body in ({}, {"stages": 3}, {"stages": {"a": 3}}, {"sources": {"read": {"partitions": 3}}}, {"sinks": {1: {}}}):
        try:
            check(body, plan)
        except SnapshotError:
            assert "sources" in body


def test_a_failing_create_is_left_to_the_job() -> None:
    plan = plan_of(aggregate(counting(), "a"))
    (node,) = plan.keyed

    def fails() -> int:
        raise RuntimeError

    object.__setattr__(node.operation, "create", fails)  # type: ignore[attr-defined]
    assert state_kind(node) == "aggregate without key"
    assert isinstance(plan.sources[0].source, ItemsSource)


def test_files_match_by_their_folder_too() -> None:
    def reading(folder: str) -> Plan:
        pipeline = Pipeline.create()
        stage = pipeline.read_from(sources.text(f"{folder}/*.txt")).set_name("read")
        stage.write_to(Pipeline.to_list("out")).set_name("write")
        return pipeline.plan()

    body: Any = described(reading("/a"))
    check(body, reading("/a"))
    with pytest.raises(
        SnapshotError, match=r"'read' read text '/a/\*.txt' and reads text '/b/\*.txt': give it another"
    ):
        check(body, reading("/b"))
    del body["sources"]["read"]["location"]
    check(body, reading("/b"))
