"""Whether a snapshot fits a pipeline: state goes to stages by their names, and never to a stage of another kind."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from jetbridge.aggregations import AggregateOperation
from jetbridge.errors import SnapshotError
from jetbridge.plan.ends import SinkNode, SourceNode
from jetbridge.plan.graph import upstream
from jetbridge.plan.keyed import KeyedNode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jetbridge.plan.base import Node
    from jetbridge.plan.graph import Plan

_PARTS = ("sources", "stages", "sinks")
_ENDS = {"sources": "a source", "sinks": "a sink"}


def check(body: Mapping[str, Any], plan: Plan) -> None:
    """Check that a pipeline can start where a snapshot's job stood.

    Stages are matched by name: new ones start empty, and those that are gone
    are ignored. Stages, sources and sinks with default names must be the same
    ones in the same places, since a default name may have moved to another stage.

    Example:
        >>> from jetbridge.pipeline import Pipeline
        >>> pipeline = Pipeline.create()
        >>> stage = pipeline.read_from(Pipeline.from_list("numbers", [1, 2])).set_name("read")
        >>> _ = stage.distinct().set_name("once").write_to(Pipeline.to_list("results")).set_name("write")
        >>> check({"stages": {"once": {"kind": "sort", "default": None}}}, pipeline.plan())
        Traceback (most recent call last):
        jetbridge.errors.SnapshotError: ...stage 'once' was sort and is distinct without key: give it another name ...

    Args:
        body: A checkpoint's body, or a snapshot's manifest, which lacks the offsets.
        plan: The pipeline.

    Raises:
        SnapshotError: When it does not fit; the message lists why.
    """
    problems = [*_defaults(body, plan)] or [*_kinds(body, plan), *_sources(body, plan)]
    if problems:
        raise SnapshotError(f"the snapshot does not fit the pipeline: {'; '.join(problems)}")


def described(plan: Plan) -> dict[str, dict[str, dict[str, Any]]]:
    """What a checkpoint says of a plan's sources, stages with state and sinks, so that `check` can compare it."""

    def default(node: Node) -> str | None:
        return None if node.named else upstream(plan, node)

    sources = {
        n.name: {
            "kind": n.source.kind,
            "name": n.source.name,
            "location": n.source.location(),
            "default": default(n),
        }
        for n in plan.sources
    }
    stages = {n.name: {"kind": state_kind(n), "default": default(n)} for n in plan.keyed}
    sinks = {n.name: {"kind": n.sink.kind, "name": n.sink.name, "default": default(n)} for n in plan.sinks}
    return {"sources": sources, "stages": stages, "sinks": sinks}


def state_kind(node: Node) -> str:
    """What sort of state a stage keeps, as text: the "kind" of a stage in a checkpoint.

    Two stages of one operator may keep different state, such as two aggregates
    with other accumulators.

    Example:
        >>> from jetbridge.aggregations import averaging
        >>> from jetbridge.plan.keyed import AggregateNode
        >>> state_kind(AggregateNode(0, "mean", True, (), key_fn=str, operation=averaging()))
        'aggregate by key into (int, (int, float))'
    """
    kind = node.kind
    if isinstance(node, KeyedNode):
        kind += " without key" if node.key_fn is None else " by key"
    operation = getattr(node, "operation", None)
    if isinstance(operation, AggregateOperation):
        with contextlib.suppress(Exception):  # the user's function: it fails again in the job, which names it
            kind += f" into {operation.state()}"
    with contextlib.suppress(Exception):  # likewise
        kind += f" of {node.state_kind}" if hasattr(node, "state_kind") else ""
    return kind


def _kinds(body: Mapping[str, Any], plan: Plan) -> Iterator[str]:
    known = {name: (part, entry) for part in _PARTS for name, entry in _entries(body, part).items()}
    for node in plan.nodes:
        part, entry = known.get(node.name, (None, {}))
        now = _part(node)
        if part is None or (part == now != "stages") or (part != now and not node.named):
            continue  # new, not a stage with state, or another stage that got the name by default
        then = _ENDS.get(part, entry.get("kind"))
        is_now = _ENDS.get(now or "", state_kind(node))
        # A body may name the operator alone.
        if part != now or then not in (node.kind, is_now):
            yield f"stage '{node.name}' was {then} and is {is_now}: give it another name to start it empty"


def _sources(body: Mapping[str, Any], plan: Plan) -> Iterator[str]:
    known = _entries(body, "sources")
    for node in plan.sources:
        entry, source = known.get(node.name), node.source
        if entry is None:
            continue
        then, now = (entry.get("kind"), entry.get("name")), (source.kind, source.name)
        there, here = entry.get("location"), source.location()
        if then != now or (there is not None and there != here):  # a body may lack it
            yield (
                f"source '{node.name}' read {then[0]} '{there or then[1]}' and reads {now[0]} '{here or now[1]}': "
                "give it another name to read it from its start"
            )
        elif source.kind == "items":
            yield from _short_items(node, entry)


def _short_items(node: SourceNode, entry: Mapping[str, Any]) -> Iterator[str]:
    partitions = entry.get("partitions")
    for partition, place in (partitions if isinstance(partitions, dict) else {}).items():
        offset = place[0] if isinstance(place, (list, tuple)) and place else None
        size = node.source.size(partition)
        if type(offset) is int and size is not None and offset > size:
            yield (
                f"source '{node.name}' had read {offset} items and its list has {size}: give from_list the same list, "
                "or a longer one that begins with it"
            )


def _defaults(body: Mapping[str, Any], plan: Plan) -> Iterator[str]:
    """Default names of both sides that the other one does not have in the same place."""
    then = {
        (part, name, entry["default"])
        for part in _PARTS
        for name, entry in _entries(body, part).items()
        if isinstance(entry.get("default"), str)
    }
    now = {(part, node.name, upstream(plan, node)) for node in plan.nodes if (part := _part(node)) and not node.named}
    # Who names a stage as the snapshot does says which one is meant.
    said = {(_part(node), node.name) for node in plan.nodes if node.named}
    gone = sorted((each for each in then - now if each[:2] not in said), key=_order)
    new = sorted(now - then, key=_order)
    if gone or new:
        lists = [
            f"{what}: {', '.join(f'{name!r} ({path})' for _, name, path in each)}"
            for what, each in (("only in the snapshot", gone), ("only in the pipeline", new))
            if each
        ]
        yield (
            "stages, sources or sinks with default names differ, so their state could go to a wrong one "
            f"({'; '.join(lists)}): call set_name on each, with the snapshot's name where its state belongs"
        )


def _order(place: tuple[str, str, str]) -> tuple[int, str, str]:
    return _PARTS.index(place[0]), *place[1:]


def _part(node: Node) -> str | None:
    if isinstance(node, SourceNode):
        return "sources"
    if isinstance(node, SinkNode):
        return "sinks"
    return "stages" if isinstance(node, KeyedNode) else None


def _entries(body: Mapping[str, Any], part: str) -> dict[str, dict[str, Any]]:
    entries = body.get(part)
    if not isinstance(entries, dict):
        return {}
    return {name: entry for name, entry in entries.items() if isinstance(name, str) and isinstance(entry, dict)}
