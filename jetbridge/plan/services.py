"""Plan nodes of stages that use a service, or look values up in a map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.plan.base import KeyFn, Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jetbridge.services import Lookup, ServiceFactory


@dataclass(frozen=True)
class ServiceNode(Node):
    """A stage whose function is given a service.

    Attributes:
        factory: Makes the services.
        fn: ``(service, item) -> …``, or ``(service, key, item) -> …`` when there is a key.
        key_fn: The key of an item; None without one.
    """

    stateless: ClassVar[bool] = True

    factory: ServiceFactory
    fn: Callable[..., Any]
    key_fn: KeyFn | None = None

    @property
    def functions(self) -> dict[str, Any]:
        """The user's functions."""
        optional = {"destroy": self.factory.destroy, "key_fn": self.key_fn}
        known = {name: fn for name, fn in optional.items() if fn is not None}
        return {"fn": self.fn, "create": self.factory.create, **known}


@dataclass(frozen=True)
class MapServiceNode(ServiceNode):
    """One item in, one item out."""

    kind: ClassVar[str] = "map_using_service"


@dataclass(frozen=True)
class FilterServiceNode(ServiceNode):
    """Keeps items."""

    kind: ClassVar[str] = "filter_using_service"


@dataclass(frozen=True)
class FlatMapServiceNode(ServiceNode):
    """One item in, any number out."""

    kind: ClassVar[str] = "flat_map_using_service"


@dataclass(frozen=True)
class BatchServiceNode(ServiceNode):
    """Many items in, as many out.

    Attributes:
        max_batch: How many items one call gets at most.
    """

    kind: ClassVar[str] = "map_using_service_batched"

    max_batch: int = 1


@dataclass(frozen=True)
class AsyncServiceNode(ServiceNode):
    """One item in, one item out, many at a time.

    Attributes:
        max_concurrent: How many calls go on at the same time in a chunk.
        preserve_order: Whether results come in the order of their items.
        timeout: How long a call may take, in milliseconds; None for any time.
    """

    kind: ClassVar[str] = "map_using_service_async"

    max_concurrent: int = 1
    preserve_order: bool = True
    timeout: int | None = None

    @property
    def keeps_order(self) -> bool:
        """As it was asked for."""
        return self.preserve_order


@dataclass(frozen=True)
class MapLookupNode(Node):
    """One item in, one item out, with what a map has for the item's key.

    Attributes:
        key_fn: The key of an item.
        fn: ``(item, value or None) -> item``.
        lookup: The map.
        ttl: How long a worker keeps what it has looked up, in milliseconds; 0 for not at all.
        max_entries: How many values it keeps at most.
    """

    kind: ClassVar[str] = "map_using_map"
    stateless: ClassVar[bool] = True

    key_fn: KeyFn
    fn: Callable[[Any, Any], Any]
    lookup: Lookup
    ttl: int
    max_entries: int

    @property
    def functions(self) -> dict[str, Any]:
        """The user's functions, and the map where it is an object of the user's."""
        return {"fn": self.fn, "key_fn": self.key_fn, "map": self.lookup}


def uses_services(nodes: Iterable[Node]) -> bool:
    """Whether a stage has something in the workers that is to be closed at the end."""
    return any(isinstance(node, (ServiceNode, MapLookupNode)) for node in nodes)
