"""The source tree as data: modules, their imports, the files of the project."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FOLDERS = ("jetbridge", "runners", "tests", "examples", "docs", ".ci")
SUFFIXES = {".py", ".md", ".toml", ".sh", ".yaml", ".yml", ".cfg", ".txt", ""}


@dataclass(frozen=True)
class Import:
    """One imported module or name.

    Attributes:
        name: Dotted, down to the imported name ("jetbridge.plan.base.Node").
        line: Where it stands.
        typing: Whether only a type checker sees it.
        lazy: Whether it stands inside a function.
    """

    name: str
    line: int
    typing: bool
    lazy: bool


@dataclass(frozen=True)
class Module:
    """A Python file of the project."""

    name: str
    path: Path

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(encoding="utf-8"), str(self.path))

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        return tuple(self._walk(self.tree, typing=False, lazy=False))

    def _walk(self, node: ast.AST, *, typing: bool, lazy: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, typing, lazy)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{self.path}:{child.lineno}: a relative import"
                for alias in child.names:
                    yield Import(f"{child.module}.{alias.name}", child.lineno, typing, lazy)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                for each in child.body:
                    yield from self._walk(ast.Module([each], []), typing=True, lazy=lazy)
                for each in child.orelse:
                    yield from self._walk(ast.Module([each], []), typing=typing, lazy=lazy)
            else:
                inside = lazy or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
                yield from self._walk(child, typing=typing, lazy=inside)


def modules_below(folder: Path, base: Path) -> list[Module]:
    modules = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(base).with_suffix("").parts
        modules.append(Module(".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return modules


class Tree:
    """The project."""

    root = ROOT

    @cached_property
    def jetbridge(self) -> list[Module]:
        return modules_below(ROOT / "jetbridge", ROOT)

    @cached_property
    def runners(self) -> dict[str, list[Module]]:
        return {
            folder.name: modules_below(folder, ROOT / "runners")
            for folder in sorted((ROOT / "runners").iterdir())
            if folder.is_dir() and folder.name.startswith("jetbridge_")
        }

    @cached_property
    def tests(self) -> list[Module]:
        return modules_below(ROOT / "tests", ROOT)

    @cached_property
    def examples(self) -> list[Module]:
        return modules_below(ROOT / "examples", ROOT)

    @cached_property
    def product(self) -> list[Module]:
        return [*self.jetbridge, *(module for modules in self.runners.values() for module in modules)]

    @cached_property
    def files(self) -> list[Path]:
        """Every text file of the project."""
        # In a further work tree of git, .git is a file that says where the first one is.
        found = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]
        for folder in FOLDERS:
            found += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
        hidden = {"__pycache__", ".hypothesis", ".jetbridge"}
        return sorted(p for p in found if p.suffix in SUFFIXES and not hidden & set(p.relative_to(ROOT).parts))


@pytest.fixture(scope="session")
def tree() -> Tree:
    return Tree()
