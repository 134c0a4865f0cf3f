"""Checking what callers give, and naming it in messages."""

from __future__ import annotations

import reprlib
from typing import Any

from jetbridge.errors import PipelineError


def described(value: Any) -> str:
    """A value with its type, for messages.

    Example:
        >>> described(3)
        '3 (int)'
    """
    return f"{reprlib.repr(value)} ({type(value).__name__})"


def function(operator: str, parameter: str, fn: Any) -> Any:
    """What was given as a function.

    Raises:
        PipelineError: When it cannot be called.
    """
    if not callable(fn):
        raise PipelineError(f"{operator} must be given a callable as {parameter}; got {described(fn)}")
    return fn


def positive(operator: str, parameter: str, number: Any) -> int:
    """What was given as a number of things.

    Example:
        >>> positive("top_n", "n", 0)
        Traceback (most recent call last):
        jetbridge.errors.PipelineError: top_n must be given an int of 1 or more as n; got 0 (int)

    Raises:
        PipelineError: When it is no int, or less than 1.
    """
    if type(number) is not int or number < 1:
        raise PipelineError(f"{operator} must be given an int of 1 or more as {parameter}; got {described(number)}")
    return number


def fraction(operator: str, parameter: str, number: Any, least: float, most: float) -> float:
    """What was given as a part of the whole.

    Example:
        >>> fraction("heavy_hitters", "error", 0.01, 0.001, 0.5)
        0.01

    Raises:
        PipelineError: When it is no number from ``least`` to ``most``.
    """
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not least <= number <= most:
        raise PipelineError(
            f"{operator} must be given a number from {least} to {most} as {parameter}; got {described(number)}"
        )
    return float(number)
