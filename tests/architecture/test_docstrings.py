"""What is public says all that one must know to call it: parameters, errors, and an example that the tests run."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
import textwrap
from dataclasses import dataclass
from functools import cached_property

import pytest

from jetbridge import CustomKernel
from jetbridge.connectors import Sink, Source
from jetbridge.services import Lookup

MODULES = (
    *("jetbridge", "jetbridge.aggregations", "jetbridge.connectors", "jetbridge.services"),
    *("jetbridge.sinks", "jetbridge.sources", "jetbridge.testing", "jetbridge.windows"),
)
HOOKS = (Source, Sink, Lookup, CustomKernel)
"""Classes for making ones of one's own, whose methods jetbridge calls: their example has those that must be there."""
WITHOUT_EXAMPLE = {
    "JobMetrics.from_record": "what `Job.get_metrics` is made by",
    "Settings.settings_customise_sources": "called by pydantic-settings alone",
}
"""Public for jetbridge's own parts, and why nobody else calls it."""


@dataclass(frozen=True)
class Thing:
    """A public class, function, method or property.

    Attributes:
        path: Its name within jetbridge.
        value: What it is.
        owner: The class that it is a member of, or None.
    """

    path: str
    value: object
    owner: type | None = None

    @property
    def docs(self):
        return inspect.getdoc(self.value) or ""

    @cached_property
    def above(self):
        """The docstrings of what it overrides, which hold for it, too."""
        name = self.path.rpartition(".")[2]
        bases = () if self.owner is None else self.owner.__mro__[1:]
        return [inspect.getdoc(vars(base)[name]) or "" for base in bases if name in vars(base)]

    @property
    def examples(self):
        return [line.source for line in doctest.DocTestParser().get_examples(self.docs)]


def things():
    found = {}
    for name in MODULES:
        module = importlib.import_module(name)
        public = getattr(module, "__all__", None) or [each for each in vars(module) if each[0] != "_"]
        for each in public:
            value = getattr(module, each)
            if (
                not (inspect.isclass(value) or inspect.isfunction(value))
                or value.__module__.split(".")[0] != "jetbridge"
            ):
                continue
            if name != "jetbridge" and not hasattr(module, "__all__") and value.__module__ != name:
                continue  # imported there, not exported
            for thing in (Thing(each, value), *(members(each, value) if inspect.isclass(value) else ())):
                found.setdefault(id(thing.value), thing)
    return [found[key] for key in found]


def members(path, owner):
    for name in dir(owner):
        member = inspect.getattr_static(owner, name)
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if name[0] != "_" and inspect.isfunction(function) and function.__module__.split(".")[0] == "jetbridge":
            holder = next(each for each in owner.__mro__ if name in vars(each))
            yield Thing(f"{path}.{name}", member if isinstance(member, property) else function, holder)


THINGS = things()
FUNCTIONS = [each for each in THINGS if inspect.isfunction(each.value)]


def named(things):
    return pytest.mark.parametrize("thing", things, ids=lambda each: each.path)


def test_there_are_many():
    assert len(THINGS) > 250


def test_each_has_a_summary_of_one_sentence():
    """On the first line, as everything that lists names shows it."""
    summaries = {each.path: each.docs.partition("\n")[0] for each in THINGS}
    assert {path: line for path, line in summaries.items() if not line.rstrip(" ").endswith((".", ":", "?"))} == {}


def test_each_parameter_is_described():
    missing = []
    for thing in FUNCTIONS:
        names = [name for name in inspect.signature(thing.value).parameters if name not in ("self", "cls")]
        if not any(all(describes(docs, name) for name in names) for docs in (thing.docs, *thing.above)):
            missing.append((thing.path, names))
    assert not missing, "\n".join(map(str, missing))


def describes(docs, parameter):
    section = docs.partition("Args:\n")[2]
    return re.search(rf"^\s+\*{{0,2}}{parameter}: \S", section, re.MULTILINE) is not None


def test_each_error_is_described():
    """Those that the function raises itself."""
    missing = []
    for thing in FUNCTIONS:
        tree = ast.parse(textwrap.dedent(inspect.getsource(thing.value)))
        raised = {
            node.exc.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
            if node.exc.func.id[0].isupper()
        }
        told = [docs.partition("Raises:\n")[2] for docs in (thing.docs, *thing.above)]
        missing += [(thing.path, name) for name in sorted(raised) if not any(f"{name}:" in section for section in told)]
    assert not missing, "\n".join(map(str, missing))


def test_each_has_an_example_that_runs():
    """Its own, or another one that calls it.

    Errors are raised by jetbridge and made by nobody else, and properties are shown by their class.
    """
    examples = "\n".join(line for each in THINGS for line in each.examples)
    missing = []
    for thing in THINGS:
        is_error = inspect.isclass(thing.value) and issubclass(thing.value, Exception)
        if thing.examples or is_error or isinstance(thing.value, property) or thing.path in WITHOUT_EXAMPLE:
            continue
        if thing.owner is not None and issubclass(thing.owner, HOOKS):
            continue
        call = thing.path if thing.owner is None else "." + thing.path.rpartition(".")[2]
        if f"{call}(" not in examples:
            missing.append(thing.path)
    assert not missing, "\n".join(missing)


def test_an_example_makes_one_of_each_class_that_is_for_that():
    makers = [each for each in THINGS if inspect.isclass(each.value) and each.value in HOOKS]
    assert [each.path for each in makers if not re.search(rf"class \w+\({each.path}\)", "\n".join(each.examples))] == []
    assert len(makers) == len(HOOKS)


def test_what_needs_no_example_is_there():
    assert set(WITHOUT_EXAMPLE) <= {each.path for each in THINGS}
