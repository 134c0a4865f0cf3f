"""The reference interpreter and the random programs know every operator, but for those that have a reason."""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap

import pytest

from jetbridge.plan.base import Node
from tests.reference import interpreter
from tests.reference.operators import BINARY, OPERATORS
from tests.reference.programs import Program

ELSEWHERE = {
    "BeamNode": "a transform of Beam's own means what it means to Beam",
    "SinkNode": "a sink gives nothing: `results` says what reaches it",
}
"""Nodes that the interpreter need not know as stages."""


def leaves(kind):
    """The classes below one that have none below themselves, or are stages of their own."""
    below = kind.__subclasses__()
    found = [kind] if kind.kind != "node" and "kind" in vars(kind) else []
    return found + [leaf for each in below for leaf in leaves(each)]


@pytest.fixture(scope="module")
def nodes(tree):
    for module in tree.jetbridge:
        if module.name.startswith("jetbridge.plan."):
            importlib.import_module(module.name)
    return {node.__name__: node for node in leaves(Node) if node.__module__.startswith("jetbridge.")}


def known():
    """The classes that the interpreter tells apart."""
    source = ast.parse(textwrap.dedent(inspect.getsource(interpreter.Interpreter.stage)))
    patterns = [each for each in ast.walk(source) if isinstance(each, ast.MatchClass)]
    return {getattr(interpreter, pattern.cls.id) for pattern in patterns}


def test_the_interpreter_knows_every_node(nodes):
    unknown = {name for name, node in nodes.items() if not issubclass(node, tuple(known()))}
    assert unknown == set(ELSEWHERE)


def test_the_interpreter_knows_nothing_that_is_not_there(nodes):
    bases = {base for node in nodes.values() for base in node.__mro__}
    assert known() <= bases


def test_the_interpreter_is_short(tree):
    lines = (tree.root / "tests" / "reference" / "interpreter.py").read_text().splitlines()
    assert len(lines) < 400


@pytest.fixture(scope="module")
def used():
    """The nodes that random programs can have."""
    found = set()
    for name in (*OPERATORS, *BINARY):
        steps = [(name, (0, 1) if name in BINARY else (0,))]
        pipeline, _ = Program(stream=False, sources=[([[1]], 0), ([[2]], 0)], steps=steps).build()
        found |= {type(node) for node in pipeline.plan().nodes}
    return found


def test_random_programs_have_every_node(nodes, used):
    assert {name for name, node in nodes.items() if node not in used} == set(ELSEWHERE) - {"SinkNode"}
