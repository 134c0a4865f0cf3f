"""The README's table of what each runner does, out of this suite: its files, and the markers of known gaps.

python tests/conformance/support.py     prints it
python tests/conformance/support.py --write    puts it into the README
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

RUNNERS = ("direct", "flink")
GAPS = {"notimpl": "not yet", "notyet": "not yet", "never": "never"}
BEGIN, END = "<!-- SUPPORT: begin -->\n", "<!-- SUPPORT: end -->"
SUITE = Path(__file__).parent
README = SUITE.parents[1] / "README.md"


def table() -> str:
    """The table as Markdown."""
    lines = ["| | " + " | ".join(RUNNERS) + " |", "| --- |" + " --- |" * len(RUNNERS)]
    for path in sorted(SUITE.glob("test_*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        if _only(module) is not None:
            continue  # a file about one runner
        cells = [_cell(module, runner) for runner in RUNNERS]
        lines.append(f"| {path.stem.removeprefix('test_').replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def in_readme() -> str:
    """The table as the README has it."""
    return README.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


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


def main() -> None:
    """Print the table, or write it."""
    if "--write" not in sys.argv[1:]:
        print(table(), end="")
        return
    text = README.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{README} has no place for it: {BEGIN}{END}")
    README.write_text(head + begin + table() + end + tail, encoding="utf-8")


if __name__ == "__main__":
    main()
