"""The page of all operators, docs/operators.md: out of their docstrings and of this suite.

python tests/conformance/reference.py     prints it
python tests/conformance/reference.py --write    writes it
"""

from __future__ import annotations

import doctest
import inspect
import re
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import support

from jetbridge import Pipeline, aggregations, services, sinks, sources, windows
from jetbridge.aggregate_stages import Aggregating
from jetbridge.aside_stages import Extending, NotSiding, Siding
from jetbridge.coaggregate_stages import AggregateBuilder, CoAggregating, CoWindowing
from jetbridge.hash_join_stages import HashJoinBuilder, HashJoining
from jetbridge.join_stages import Joining
from jetbridge.keyed_stages import GroupedStage
from jetbridge.service_stages import KeyedServing, Serving
from jetbridge.shaping_stages import Placing, Shaping
from jetbridge.stages import BatchStage, GeneralStage, Stage, StreamStage
from jetbridge.stateful_stages import Stateful
from jetbridge.timed_stages import Timing
from jetbridge.windowed_stages import WindowedStage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = Path(__file__).parents[2] / "docs" / "operators.md"
IMPORTS = "from jetbridge import CustomKernel, Pipeline, StreamSource, aggregations, services, testing, windows"
HEAD = f"""# Operators

Everything that a pipeline is built of, each with an example. This page is generated from the docstrings, which say
more (`help(stage.map)`), and from the conformance suite: `python tests/conformance/reference.py --write`. The tests run
every example, as doctests and on the Direct runner. They begin with

```python
{IMPORTS}
```

`testing.run_kernels(stage)` gives the items of a stage, in your process and without a runner; with `write_to` and
`client.get_jet().submit(pipeline)` a job does the same. `sorted` stands where the order is the runner's.
"""

SECTIONS: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = (
    ("Pipelines, sources and sinks", (("pipeline", Pipeline),)),
    ("Items", (("stage", GeneralStage), ("stage", BatchStage), ("grouped", GroupedStage))),
    ("Errors, late items and parts made elsewhere", (("stage", Siding), ("stage", Extending))),
    ("Aggregation", (("stage", Aggregating), ("stage", CoAggregating), ("builder", AggregateBuilder))),
    ("Event time and windows", (("stage", Timing), ("windowed", WindowedStage), ("windowed", CoWindowing))),
    ("Kinds of windows", (("windows", (windows.tumbling, windows.sliding, windows.session)),)),
    ("Joins by key and time", (("grouped", Joining),)),
    ("Hash joins", (("stage", HashJoining), ("hash_join_builder", HashJoinBuilder))),
    ("State of your own", (("stage", Stateful),)),
    ("Services and look-ups", (("stage", Serving), ("grouped", KeyedServing))),
    ("Kinds of services", (("services", (services.shared_service, services.non_shared_service)),)),
    ("Names, logs and places", (("stage", Stage), ("stage", Placing), ("stage", Shaping))),
)
"""Each title with what an operator is called on, and the class or functions that have it."""

OWNERS = (Pipeline, BatchStage, StreamStage, GroupedStage, WindowedStage, AggregateBuilder, HashJoinBuilder)
ALSO_GROUPED = (Aggregating, CoAggregating, Stateful)
NOT_ONES = {WindowedStage.of.__func__, StreamStage.sort, NotSiding.on_error}  # type: ignore[attr-defined]
"""How a stage makes windows, and what only refuses."""
ELSEWHERE = {
    "add_timestamps": "with_timestamps",
    "collect": "group_by",
    "from_list": "sources_lists",
    "from_map": "sources_maps",
    "read_from": "sources_lists",
    "session": "window",
    "sliding": "window",
    "to_list": "sinks_lists",
    "to_logger": "logger_sink",
    "to_map": "sinks_maps",
    "tumbling": "window",
    "write_to": "sinks_lists",
    **dict.fromkeys(("inner_hash_join", "hash_join2", "inner_hash_join2", "hash_join_builder"), "hash_join_sides"),
    **dict.fromkeys(("shared_service", "non_shared_service"), "service_lifecycle"),
}
"""Operators that are tested in a file of another name."""
_OURS = "from jetbridge import "
OF_CLASS = {WindowedStage: "window", AggregateBuilder: "aggregate_builder", HashJoinBuilder: "hash_join_sides"}
WITHOUT_RUNNER = {"create", "plan", "to_dot", "to_mermaid", "name"}


