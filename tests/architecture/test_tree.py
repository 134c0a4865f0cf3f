"""The habits of the source tree that a machine can hold."""

from __future__ import annotations

import ast
import re

LONGEST = 400
PLACES = {
    r"(?<![\w.])/(work|farm|root|home|tmp/scratch)/\w": "a path of somebody's machine",
    r"https?://[^\s\"'<>]*(maven|pypi|pythonhosted|npm|crates|golang|debian|ubuntu|conda)[^\s\"'<>]*": "a registry",
    r"(?i)\bissues? #?\d+\b": "the number of an issue",
    r"\b(TOD[O]|FIXM[E]|XX[X])\b": "something left to do",
}


def test_no_module_is_longer_than_a_person_reads_at_once(tree):
    modules = [*tree.product, *tree.tests, *tree.examples]
    lengths = {str(m.path.relative_to(tree.root)): m.path.read_text().count("\n") for m in modules}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


def test_the_types_are_there_for_users(tree):
    """Type checkers look at an installed package's annotations only where it has this file."""
    assert (tree.root / "jetbridge" / "py.typed").exists()


def test_examples_are_short(tree):
    """One idea a file; the main example, with its tables, may be twice as long."""
    lengths = {module.name: module.path.read_text().count("\n") for module in tree.examples}
    assert {name: lines for name, lines in lengths.items() if lines > 60 * (1 + (name == "examples.flights"))} == {}


def test_nothing_points_to_a_machine_or_a_registry(tree):
    found = []
    for path in tree.files:
        text = path.read_text(encoding="utf-8", errors="replace")
        for pattern, what in PLACES.items():
            for match in re.finditer(pattern, text):
                line = text.count("\n", 0, match.start()) + 1
                found.append(f"{path.relative_to(tree.root)}:{line}: {what}: {match.group()}")
    assert not found, "\n".join(found)


def test_nothing_is_a_silent_stub(tree):
    found = []
    for module in tree.product:
        lines = module.path.read_text().splitlines()
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Raise) and "NotImplementedError" in ast.dump(node):
                found.append(f"{module.path.relative_to(tree.root)}:{node.lineno}: raises NotImplementedError")
            swallows = isinstance(node, ast.Try) and any(
                isinstance(each, ast.Pass) for handler in node.handlers for each in handler.body
            )
            if swallows and not any("#" in line for line in lines[node.lineno - 1 : node.end_lineno]):
                found.append(f"{module.path.relative_to(tree.root)}:{node.lineno}: swallows an error, does not say why")
    assert not found, "\n".join(found)


def test_every_test_asserts_something(tree):
    """A call of a helper counts when the helper's name says that it looks."""
    words = ("Assert(", "raises", "warns", "assert_", "check", "expect", "verify", "explain", "refused", "says")
    words += ("id='explore'", "id='disturb'", "id='until'", "id='python'", "suppress", "attr='join'")
    # They wait for a condition, run a script that asserts or random calls or cuts that are checked, let through only
    # what is expected, or fail with the job.
    weak = [
        f"{module.name}.{node.name}"
        for module in tree.tests
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        if not any(word in ast.dump(node) for word in words)
    ]
    assert not weak, weak


def test_tests_wait_for_conditions(tree):
    """A sleep belongs into a loop with a deadline, or into a user's slow function, never into a test's own line."""
    found = [
        f"{module.name}:{node.lineno}"
        for module in tree.tests
        for test in ast.walk(module.tree)
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_")
        for node in test.body
        if isinstance(node, ast.Expr) and "attr='sleep'" in ast.dump(node.value)
        if isinstance(node.value, ast.Call) and getattr(node.value.func, "attr", "") == "sleep"
    ]
    assert not found, found
