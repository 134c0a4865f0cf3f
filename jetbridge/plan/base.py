"""The node of a plan: a small immutable record of one stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

KeyFn = Callable[[Any], Any]


@dataclass(frozen=True)
class Node:
    """A stage of a plan.

    Attributes:
        id: Its number within the plan, in the order of creation.
        name: Its name, unique within the plan.
        named: Whether the user chose the name.
        inputs: The ids of the stages that it reads.
    """

    kind: ClassVar[str] = "node"
    stateless: ClassVar[bool] = False

    id: int
    name: str
    named: bool
    inputs: tuple[int, ...]

    @property
    def functions(self) -> dict[str, Any]:
        """The user's functions and objects in it, by parameter name."""
        return {}
