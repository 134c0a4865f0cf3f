"""Plan nodes of stages with state of the user's: objects that a function changes, and kernels of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.plan.keyed import KeyedNode

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class StatefulNode(KeyedNode):
    """A function of an item and a state, one state for each key or one for the whole stage.

    Attributes:
        create: Makes the state of a key.
        fn: ``(state, key, item)``, or ``(state, item)`` without a key function.
        ttl: How long after its last item a state lives, in milliseconds of event time; None for ever.
        on_evict: ``(state, key, time)``, or ``(state, time)``: what is emitted when a state has expired.
        delete: ``(state)``: whether a state is dropped, asked after each item.
    """

    times: ClassVar[str] = "kept"

    create: Callable[[], Any]
    fn: Callable[..., Any]
    ttl: int | None = None
    on_evict: Callable[..., Any] | None = None
    delete: Callable[[Any], Any] | None = None

    @property
    def drops_late(self) -> bool:  # type: ignore[override]
        """Whether items can be too late: the states that they belong to may have expired."""
        return self.ttl is not None

    @property
    def state_kind(self) -> str:
        """What tells the state of one stage from that of another."""
        return f"{type(self.create()).__name__}{'' if self.ttl is None else ' with ttl'}"

    @property
    def functions(self) -> dict[str, Any]:
        """The user's functions."""
        own = {
            "create": self.create,
            "fn": self.fn,
            "on_evict": self.on_evict,
            "delete_state_predicate": self.delete,
        }
        return super().functions | {name: fn for name, fn in own.items() if fn is not None}


@dataclass(frozen=True)
class MapStatefulNode(StatefulNode):
    """One item in, one item out."""

    kind: ClassVar[str] = "map_stateful"


@dataclass(frozen=True)
class FilterStatefulNode(StatefulNode):
    """Keeps items."""

    kind: ClassVar[str] = "filter_stateful"


@dataclass(frozen=True)
class FlatMapStatefulNode(StatefulNode):
    """One item in, any number out."""

    kind: ClassVar[str] = "flat_map_stateful"


@dataclass(frozen=True)
class CustomNode(KeyedNode):
    """A kernel of the user's.

    Attributes:
        kernel: Makes one.
        gives_times: Whether its results have times.
        late: Whether it wants no items that are late.
    """

    kind: ClassVar[str] = "custom"

    kernel: Callable[[], Any]
    gives_times: bool = False
    late: bool = False

    @property
    def times(self) -> str:  # type: ignore[override]
        """What times its results have."""
        return "own" if self.gives_times else "none"

    @property
    def drops_late(self) -> bool:  # type: ignore[override]
        """Whether items can be too late for it."""
        return self.late

    @property
    def state_kind(self) -> str:
        """What tells the state of one stage from that of another."""
        return type(self.kernel()).__name__

    @property
    def functions(self) -> dict[str, Any]:
        """The user's key function and the factory."""
        return super().functions | {"kernel_factory": self.kernel}
