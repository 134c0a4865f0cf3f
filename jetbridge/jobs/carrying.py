"""The user's own modules that travel with a job, such as those beside the script: as source, for the worker to import.

Their functions and classes are pickled by reference, and the worker imports
the modules out of the payload. So a class is one and the same for pickles,
`register_type` and ``isinstance``; locks, caches and open files are made anew;
and an import within a function finds its module, too. Installed packages and
the standard library stay behind: a worker has its own.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.abc
import importlib.machinery
import importlib.util
import itertools
import os
import re
import sys
import sysconfig
import threading
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import jetbridge
from jetbridge import runner

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence


@dataclass(frozen=True)
class CarriedModule:
    """A module on its way.

    Attributes:
        file: Where it was found; None for a namespace package, which has no code.
        source: Its source.
        path: Where a package's further modules lie; None for a module that is no package.
    """

    file: str | None
    source: bytes
    path: list[str] | None


def carried(names: Iterable[str], leaving: Collection[str] = ()) -> dict[str, CarriedModule]:
    """The own modules among some, and all that those need in turn.

    What a module needs is told by the words in its source: that finds imports of
    every kind, and at worst one module too many.

    Args:
        names: Names of modules.
        leaving: Names of modules that are not to be taken along.
    """
    left = [name for name in names if name not in leaving and _is_own(name)]
    if not left:
        return {}
    own = [name for name in list(sys.modules) if name not in leaving and _is_own(name)]
    found: dict[str, CarriedModule] = {}
    while left:
        name = left.pop()
        if name in found or name not in sys.modules:
            continue
        module = sys.modules[name]
        if _is_own(name):
            try:
                source = Path(str(module.__file__)).read_bytes()
            except OSError:  # it was removed, or lies in an archive: the worker must find it
                continue
            found[name] = CarriedModule(module.__file__, source, _path(module))
            left += _named(name, module, source, own)
        elif getattr(module, "__file__", None) is None and _path(module) is not None:
            found[name] = CarriedModule(None, b"", _path(module))
        left.append(name.rpartition(".")[0])
    return found


def install(modules: dict[str, CarriedModule]) -> None:
    """In a worker: import these modules from now on, rather than what a path may find under their names."""
    if modules:
        sys.meta_path.insert(0, _Carrier(modules))


@contextlib.contextmanager
def lent(modules: dict[str, CarriedModule]) -> Iterator[None]:
    """In a client: let what is loaded meanwhile import those modules that are not there, and forget them then."""
    with _lending:
        missing = {name: module for name, module in modules.items() if name not in sys.modules}
        carrier = _Carrier(missing)
        sys.meta_path.insert(0, carrier)
        try:
            yield
        finally:
            sys.meta_path.remove(carrier)
            for name in missing:
                sys.modules.pop(name, None)


class _Carrier(importlib.abc.MetaPathFinder, importlib.abc.ExecutionLoader):
    """Finds and loads modules that came with a job; their files need not be here."""

    def __init__(self, modules: dict[str, CarriedModule]) -> None:
        self._modules = modules

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        module = self._modules.get(fullname)
        if module is None:
            return None
        if module.file is None:
            return _namespace(fullname, module.path or [], path)
        return importlib.util.spec_from_file_location(
            fullname, module.file, loader=self, submodule_search_locations=module.path
        )

    def get_filename(self, fullname: str) -> str:
        return self._modules[fullname].file or ""

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self._modules[fullname].source)

    def is_package(self, fullname: str) -> bool:
        return self._modules[fullname].path is not None


def _namespace(name: str, carried: list[str], path: Sequence[str] | None) -> importlib.machinery.ModuleSpec | None:
    """A namespace package of what is found here, and of the folders where it was."""
    here = importlib.machinery.PathFinder.find_spec(name, path)
    if here is not None and here.loader is not None:
        return None
    found = list(here.submodule_search_locations or []) if here is not None else []
    spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [*found, *(folder for folder in carried if folder not in found)]
    return spec


_lending = threading.Lock()
_WORD = re.compile(rb"\w+")
_INSTALLED = tuple(f"{os.sep}{folder}{os.sep}" for folder in ("site-packages", "dist-packages"))
_HERE = os.path.dirname(jetbridge.__file__) + os.sep


@functools.cache
def _libraries() -> tuple[str, ...]:
    """The folders of what each worker has for itself."""
    paths = sysconfig.get_paths()
    found = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found |= {os.path.realpath(path) for path in found}
    return (_HERE, *(path + os.sep for path in found))


@functools.cache
def _runners() -> frozenset[str]:
    return frozenset(runner.packages())


def _is_own(name: str) -> bool:
    """Whether a module is loaded and neither installed nor Python's nor jetbridge's."""
    module = sys.modules.get(name)
    file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
    return (
        type(file) is str
        and file.endswith(".py")
        and not file.startswith(_libraries())
        and not any(folder in file for folder in _INSTALLED)
        and name not in ("__main__", "__mp_main__")
        and name.partition(".")[0] not in _runners()
    )


def _named(name: str, module: ModuleType, source: bytes, own: Iterable[str]) -> Iterator[str]:
    """The own modules whose names stand in a module's source, as far as they go beyond its package."""
    words = {word.decode(errors="replace") for word in set(_WORD.findall(source))}
    package = (name if _path(module) is not None else name.rpartition(".")[0]).split(".")
    for each in own:
        parts = each.split(".")
        shared = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(parts, package, strict=False))
        if words.issuperset(parts[len(list(shared)) :]):
            yield each


def _path(module: ModuleType) -> list[str] | None:
    path = getattr(module, "__path__", None)
    return None if path is None else list(path)
