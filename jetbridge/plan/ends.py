"""Plan nodes of the ends of a pipeline, sources and sinks, and of Beam's own transforms in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.plan.base import Node

if TYPE_CHECKING:
    from jetbridge.connectors.base import Sink, Source


@dataclass(frozen=True)
class SourceNode(Node):
    """A source."""

    kind: ClassVar[str] = "source"

    source: Source

    @property
    def functions(self) -> dict[str, Any]:
        """The source object."""
        return {"source": self.source}


@dataclass(frozen=True)
class SinkNode(Node):
    """A sink."""

    kind: ClassVar[str] = "sink"

    sink: Sink

    @property
    def functions(self) -> dict[str, Any]:
        """The sink object."""
        return {"sink": self.sink}


@dataclass(frozen=True)
class BeamNode(Node):
    """A Beam PTransform of the user's; its elements are items, not chunks."""

    kind: ClassVar[str] = "apply_beam"

    transform: Any

    @property
    def functions(self) -> dict[str, Any]:
        """The transform."""
        return {"ptransform": self.transform}
