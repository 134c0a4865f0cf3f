"""The inputs of a stage that has several: what is asked of each, and of all together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from jetbridge.arguments import described
from jetbridge.errors import PipelineError
from jetbridge.plan.times import has_times

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jetbridge.stages import GeneralStage
    from jetbridge.windows import Window


class Side(NamedTuple):
    """One input.

    Attributes:
        stage: The stage that it comes from.
        key_fn: The key of an item; None without a ``group_by``.
        window: How it is divided by time; None without a ``window``.
        group: What follows the ``group_by`` or ``window``, where there is one.
    """

    stage: GeneralStage
    key_fn: Callable[[Any], Any] | None = None
    window: Window | None = None
    group: Any = None

    def used(self) -> None:
        """Note that something reads the ``group_by`` or ``window``."""
        if self.group is not None:
            self.group._used = True


def other_side(operator: str, mine: Side, other: Any) -> Side:
    """Another input of a stage, as far as it fits the first one.

    Args:
        operator: The operator, for messages.
        mine: The first input.
        other: A stage, or what follows a ``group_by`` or a ``window``.

    Raises:
        PipelineError: When it is none, is of another pipeline, has keys or windows where the first has none, or
            other windows.
    """
    get = getattr(other, "_side", None)
    if get is None:
        what = "a stage" if mine.key_fn is None else "a grouped stage"
        hint = ": call it first" if callable(other) else ""
        raise PipelineError(f"{operator} must be given {what} of the same pipeline; got {described(other)}{hint}")
    side: Side = get()
    name = side.stage.name
    if side.stage._pipeline is not mine.stage._pipeline:
        raise PipelineError(f"{operator}: stage '{name}' belongs to another pipeline: build both branches in one")
    if (side.key_fn is None) != (mine.key_fn is None):
        without = name if side.key_fn is None else mine.stage.name
        raise PipelineError(
            f"{operator} needs keys on every side or on none, and '{without}' has none: call group_by(key_fn) on it"
        )
    if side.window is not None and side.window != mine.window:
        raise PipelineError(
            f"{operator} has one window for all its sides: '{mine.stage.name}' has {mine.window or 'none'}, and "
            f"'{name}' has {side.window}: call window on the first side alone"
        )
    return side


def check_times(operator: str, sides: Sequence[Side]) -> None:
    """Check that the items of every side have times.

    Raises:
        PipelineError: When those of one have none.
    """
    nodes = sides[0].stage._pipeline._nodes
    for side in sides:
        if not has_times(nodes, nodes[side.stage._id]):
            raise PipelineError(
                f"{operator} needs the times of the items, and those of '{side.stage.name}' have none: "
                "call with_timestamps(fn) behind the source"
            )


def joined(kind: Any, name: str, sides: Sequence[Side], **fields: Any) -> Any:
    """Add a stage that reads all sides.

    Returns:
        A stream stage when one of them is, else a batch stage.
    """
    from jetbridge.stages import BatchStage, StreamStage

    for side in sides:
        side.used()
    pipeline = sides[0].stage._pipeline
    node = pipeline._add(kind, name, tuple(side.stage._id for side in sides), **fields)
    stream = any(isinstance(side.stage, StreamStage) for side in sides)
    return (StreamStage if stream else BatchStage)(pipeline, node.id)
