"""Imports go one way."""

from __future__ import annotations

import subprocess
import sys
import textwrap

FOUNDATION = ("errors", "checks", "config", "times", "windows", "aggregations", "services", "connectors.base")
LAYERS = {
    "errors": (),
    "extras": (),
    "checks": ("errors",),
    "kernels.keys": ("errors",),
    "config": ("errors",),
    "times": ("errors",),
    "windows": ("errors", "config", "times"),
    "aggregations": ("errors", "extras", "checks", "kernels.keys", "aggregations"),
    "arguments": ("errors", "checks", "aggregations"),
    "services": ("errors", "checks", "arguments"),
    "connectors.context": (),
    "connectors.chunks": (),
    "connectors.base": ("errors", "connectors.chunks", "connectors.context"),
    "plan": (*FOUNDATION, "plan"),
    "kernels": (*FOUNDATION, "plan", "kernels"),
    "beam": (*FOUNDATION, "plan", "kernels", "beam"),
    "store": ("errors", "config", "times", "windows", "kernels", "store"),
    "connectors": ("errors", "extras", "checks", "config", "times", "services", "kernels", "store", "connectors"),
}
"""What a part of jetbridge may import of jetbridge; the longest prefix counts. Parts that are not listed come after
these: stages, pipeline, then jobs and the client."""

FLUENT = ("arguments", "sides", "stages", "pipeline", "sources", "sinks")
"""The modules of the fluent API, and with them all whose names end with _stages."""
JOBS = ("job", "client", "connecting", "jobs", "runner", "hazelcast", "cli", "settings", "metrics", "snapshots")


def is_below(name, part):
    return name == part or name.startswith(f"{part}.")


def internal(module):
    """What a module imports of jetbridge when it runs, without the leading package."""
    for each in module.imports:
        if is_below(each.name, "jetbridge") and not each.typing:
            yield each, each.name.removeprefix("jetbridge").removeprefix(".")


def test_each_layer_imports_only_those_before_it(tree):
    wrong = []
    for module in tree.jetbridge:
        name = module.name.removeprefix("jetbridge").removeprefix(".")
        layer = max((part for part in LAYERS if is_below(name, part)), key=len, default=None)
        if layer is None:
            continue
        for each, target in internal(module):
            if not any(is_below(target, part) for part in LAYERS[layer]):
                wrong.append(f"{module.path.relative_to(tree.root)}:{each.line} imports {each.name}")
    assert not wrong, "\n".join(wrong)


def test_the_fluent_api_knows_nothing_of_jobs(tree):
    wrong = [
        f"{module.name}:{each.line} imports {each.name}"
        for module in tree.jetbridge
        if module.name.removeprefix("jetbridge.") in FLUENT or module.name.endswith("_stages")
        for each, target in internal(module)
        if any(is_below(target, part) for part in JOBS) or is_below(target, "beam") or target == ""
    ]
    assert not wrong, "\n".join(wrong)


def test_jetbridge_never_imports_a_runner(tree):
    wrong = [
        f"{module.name}:{each.line} imports {each.name}"
        for module in tree.jetbridge
        for each in module.imports
        if each.name.startswith("jetbridge_")
    ]
    assert not wrong, "\n".join(wrong)


def test_runners_never_import_each_other(tree):
    wrong = [
        f"{module.name}:{each.line} imports {each.name}"
        for runner, modules in tree.runners.items()
        for module in modules
        for each in module.imports
        if each.name.startswith("jetbridge_") and not is_below(each.name, runner)
    ]
    assert tree.runners
    assert not wrong, "\n".join(wrong)


def test_only_the_beam_package_and_the_runners_import_beam(tree):
    users = {
        module.name
        for module in tree.jetbridge
        for each in module.imports
        if is_below(each.name, "apache_beam") and not is_below(module.name, "jetbridge.beam")
    }
    assert not users
    inside = [each for module in tree.jetbridge for each in module.imports if is_below(each.name, "apache_beam")]
    assert inside, "the test sees imports of Beam where they are allowed"


def test_only_the_file_connectors_import_pyarrow_and_fsspec(tree):
    users = {
        module.name
        for module in tree.product
        for each in module.imports
        if each.name.partition(".")[0] in ("pyarrow", "fsspec") and not each.typing
    }
    assert all(name.startswith("jetbridge.connectors.files") for name in users), users


def test_modules_do_not_import_each_other_in_a_circle(tree):
    """While they load: imports inside functions and for type checkers do not count."""
    names = {module.name for module in tree.product}
    graph = {}
    for module in tree.product:
        targets = set()
        for each in module.imports:
            if each.lazy or each.typing:
                continue
            target = each.name if each.name in names else each.name.rpartition(".")[0]
            if target in names and target != module.name and not is_below(module.name, target):
                targets.add(target)
        graph[module.name] = targets
    done, path = set(), []

    def visit(name):
        assert name not in path, " → ".join([*path[path.index(name) :], name])
        if name in done:
            return
        path.append(name)
        for target in sorted(graph[name]):
            visit(target)
        done.add(path.pop())

    for name in sorted(graph):
        visit(name)


def run(source):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)], capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_import_jetbridge_loads_no_engine():
    loaded = run(
        """
        import sys
        import jetbridge
        heavy = {"apache_beam", "pyarrow", "fsspec", "pandas", "numpy", "grpc", "hazelcast", "rich"}
        print(*sorted(name for name in sys.modules if name in heavy or name.startswith("jetbridge_")))
        """
    ).split()
    assert loaded == []


def test_import_jetbridge_is_quick():
    """Best of several, so that a busy machine does not matter."""
    best = float("inf")
    for _ in range(8):
        seconds = run("import time; start = time.perf_counter(); import jetbridge; print(time.perf_counter() - start)")
        best = min(best, float(seconds))
        if best < 0.3:
            break
    assert best < 0.3


def test_a_client_never_loads_beam(tmp_path):
    loaded = run(
        f"""
        import sys
        import jetbridge
        from jetbridge import Pipeline
        with jetbridge.connect(home={str(tmp_path / "home")!r}, parallelism=1) as client:
            pipeline = Pipeline.create()
            pipeline.read_from(Pipeline.from_list("n", [1])).map(str).write_to(Pipeline.to_list("r"))
            client.get_jet().submit(pipeline).join(timeout=60)
            assert client.get_list("r").get_all() == ["1"]
        print("apache_beam" in sys.modules)
        """
    )
    assert loaded.strip() == "False"
