"""Plan nodes of joins by key and time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.plan.coaggregate import CoWindowNode, functions_of
from jetbridge.plan.keyed import KeyedNode

if TYPE_CHECKING:
    from jetbridge.plan.base import KeyFn


@dataclass(frozen=True)
class JoinWindowNode(CoWindowNode):
    """Pairs of items of the same key and window.

    Attributes:
        how: Which items without a match come, too: "inner" for none, "left", "right", "outer".
    """

    kind: ClassVar[str] = "join_window"

    how: str = field(kw_only=True)

    @property
    def functions(self) -> dict[str, Any]:
        """The key functions."""
        return functions_of(self.key_fns)


@dataclass(frozen=True)
class TimeJoinNode(KeyedNode):
    """A join of two inputs by key and the distance of times.

    Attributes:
        key_fns: The key function of each input.
        how: "inner", or "left" when items of the first input come without a match, too.
    """

    times: ClassVar[str] = "own"
    drops_late: ClassVar[bool] = True

    key_fns: tuple[KeyFn, KeyFn]
    how: str

    @property
    def functions(self) -> dict[str, Any]:
        """The key functions."""
        return functions_of(self.key_fns)


@dataclass(frozen=True)
class IntervalJoinNode(TimeJoinNode):
    """Pairs of items of the same key that are close in time.

    Attributes:
        before: How much earlier the second input's item may be, in milliseconds.
        after: How much later.
    """

    kind: ClassVar[str] = "interval_join"

    before: int
    after: int


@dataclass(frozen=True)
class AsOfJoinNode(TimeJoinNode):
    """Each item of the first input with the newest of the second one at its time.

    Attributes:
        tolerance: How old that may be, in milliseconds; None for any age.
    """

    kind: ClassVar[str] = "as_of_join"

    tolerance: int | None
