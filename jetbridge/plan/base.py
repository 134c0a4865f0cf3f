"""The node of a plan: a small immutable record of one stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
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
        on_error: What becomes of an item on which the user's function fails:
            the job fails ("fail"), or it goes on without it ("skip").
        local_parallelism: How many of it may work at once; None for any number.
    """

    kind: ClassVar[str] = "node"
    stateless: ClassVar[bool] = False

    id: int
    name: str
    named: bool
    inputs: tuple[int, ...]
    on_error: str = field(default="fail", kw_only=True)
    local_parallelism: int | None = field(default=None, kw_only=True)

    @property
    def keeps_order(self) -> bool:
        """For a stage without state: whether what it gives is in the order of what it gets."""
        return True

    @property
    def functions(self) -> dict[str, Any]:
        """The user's functions and objects in it, by parameter name."""
        return {}
