"""Adding an operator touches its plan node, its stage method, its kernel and one conformance file."""

from __future__ import annotations

import importlib
import inspect

import pytest

from jetbridge.kernels import rules
from jetbridge.keyed_stages import GroupedStage
from jetbridge.plan.base import Node
from jetbridge.stages import BatchStage

ELSEWHERE = {
    "write_to": "sinks_lists",
    "add_timestamps": "with_timestamps",
    "collect": "group_by",
    **dict.fromkeys(("inner_hash_join", "hash_join2", "inner_hash_join2", "hash_join_builder"), "hash_join_sides"),
}
"""Methods of stages that are tested in a file of another name."""

ENDS = {"SourceNode", "SinkNode", "BeamNode"}
"""Nodes that a host carries out by itself."""


SEVERAL = {"co_aggregate": "aggregate2", "co_window": "aggregate2", "build": "hash_join"}
"""Nodes that several methods make, or that are a part of what one makes."""


def operators():
    """Every public method of the stage classes."""
    found = set()
    for stage in (BatchStage, GroupedStage):
        found |= {name for name, _ in inspect.getmembers(stage, inspect.isfunction) if not name.startswith("_")}
    return sorted(found)


def nodes(tree):
    """Every node class of the plan that is a stage of its own."""
    for module in tree.jetbridge:
        if module.name.startswith("jetbridge.plan."):
            for _, value in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
                if issubclass(value, Node) and value.__module__ == module.name and value.kind != "node":
                    yield value


@pytest.mark.parametrize("operator", operators())
def test_every_operator_has_its_conformance_file(tree, operator):
    assert (tree.root / "tests" / "conformance" / f"test_{ELSEWHERE.get(operator, operator)}.py").is_file()


def test_the_operators_are_those_that_are_documented():
    documented = {"map", "filter", "flat_map", "group_by", "aggregate", "distinct", "sort", "merge", "peek"}
    documented |= {"set_name", "apply", "apply_beam", "write_to"}
    assert documented <= set(operators())


def test_every_node_has_a_kind_of_its_own(tree):
    kinds = [node.kind for node in nodes(tree)]
    assert len(kinds) == len(set(kinds)) >= 12


def test_every_node_is_immutable(tree):
    assert all(node.__dataclass_params__.frozen for node in nodes(tree))


def test_every_operator_has_its_kernel(tree):
    source = inspect.getsource(rules)
    names = {node.__name__ for node in nodes(tree)} - ENDS
    assert {name for name in names if f"{name}()" not in source} == set()


def test_every_node_is_an_operator(tree):
    known = {*operators(), *SEVERAL, "source", "sink"}
    assert {node.kind for node in nodes(tree)} <= known


def test_every_kernel_has_its_unit_test(tree):
    tests = "".join(path.read_text() for path in (tree.root / "tests" / "unit" / "kernels").glob("test_*.py"))
    kernels = {
        name
        for module in tree.jetbridge
        if module.name.startswith("jetbridge.kernels.")
        for name, value in inspect.getmembers(importlib.import_module(module.name), inspect.isclass)
        if name.endswith("Kernel") and value.__module__ == module.name and not inspect.isabstract(value)
    }
    assert len(kernels) >= 9
    assert [name for name in sorted(kernels) if name not in tests] == []


def test_a_node_without_a_rule_is_named():
    from jetbridge.errors import UnsupportedByRunnerError

    node = Node(id=0, name="strange", named=True, inputs=())
    for rule in (rules.keyed_kernel, lambda each: rules.stateless_kernel(each, "jetbridge")):
        with pytest.raises(UnsupportedByRunnerError, match="no kernel for node 'strange'"):
            rule(node)
