"""A job's payload: its plan and the code that it needs, as bytes, on the way to the worker.

Functions travel by value. Classes of the user's script do too, and the worker
puts them into its own ``__main__``, so that their instances are stored by
reference and are equal in every process.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import pickle
import sys
from collections import ChainMap
from dataclasses import dataclass, replace
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import cloudpickle

from jetbridge.aggregations import AggregateOperation
from jetbridge.errors import SerializationError
from jetbridge.store.values import register_type_names, registered_types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from jetbridge.plan.graph import Plan


@dataclass(frozen=True)
class JobPayload:
    """What a worker gets.

    Attributes:
        plan: The plan.
        classes: The classes of the client's ``__main__``, by name.
        types: The names of the types that the client has registered.
        run: The run that it was packed for: its sources know where that one begins. Later runs find out anew.
    """

    plan: Plan
    classes: dict[str, type]
    types: list[str]
    run: str


def pack(plan: Plan, run: str) -> bytes:
    """The payload of a plan.

    Args:
        plan: The plan.
        run: The run that it is submitted for.

    Raises:
        SerializationError: When something in it cannot be pickled; the message
            names the stage, and the captured variable where it can be found.
    """
    foreign = [module for module in _modules(plan) if not _importable(module)]
    for module in foreign:
        cloudpickle.register_pickle_by_value(module)
    try:
        return _dumps(JobPayload(plan, _script_classes(), registered_types(), run))
    except Exception as error:
        raise _blamed(plan, error) from error
    finally:
        for module in foreign:
            cloudpickle.unregister_pickle_by_value(module)


def with_copies(plan: Plan) -> Plan:
    """A plan with copies of its Beam transforms, as workers get them: to try them out without changing the user's own.

    Raises:
        SerializationError: As `pack` does.
    """
    copies = {node.id: node for node in plan_of(pack(replace(plan, nodes=plan.beam), "")).nodes}
    return replace(plan, nodes=tuple(copies.get(node.id, node) for node in plan.nodes))


def plan_of(data: bytes) -> Plan:
    """The plan in a payload, and nothing changed in this process: for the client, which has the script's classes.

    Raises:
        SerializationError: As `unpack` does.
    """
    return _loaded(data).plan


def unpack(data: bytes) -> JobPayload:
    """The payload, with the script's classes put into this process's ``__main__``.

    Raises:
        SerializationError: When a module that it needs cannot be imported here.
    """
    payload = _loaded(data)
    main = sys.modules["__main__"]
    for name, cls in payload.classes.items():
        setattr(main, name, cls)
    register_type_names(payload.types)
    return payload


def _loaded(data: bytes) -> JobPayload:
    try:
        payload: JobPayload = pickle.loads(data)
    except Exception as error:
        raise SerializationError(
            f"the job's code cannot be loaded in the worker: {type(error).__name__}: {error}; "
            "modules that it imports must be importable there"
        ) from error
    return payload


def code_of_file(make: Callable[..., CodeType], arguments: tuple[Any, ...], file: str) -> CodeType:
    """In the worker: a function's code, which knows the file that it was written in."""
    return make(*arguments).replace(co_filename=file)


def _code(code: CodeType) -> tuple[Callable[..., CodeType], tuple[Any, ...]]:
    make, arguments = cloudpickle.CloudPickler.dispatch_table[CodeType](code)
    return code_of_file, (make, arguments, code.co_filename)


class _Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]
    """Keeps the names of files, which cloudpickle leaves out from 3.1.3 on: tracebacks show lines out of them."""

    dispatch_table: ClassVar[Any] = ChainMap({CodeType: _code}, cloudpickle.CloudPickler.dispatch_table)


def _dumps(value: Any) -> bytes:
    with io.BytesIO() as file:
        _Pickler(file, protocol=5).dump(value)
        return file.getvalue()


def _script_classes() -> dict[str, type]:
    main = sys.modules.get("__main__")
    classes = {}
    for name, value in list(vars(main).items()) if main else ():
        if isinstance(value, type) and value.__module__ == "__main__" and value.__qualname__ == name:
            try:
                _dumps(value)
            except Exception:
                # A class that cannot travel matters only when the pipeline uses it, and then pack fails on it.
                continue
            classes[name] = value
    return classes


def _modules(plan: Plan) -> list[ModuleType]:
    """The modules that the plan's functions come from."""
    found: dict[str, ModuleType] = {}
    for node in plan.nodes:
        for value in _inside(node.functions.values()):
            name = getattr(value, "__module__", None) or type(value).__module__
            module = sys.modules.get(name)
            if module is not None and name != "__main__":
                found[name] = module
    return list(found.values())


def _inside(functions: Iterable[Any]) -> Iterator[Any]:
    """Functions, and what they hold: those of an aggregate operation hold the user's."""
    seen: set[int] = set()
    left = list(functions)
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, FunctionType):
            with contextlib.suppress(ValueError):  # a variable that has no value yet
                left += [cell.cell_contents for cell in value.__closure__ or ()]
        elif isinstance(value, AggregateOperation):
            left += value.functions.values()
        elif isinstance(value, (list, tuple)):
            left += [each for each in value if callable(each) or isinstance(each, AggregateOperation)]


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
        _dumps(value)
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
