from __future__ import annotations

import importlib
import inspect
import types

import pytest

import jetbridge

DOCUMENTED = {
    *("connect", "Client", "Pipeline", "ListSource", "StreamSource", "Job", "JobConfig", "JobStatus"),
    *("ProcessingGuarantee", "TimeoutException", "register_type", "sources", "sinks", "aggregations"),
    *("JetbridgeError", "PipelineError", "UnsupportedByRunnerError", "KeyTypeError"),
    *("JobAlreadyExistsError", "JobStateError", "JobFailedError", "JobCancelledError", "SnapshotError"),
    *("SourceError", "SinkError", "ConfigError"),
}


def test_all_is_there():
    """Names are loaded when they are first used; each of them can be."""
    assert [name for name in jetbridge.__all__ if not hasattr(jetbridge, name)] == []
    assert len(jetbridge.__all__) == len(set(jetbridge.__all__))
    assert set(jetbridge.__all__) <= set(dir(jetbridge))


def test_type_checkers_see_the_same_names(tree):
    [package] = [module for module in tree.jetbridge if module.name == "jetbridge"]
    seen = {
        each.name.rpartition(".")[2] for each in package.imports if each.typing and each.name.startswith("jetbridge")
    }
    modules = {name for name in jetbridge.__all__ if isinstance(getattr(jetbridge, name), types.ModuleType)}
    assert seen | modules | {"__version__"} == set(jetbridge.__all__)


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = jetbridge.nothing


def test_the_version_is_the_projects(tree):
    assert f'version = "{jetbridge.__version__}"' in (tree.root / "pyproject.toml").read_text()


def test_everything_documented_is_exported():
    assert set(jetbridge.__all__) >= DOCUMENTED


@pytest.mark.parametrize(
    "name", ["jetbridge.aggregations", "jetbridge.connectors", "jetbridge.sources", "jetbridge.sinks"]
)
def test_the_other_public_modules_keep_all_too(name):
    module = importlib.import_module(name)
    assert all(hasattr(module, each) for each in module.__all__)


def test_every_public_thing_has_a_docstring():
    missing = []

    def look(path, value):
        if not (value.__doc__ or "").strip():
            missing.append(path)
        if inspect.isclass(value):
            for name, member in vars(value).items():
                member = getattr(member, "__func__", member)
                documented = inspect.isfunction(member) or isinstance(member, property)
                if documented and not name.startswith("_") and not inspect.getdoc(getattr(value, name)):
                    missing.append(f"{path}.{name}")

    for name in jetbridge.__all__:
        value = getattr(jetbridge, name)
        if name != "__version__":
            look(name, value)
        if isinstance(value, types.ModuleType):
            for inner in getattr(value, "__all__", [n for n in vars(value) if not n.startswith("_")]):
                member = getattr(value, inner)
                if getattr(member, "__module__", "").startswith(value.__name__):
                    look(f"{name}.{inner}", member)
    assert not missing, missing


def test_every_module_says_what_it_is(tree):
    import ast

    assert [module.name for module in tree.product if not ast.get_docstring(module.tree)] == []


def test_every_public_function_and_class_says_what_it_does(tree):
    import ast

    missing = []
    for module in tree.product:
        scopes = [("", module.tree)]
        scopes += [(f"{n.name}.", n) for n in module.tree.body if isinstance(n, ast.ClassDef) and n.name[0] != "_"]
        for prefix, scope in scopes:
            for node in scope.body:
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                    overloads = {"overload", "setter"} & set(ast.dump(ast.Module(node.decorator_list, [])).split("'"))
                    if not ast.get_docstring(node) and not overloads:
                        missing.append(f"{module.name}.{prefix}{node.name}")
    assert not missing, missing
