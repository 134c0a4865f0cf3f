"""Checking what callers give, and naming it in messages."""

from __future__ import annotations

import functools
import inspect
import reprlib
import types
from typing import Any

from jetbridge.errors import PipelineError


def described(value: Any) -> str:
    """A value with its type, for messages.

    Example:
        >>> described(3)
        '3 (int)'
    """
    return f"{reprlib.repr(value)} ({type(value).__name__})"


def function(operator: str, parameter: str, fn: Any, arguments: str | None = None) -> Any:
    """What was given as a function.

    Example:
        >>> function("map", "fn", lambda: 1, "item")
        Traceback (most recent call last):
        jetbridge.errors.PipelineError: map: fn is called as fn(item); got <lambda>(): too many positional arguments

    Args:
        operator: What it was given to.
        parameter: As what.
        fn: The function.
        arguments: The positional arguments that it is called with, as messages name them; None for any.

    Raises:
        PipelineError: When it cannot be called, or surely not with those arguments.
    """
    if not callable(fn):
        raise PipelineError(f"{operator} must be given a callable as {parameter}; got {described(fn)}")
    if arguments is not None:
        _check_call(operator, parameter, fn, arguments)
    return fn


def _check_call(operator: str, parameter: str, fn: Any, arguments: str) -> None:
    called = _python_code(fn)
    if called is None:
        return
    try:
        # A wrapper need not take what the function takes that it wraps: its own signature counts.
        signature = inspect.signature(called, follow_wrapped=False)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*filter(None, arguments.split(", ")))
    except TypeError as error:
        name = getattr(fn, "__name__", type(fn).__name__)
        apart = str(error).startswith("missing") and arguments == "item"
        hint = " (a tuple is one argument: take it apart in the function)" if apart else ""
        raise PipelineError(
            f"{operator}: {parameter} is called as {parameter}({arguments}); got {name}{signature}: {error}{hint}"
        ) from None


def _python_code(fn: Any) -> Any:
    """What surely runs when something is called, with a signature that can be trusted; None when that is not known.

    It is known for code in Python alone: what is written in C may have no
    signature, and other objects one for show.
    """
    if isinstance(fn, type):
        if type(fn).__call__ is not type.__call__:
            return None
        makers = (fn.__new__, fn.__init__)  # type: ignore[misc]
        maker = next((maker for maker in makers if isinstance(maker, types.FunctionType)), None)
        called: Any = maker and types.MethodType(maker, fn)
    elif isinstance(fn, (types.FunctionType, types.MethodType, functools.partial)):
        called = fn
    else:
        method = type(fn).__call__
        called = types.MethodType(method, fn) if isinstance(method, types.FunctionType) else None
    inner = called
    while isinstance(inner, (types.MethodType, functools.partial)):
        inner = inner.__func__ if isinstance(inner, types.MethodType) else inner.func
    return called if isinstance(inner, types.FunctionType) and not hasattr(inner, "__signature__") else None


def no_attribute(stage: Any, name: str, advice: str) -> AttributeError:
    """The error for what a stage has not; protocols that ask for names such as ``__deepcopy__`` get the plain one.

    Example:
        >>> no_attribute(3, "map", "call something else first")
        AttributeError("'int' has no 'map': call something else first")

    Args:
        stage: The stage that was asked.
        name: What it was asked for.
        advice: What to do instead.
    """
    kind = type(stage).__name__
    plain = name.startswith("_")
    return AttributeError(
        f"'{kind}' object has no attribute '{name}'" if plain else f"'{kind}' has no '{name}': {advice}",
        name=name,
        obj=stage,
    )


def flag(operator: str, parameter: str, value: Any) -> bool:
    """What was given as a yes or no: a text such as "no" would count as True, and destroy what it was to keep.

    Example:
        >>> flag("to_list", "clear", "no")
        Traceback (most recent call last):
        jetbridge.errors.PipelineError: to_list must be given True or False as clear; got 'no' (str)

    Raises:
        PipelineError: When it is neither True nor False.
    """
    if not isinstance(value, bool):
        raise PipelineError(f"{operator} must be given True or False as {parameter}; got {described(value)}")
    return value


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
