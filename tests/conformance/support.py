"""What each runner does, out of this suite: its files, and the markers of known gaps. For `reference`."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

RUNNERS = ("direct", "flink")
GAPS = {"notimpl": "not yet", "notyet": "not yet", "never": "never"}
SUITE = Path(__file__).parent


def stems() -> list[str]:
    """The files of the suite that are about all runners, without "test_"."""
    found = [path.stem.removeprefix("test_") for path in sorted(SUITE.glob("test_*.py"))]
    return [stem for stem in found if _only(_module(stem)) is None]


def cells(stem: str) -> list[str]:
    """What each runner does of a file of the suite."""
    return [_cell(_module(stem), runner) for runner in RUNNERS]


def table(*without: str) -> str:
    """A table of the suite's files, without some, as Markdown."""
    lines = ["| | " + " | ".join(RUNNERS) + " |", "| --- |" + " --- |" * len(RUNNERS)]
    for stem in stems():
        if stem not in without:
            lines.append(f"| {stem.replace('_', ' ')} | {' | '.join(cells(stem))} |")
    return "\n".join(lines) + "\n"


@cache
def _module(stem: str) -> ast.Module:
    return ast.parse((SUITE / f"test_{stem}.py").read_text(encoding="utf-8"))


def _only(module: ast.Module) -> Any:
    for statement in module.body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "RUNNERS" for target in statement.targets
        ):
            return ast.literal_eval(statement.value)
    return None


def _cell(module: ast.Module, runner: str) -> str:
    gaps: list[str] = []
    for node in ast.walk(module):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in GAPS):
            continue
        named = [ast.literal_eval(argument) for argument in node.args]
        if runner in named:
            about = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords}
            link = f" ([why]({about['link']}))" if about.get("link") else ""
            gap = f"{GAPS[node.func.attr]}: {about['reason']}{link}"
            if gap not in gaps:
                gaps.append(gap)
    return "yes" if not gaps else "yes; " + "; ".join(gaps)
