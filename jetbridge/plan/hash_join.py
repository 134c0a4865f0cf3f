"""Plan nodes of hash joins, and which sources wait for the end of others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.plan.keyed import KeyedNode
from jetbridge.plan.times import ways

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetbridge.plan.base import KeyFn
    from jetbridge.plan.graph import Plan


@dataclass(frozen=True)
class BuildNode(KeyedNode):
    """Keeps the build side of a hash join by key, and hands it over when it has ended."""

    kind: ClassVar[str] = "build"


@dataclass(frozen=True)
class HashJoinNode(KeyedNode):
    """Items with what matches them in a build side; its inputs are the items and a `BuildNode`.

    Attributes:
        fn: What a result is made of: an item and a match.
        outer: Whether an item without a match gives a result, too.
        as_list: Whether an item gets all its matches at once.
        entries: Whether the build side's items are ``(key, value)`` and a match is the value.
    """

    kind: ClassVar[str] = "hash_join"
    times: ClassVar[str] = "kept"
    leading: ClassVar[bool] = True

    key_fn: KeyFn
    fn: Callable[[Any, Any], Any]
    outer: bool
    as_list: bool
    entries: bool

    @property
    def functions(self) -> dict[str, Any]:
        """The key function of items, and the function of results."""
        return {"key_fn": self.key_fn, "fn": self.fn}


def gates(plan: Plan) -> dict[int, set[int]]:
    """The sources that are best read when build sides have ended, so that no item waits for them.

    A source that a build side itself comes from does not wait for it, and none
    waits for one that waits for it.

    Args:
        plan: The plan.

    Returns:
        The ids of `BuildNode` stages, by that of a source.
    """
    found: dict[int, set[int]] = {}
    before: dict[int, set[int]] = {}

    def reached(sources: set[int]) -> set[int]:
        known, new = set[int](), set(sources)
        while new:
            known |= new
            new = set().union(*(before.get(source, set()) for source in new)) - known
        return known

    for node in plan.nodes:
        if isinstance(node, HashJoinNode):
            probe, build = (set(ways(plan.nodes, plan.node(above))) for above in node.inputs)
            for source in sorted(probe - reached(build)):
                found.setdefault(source, set()).add(node.inputs[1])
                before.setdefault(source, set()).update(build)
    return found
