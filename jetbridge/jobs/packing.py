"""A job's payload: its plan and the code that it needs, as bytes, on the way to the worker.

Functions of the user's script travel by value. Its classes do too, and the
worker puts them into its own ``__main__``, so that their instances are stored
by reference and are equal in every process. Other modules of the user's own
travel as source: see `carrying`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import pickle
import sys
import threading
from collections import ChainMap
from dataclasses import dataclass, replace
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import cloudpickle

from jetbridge.aggregations import AggregateOperation
from jetbridge.errors import SerializationError
from jetbridge.jobs.carrying import carried, install, lent
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


class UnloadableError(SerializationError):
    """A payload cannot be loaded in this process; where its modules are, it may be."""


def pack(plan: Plan, run: str) -> bytes:
    """The payload of a plan: the modules that travel with it, and then a `JobPayload`, which may need them.

    Args:
        plan: The plan.
        run: The run that it is submitted for.

    Raises:
        SerializationError: When something in it cannot be pickled; the message
            names the stage, and the captured variable where it can be found.
    """
    foreign = [module for module in _modules(plan) if not _importable(module)]
    types = registered_types()
    with _by_value(foreign):
        try:
            body, needed = _dumped(JobPayload(plan, _script_classes(), types, run))
        except Exception as error:
            raise _blamed(plan, error) from error
    needed |= {name.partition(":")[0] for name in types}
    modules = carried(needed, leaving={module.__name__ for module in foreign})
    return b"".join((pickle.dumps(modules), body))


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
        UnloadableError: As `unpack` does.
    """
    with _loading(), io.BytesIO(data) as file, lent(pickle.load(file)):
        payload: JobPayload = pickle.load(file)
    return payload.plan


def unpack(data: bytes) -> JobPayload:
    """The payload, with the script's classes put into this process's ``__main__``, and its own modules importable.

    Raises:
        UnloadableError: When a module that it needs cannot be imported here.
    """
    with _loading(), io.BytesIO(data) as file:
        install(pickle.load(file))
        payload: JobPayload = pickle.load(file)
        main = sys.modules["__main__"]
        for name, cls in payload.classes.items():
            setattr(main, name, cls)
        register_type_names(payload.types)
    return payload


@contextlib.contextmanager
def _loading() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # What a class that was registered needs says itself which one that is.
        text = str(error) if isinstance(error, SerializationError) else f"{type(error).__name__}: {error}"
        raise UnloadableError(
            f"the job's code cannot be loaded: {text}; the modules that it imports must be importable where it runs"
        ) from error


_registering = threading.Lock()


@contextlib.contextmanager
def _by_value(modules: list[ModuleType]) -> Iterator[None]:
    """Pickle some modules by value; one thread at a time, since cloudpickle knows but one list of them."""
    with _registering:
        for module in modules:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in modules:
                cloudpickle.unregister_pickle_by_value(module)


def code_of_file(make: Callable[..., CodeType], arguments: tuple[Any, ...], file: str) -> CodeType:
    """In the worker: a function's code, which knows the file that it was written in."""
    return make(*arguments).replace(co_filename=file)


def _code(needed: set[Any], code: CodeType) -> tuple[Callable[..., CodeType], tuple[Any, ...]]:
    needed.update(code.co_names)
    make, arguments = cloudpickle.CloudPickler.dispatch_table[CodeType](code)
    return code_of_file, (make, arguments, code.co_filename)


class _Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]
    """Keeps the names of files, which cloudpickle leaves out from 3.1.3 on: tracebacks show lines out of them.

    Attributes:
        needed: The names of the modules that loading will import, or that functions import when called, and some more.
    """

    def __init__(self, file: io.BytesIO) -> None:
        self.needed: set[Any] = set()
        # Before pickle's own __init__, which looks at it.
        reducers = {CodeType: functools.partial(_code, self.needed)}
        self.dispatch_table: Any = ChainMap(reducers, cloudpickle.CloudPickler.dispatch_table)
        super().__init__(file, protocol=5)

    def reducer_override(self, value: Any) -> Any:
        self.needed.add(value.__name__ if type(value) is ModuleType else getattr(value, "__module__", None))
        return super().reducer_override(value)


def _dumped(value: Any) -> tuple[bytes, set[str]]:
    """A value's pickle, and the names of modules that it needs."""
    with io.BytesIO() as file:
        pickler = _Pickler(file)
        pickler.dump(value)
        return file.getvalue(), {name for name in pickler.needed if type(name) is str}


def _script_classes() -> dict[str, type]:
    main = sys.modules.get("__main__")
    classes = {}
    for name, value in list(vars(main).items()) if main else ():
        if isinstance(value, type) and value.__module__ == "__main__" and value.__qualname__ == name:
            try:
                _dumped(value)
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
        _dumped(value)
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
