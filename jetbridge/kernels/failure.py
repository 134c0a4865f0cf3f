"""What a stage says when the user's function or an item fails."""

from __future__ import annotations

import os
import reprlib
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetbridge.errors import ItemError, JetbridgeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FAILURES = (Exception, SystemExit)
"""What a user's function may raise that fails its job; KeyboardInterrupt is a person's wish."""

HERE = str(Path(__file__).parent)
"""The folder of the kernels, whose frames are no news for a user."""
_PACKAGE = str(Path(__file__).parent.parent) + os.sep
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 200
_REPR.maxdict = _REPR.maxlist = _REPR.maxtuple = 20


def short_repr(value: Any) -> str:
    """The repr of an item, shortened, and safe when the item's own repr fails.

    Example:
        >>> short_repr({"a": 1})
        "{'a': 1}"
    """
    try:
        return _REPR.repr(value)
    except Exception as error:  # a user's class may fail here, which must not hide the real failure
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"


def user_traceback(error: BaseException) -> str:
    """The traceback as text, without the frames of the kernels above the user's function.

    What jetbridge itself refuses (an item, a key) has no frames of the user's, and its message says it all; what it
    refuses because of another error has that one's.
    """
    frames = error.__traceback__
    if isinstance(error, JetbridgeError) and error.__cause__ is None:
        files = {frame.f_code.co_filename for frame, _ in traceback.walk_tb(frames)}
        if all(file.startswith(_PACKAGE) for file in files):
            return "".join(traceback.format_exception_only(type(error), error))
    while frames is not None and frames.tb_next and frames.tb_frame.f_code.co_filename.startswith(HERE):
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames))


def at_hand(chunk: Sequence[Any], iterator: Iterator[Any]) -> Any:
    """The item that an iterator over a list gave last.

    A list's iterator knows how many items are left, so the hot loops need no counter.
    """
    left: int = iterator.__length_hint__()  # type: ignore[attr-defined]
    return chunk[len(chunk) - left - 1]


def item_error(kind: str, stage: str, item: Any, error: BaseException) -> ItemError:
    """The error for a user's function that raised on an item."""
    shown = short_repr(item)
    return ItemError(
        f"{kind} '{stage}' failed on item {shown}: {describe(error)}",
        stage=stage,
        item=shown,
        user_traceback=user_traceback(error),
    )


def stage_error(kind: str, stage: str, doing: str, error: BaseException) -> ItemError:
    """The error for a user's function that raised on something that is no single item."""
    return ItemError(
        f"{kind} '{stage}' failed while {doing}: {describe(error)}",
        stage=stage,
        user_traceback=user_traceback(error),
    )


def describe(error: BaseException) -> str:
    """An exception as one line.

    Example:
        >>> describe(ValueError("no"))
        'ValueError: no'
    """
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def as_record(error: BaseException, stage: str | None = None) -> dict[str, str | None]:
    """An error as plain data, to cross a process and to be kept with its job.

    Args:
        error: Any exception.
        stage: The stage at work, for an error that does not know its own.
    """
    if isinstance(error, ItemError):
        return {
            "type": error.cause_type or type(error.__cause__ or error).__name__,
            "message": str(error),
            "stage": error.stage,
            "item": error.item,
            "traceback": error.user_traceback,
        }
    return {
        "type": type(error).__name__,
        "message": str(error) if isinstance(error, JetbridgeError) else describe(error),
        "stage": stage,
        "item": None,
        "traceback": user_traceback(error),
    }


def from_record(record: dict[str, str | None]) -> ItemError:
    """An error that came from another process, as an `ItemError` with the same text."""
    return ItemError(
        record["message"] or "",
        stage=record["stage"] or "",
        item=record["item"],
        user_traceback=record["traceback"],
        cause_type=record["type"],
    )
