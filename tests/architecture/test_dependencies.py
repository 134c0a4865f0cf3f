"""Every dependency is used, and everything that is used is a dependency."""

from __future__ import annotations

import re
import sys

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it there

IMPORTED_AS = {
    "apache-beam": "apache_beam",
    "pydantic-settings": "pydantic_settings",
    "typing-extensions": "typing_extensions",
    "hazelcast-python-client": "hazelcast",
    "apache-flink-libraries": "pyflink",
    "grpcio": "grpc",
    "protobuf": "google",
}
TOOLS = {"pytest-xdist": "-n", "mypy": "mypy", "ruff": "ruff", "pytest": "pytest"}
"""Dependencies that commands use, and what a Makefile then shows."""
STUBS = {"pandas-stubs": "pandas", "types-psutil": "psutil"}
OURS = {"jetbridge", "jetbridge_direct", "jetbridge_flink", "tests", "examples"}


@pytest.fixture(scope="module")
def project(tree):
    return tomllib.loads((tree.root / "pyproject.toml").read_text())["project"]


def names(requirements):
    return {re.match(r"[A-Za-z0-9._-]+", each).group().lower() for each in requirements} - {"jetbridge"}


def imported(modules):
    return {each.name.partition(".")[0] for module in modules for each in module.imports}


def asked_for(modules):
    """Modules that are named in a text, such as the argument of import_module."""
    return {word for module in modules for word in re.findall(r"[\"']([a-z_0-9]+)[\"'.]", module.path.read_text())}


def module_of(name):
    return IMPORTED_AS.get(name, name)


def test_each_dependency_is_used(tree, project):
    used = imported(tree.product)
    assert [name for name in sorted(names(project["dependencies"])) if module_of(name) not in used] == []


def test_each_extra_is_used(tree, project):
    extras = project["optional-dependencies"]
    everything = [*tree.product, *tree.tests, *tree.examples]
    used = imported(everything) | asked_for(everything)
    commands = "".join(path.read_text() for path in (tree.root / "Makefile", tree.root / ".ci" / "run"))
    unused = []
    for name in sorted(set().union(*map(names, extras.values()))):
        if name in TOOLS and TOOLS[name] in commands:
            continue
        if STUBS.get(name, module_of(name)) not in used:
            unused.append(name)
    assert not unused, unused


def test_jetbridge_imports_nothing_else(tree, project):
    declared = {module_of(name) for name in names(project["dependencies"])}
    optional = {module_of(name) for each in project["optional-dependencies"].values() for name in names(each)}
    optional |= {"numpy", "IPython", "zstandard"}  # only when the user's own code has loaded them
    found = imported(tree.product) - set(sys.stdlib_module_names) - OURS - {"__future__"}
    assert found <= declared | optional, found - declared - optional


def test_what_is_optional_is_never_loaded_by_the_core(tree, project):
    declared = {module_of(name) for name in names(project["dependencies"])}
    eager = {
        f"{module.name}: {each.name}"
        for module in tree.jetbridge
        if module.name != "jetbridge.testing.plugin"  # pytest loads it, and nobody else
        for each in module.imports
        if not each.lazy and not each.typing
        if each.name.partition(".")[0] not in declared | set(sys.stdlib_module_names) | OURS
    }
    assert eager == set()


def test_tests_and_examples_import_only_what_is_declared(tree, project):
    extras = project["optional-dependencies"]
    declared = {module_of(name) for name in names(project["dependencies"])}
    declared |= {module_of(name) for each in extras.values() for name in names(each)}
    transitive = {"numpy", "tomli", "hazelcast", "grpc"}
    eager = [each for module in (*tree.tests, *tree.examples) for each in module.imports if not each.lazy]
    found = {each.name.partition(".")[0] for each in eager} - set(sys.stdlib_module_names) - OURS - {"__future__"}
    files = [path for folder in ("tests", "examples") for path in (tree.root / folder).rglob("*.py")]
    local = {path.stem for path in files} | {path.parent.name for path in files}
    assert found <= declared | transitive | local, found - declared - transitive - local


def test_versions_have_a_lower_bound(project):
    loose = [
        each
        for group in (project["dependencies"], *(project["optional-dependencies"].values()))
        for each in group
        if not re.search(r">=|==|~=", each) and not each.startswith(("jetbridge", "pandas-stubs", "types-"))
    ]
    assert not loose, loose
