"""A job's payload: its plan and the code that it needs, as bytes, on the way to the worker.

Functions travel by value. Classes of the user's script do too, and the worker
puts them into its own ``__main__``, so that their instances are stored by
reference and are equal in every process.
"""

from __future__ import annotations

import importlib.util
import pickle
import sys
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import cloudpickle

from jetbridge.errors import SerializationError
from jetbridge.store.values import register_type_names, registered_types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetbridge.plan.graph import Plan


@dataclass(frozen=True)
class JobPayload:
    """What a worker gets.

    Attributes:
        plan: The plan.
        classes: The classes of the client's ``__main__``, by name.
        types: The names of the types that the client has registered.
    """

    plan: Plan
    classes: dict[str, type]
    types: list[str]


def pack(plan: Plan) -> bytes:
    """The payload of a plan.

    Raises:
        SerializationError: When something in it cannot be pickled; the message
            names the stage, and the captured variable where it can be found.
    """
    foreign = [module for module in _modules(plan) if not _importable(module)]
    for module in foreign:
        cloudpickle.register_pickle_by_value(module)
    try:
        data: bytes = cloudpickle.dumps(JobPayload(plan, _script_classes(), registered_types()), protocol=5)
        return data
    except Exception as error:
        raise _blamed(plan, error) from error
    finally:
        for module in foreign:
            cloudpickle.unregister_pickle_by_value(module)


def unpack(data: bytes) -> JobPayload:
    """The payload, with the script's classes put into this process's ``__main__``.

    Raises:
        SerializationError: When a module that it needs cannot be imported here.
    """
    try:
        payload: JobPayload = pickle.loads(data)
    except Exception as error:
        raise SerializationError(
            f"the job's code cannot be loaded in the worker: {type(error).__name__}: {error}; "
            "modules that it imports must be importable there"
        ) from error
    main = sys.modules["__main__"]
    for name, cls in payload.classes.items():
        setattr(main, name, cls)
    register_type_names(payload.types)
    return payload


def _script_classes() -> dict[str, type]:
    main = sys.modules.get("__main__")
    classes = {}
    for name, value in list(vars(main).items()) if main else ():
        if isinstance(value, type) and value.__module__ == "__main__" and value.__qualname__ == name:
            try:
                cloudpickle.dumps(value)
            except Exception:
                # A class that cannot travel matters only when the pipeline uses it, and then pack fails on it.
                continue
            classes[name] = value
    return classes


def _modules(plan: Plan) -> list[ModuleType]:
    """The modules that the plan's functions come from."""
    found: dict[str, ModuleType] = {}
    for node in plan.nodes:
        for value in node.functions.values():
            name = getattr(value, "__module__", None) or type(value).__module__
            module = sys.modules.get(name)
            if module is not None and name != "__main__":
                found[name] = module
    return list(found.values())


def _importable(module: ModuleType) -> bool:
    """Whether a fresh process with the same path would import this very module under its name."""
    if not getattr(module, "__file__", None):
        return True
    try:
        top = module.__name__.partition(".")[0]
        if importlib.util.find_spec(top) is None:
            return False
        spec = importlib.util.find_spec(module.__name__)
    except (ImportError, ValueError, AttributeError):
        return False
    if spec is None:
        return False
    # find_spec answers from sys.modules for a module that was loaded by path, as pytest does: ask the finders.
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        parent, _, _ = module.__name__.rpartition(".")
        path = getattr(sys.modules.get(parent), "__path__", None) if parent else None
        found = find(module.__name__, path) if find else None
        if found is not None:
            return bool(found.origin == module.__file__)
    return False


def _blamed(plan: Plan, error: Exception) -> SerializationError:
    for node in plan.nodes:
        for parameter, value in node.functions.items():
            problem = _problem(value)
            if problem is None:
                continue
            for name, captured in _captured(value):
                inner = _problem(captured)
                if inner is not None:
                    return SerializationError(
                        f"{node.kind} '{node.name}': its {parameter} uses '{name}', a {type(captured).__name__} that "
                        f"cannot travel to the worker ({inner}): make it inside the function"
                    )
            return SerializationError(
                f"{node.kind} '{node.name}': its {parameter} cannot travel to the worker ({problem})"
            )
    return SerializationError(f"the pipeline cannot travel to the worker: {type(error).__name__}: {error}")


def _problem(value: Any) -> str | None:
    try:
        cloudpickle.dumps(value, protocol=5)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def _captured(value: Any) -> Iterator[tuple[str, Any]]:
    """What a function captures: closure variables, then globals, then the attributes of an object."""
    if isinstance(value, FunctionType):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=False):
            yield name, cell.cell_contents
        for name in value.__code__.co_names:
            if name in value.__globals__:
                yield name, value.__globals__[name]
    elif hasattr(value, "__self__"):
        yield "self", value.__self__
    else:
        yield from getattr(value, "__dict__", {}).items()
