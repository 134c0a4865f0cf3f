"""The classes whose stored instances this process reads back."""

from __future__ import annotations

import importlib
import reprlib
import sys
import types
from typing import Any, TypeVar

from jetbridge.errors import SerializationError, UnknownTypeError

T = TypeVar("T")

by_name: dict[tuple[str, str], type] = {}
"""What was registered, by module and qualified name."""


def register_type(cls: type[T]) -> type[T]:
    """Let stored instances of a class be read back in this process. Usable as a decorator.

    A pipeline registers the classes that it finds in its own code; a program
    that only reads registers them itself.

    Example:
        >>> from email.headerregistry import Address
        >>> register_type(Address) is Address
        True

        A class of one's own, in a module that workers and readers can import::

            @register_type
            @dataclasses.dataclass
            class Trade:
                ticker: str

    Args:
        cls: A class at the top level of a module, or nested in one.

    Returns:
        The class itself.

    Raises:
        SerializationError: For anything but a class, or for a class that is defined inside a function.
    """
    if not isinstance(cls, type):
        raise SerializationError(f"register_type takes a class; got {reprlib.repr(cls)} ({type(cls).__name__})")
    if "<locals>" in cls.__qualname__:
        raise SerializationError(
            f"the class {cls.__module__}.{cls.__qualname__} is defined inside a function, where no reader finds it; "
            "move it to the top level of its module"
        )
    by_name[cls.__module__, cls.__qualname__] = cls
    return cls


def registered_types() -> list[str]:
    """The registered classes as ``module:qualified name``, in order of registration, for `register_type_names`."""
    return [f"{module}:{name}" for module, name in by_name]


def register_type_names(names: list[str]) -> None:
    """Register classes by name, importing their modules; those of ``__main__`` need no registering.

    Args:
        names: What `registered_types` returned in another process.

    Raises:
        SerializationError: When a module or class is not there.
    """
    for name in names:
        module, _, qualname = name.partition(":")
        if module == "__main__" or (module, qualname) in by_name:
            continue
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise SerializationError(f"the registered class {name} cannot be imported: {error}") from error
        register_type(find(module, qualname))


def find(module: str, qualname: str) -> type:
    """A class by its name, through namespaces of modules and classes only, so that no descriptor runs.

    Raises:
        UnknownTypeError: When it is not there.
    """
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = vars(found).get(part) if isinstance(found, (type, types.ModuleType)) else None
    if isinstance(found, type) and found.__module__ == module:
        return found
    hint = "move it into a module that both import" if module == "__main__" else "is it still in that module?"
    raise UnknownTypeError(f"a stored value needs the class {module}.{qualname}, which is not in this process; {hint}")