@dataclass(frozen=True)
class Operator:
    """An operator.

    Attributes:
        receiver: What it is called on.
        name: Its name.
        member: The function, static method or property.
        owner: The class that has it, or None.
    """

    receiver: str
    name: str
    member: Any
    owner: type | None = None

    @cached_property
    def function(self) -> Callable[..., Any]:
        """What it is in the end."""
        if isinstance(self.member, property):
            assert self.member.fget is not None
            return self.member.fget
        return getattr(self.member, "__func__", self.member)  # type: ignore[no-any-return]

    @property
    def title(self) -> str:
        """As it is written in a program."""
        static = isinstance(self.member, staticmethod) and self.owner is not None
        return f"{self.owner.__name__ if static and self.owner else self.receiver}.{self.name}"

    @property
    def call(self) -> str:
        """The title with the parameters."""
        if isinstance(self.member, property):
            return self.title
        signature = inspect.signature(self.function)
        parameters = [
            p.replace(annotation=p.empty, default=_Default.of(p.default))
            for p in signature.parameters.values()
            if p.name != "self"
        ]
        return self.title + str(inspect.Signature(parameters))

    @property
    def sentence(self) -> str:
        """The docstring's first paragraph."""
        return " ".join(_doc(self.function).partition("\n\n")[0].split()).replace("``", "`")

    @property
    def examples(self) -> list[doctest.Example]:
        """The first example of the docstring, up to the next words."""
        found: list[doctest.Example] = []
        for part in doctest.DocTestParser().parse(_doc(self.function)):
            if isinstance(part, doctest.Example):
                found.append(part)
            elif found and part.strip():
                break
        assert found, f"{self.title} has no example in its docstring"
        imported = {name for each in found if each.source.startswith(_OURS) for name in _names(each.source)}
        assert imported <= _names(IMPORTS), f"{self.title}: the page's examples do not begin with {imported}"
        return found

    @property
    def stem(self) -> str | None:
        """The file of the suite that is about it, without "test_"; None for what no runner sees."""
        if self.name in WITHOUT_RUNNER:
            return None
        return OF_CLASS.get(self.owner) or ELSEWHERE.get(self.name, self.name)  # type: ignore[arg-type]

    @property
    def support(self) -> str:
        """Which runner has it, with its tests."""
        if self.stem is None:
            return "*Needs no runner.*"
        cells = zip(support.RUNNERS, support.cells(self.stem), strict=True)
        told = " · ".join(f"{runner}: {cell}" for runner, cell in cells)
        return f"*{told}* ([tests](../tests/conformance/test_{self.stem}.py))"

    def entry(self) -> Iterator[str]:
        """Its lines of the page."""
        yield f"### {self.title}\n"
        yield f"`{self.call}`\n"
        also = ["Also after `group_by`."] if self.owner in ALSO_GROUPED else []
        also += ["Also as `add_timestamps`."] if self.name == "with_timestamps" else []
        yield " ".join([self.sentence, *also, self.support]) + "\n"
        yield "```pycon"
        for example in self.examples:
            if not example.source.startswith(_OURS):
                lines = re.sub(r"  # doctest: .*", "", example.source).splitlines()
                yield "\n".join([f">>> {lines[0]}", *(f"... {line}" for line in lines[1:])])
                yield from [example.want.rstrip("\n")] if example.want else []
        yield "```\n"


class _Default(str):
    """A parameter's default as it is shown: a function by its name, and nothing long."""

    @classmethod
    def of(cls, value: Any) -> Any:
        if value is inspect.Parameter.empty:
            return value
        text = value.__name__ if callable(value) else repr(value)
        return cls(text if len(text) < 30 else "...")

    __repr__ = str.__str__


def operators() -> dict[str, list[Operator]]:
    """All operators, by section.

    Raises:
        AssertionError: When one is in no section.
    """
    found = {
        title: [each for receiver, holder in holders for each in _held(receiver, holder)] for title, holders in SECTIONS
    }
    listed = {each.function for section in found.values() for each in section}
    everything = [each for owner in OWNERS for each in _held(owner.__name__, owner, inherited=True)]
    missing = [each.title for each in everything if each.function not in listed]
    assert not missing, f"no section of the page has {missing}"
    return found


def page() -> str:
    """The page as Markdown."""
    found = operators()
    lines = [HEAD]
    for title, section in found.items():
        links = " · ".join(f"[{each.name}](#{each.title.replace('.', '').lower()})" for each in section)
        lines.append(f"- [{title}](#{title.lower().replace(' ', '-').replace(',', '')}): {links}")
    lines.append("- [Aggregations](#aggregations), [sources](#sources) and [sinks](#sinks)")
    lines.append("- [What else the runners are tested for](#what-else-the-runners-are-tested-for)\n")
    for title, section in found.items():
        lines.append(f"## {title}\n")
        for each in section:
            lines += each.entry()
    for module in (aggregations, sources, sinks):
        lines += _listing(module)
    lines.append("## What else the runners are tested for\n\nThe other files of the conformance suite:\n")
    tested = {each.stem for section in found.values() for each in section}
    return "\n".join(lines) + "\n" + support.table(*filter(None, tested))


def _held(receiver: str, holder: Any, *, inherited: bool = False) -> Iterator[Operator]:
    if isinstance(holder, tuple):
        yield from (Operator(receiver, each.__name__, each) for each in holder)
        return
    members = {name: inspect.getattr_static(holder, name) for name in dir(holder)} if inherited else vars(holder)
    for name, member in members.items():
        is_one = isinstance(member, (staticmethod, classmethod, property)) or inspect.isfunction(member)
        operator = Operator(receiver, name, member, holder)
        # An alias is named by the operator that it stands for.
        if is_one and name[0] != "_" and name == operator.function.__name__ and operator.function not in NOT_ONES:
            yield operator


def _listing(module: Any) -> Iterator[str]:
    name = module.__name__.rpartition(".")[2]
    yield f"## {name.capitalize()}\n"
    yield "| call | what it is |\n| --- | --- |"
    for each in module.__all__:
        if inspect.isfunction(getattr(module, each)):
            operator = Operator(name, each, getattr(module, each))
            yield f"| `{operator.call}` | {operator.sentence} |"
    yield ""


def _names(statement: str) -> set[str]:
    return set(statement.removeprefix(_OURS).strip().split(", "))


def _doc(function: Any) -> str:
    return inspect.getdoc(function) or ""


def main() -> None:
    """Print the page, or write it."""
    if "--write" in sys.argv[1:]:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page(), encoding="utf-8")
    else:
        print(page(), end="")


if __name__ == "__main__":
    main()
