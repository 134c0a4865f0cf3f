"""What importing jetbridge does, its names, and the names of Hazelcast's documentation."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap

import pytest

import jetbridge

GUIDE = """
import jetbridge.hazelcast
from hazelcast.jet.pipeline import ListSource, Pipeline, StreamSource
from hazelcast.jet.job import JobConfig, JobStatus, ProcessingGuarantee, TimeoutException
import hazelcast.jet.job as job_module, hazelcast.jet
import jetbridge
assert Pipeline is jetbridge.Pipeline and hazelcast.jet.pipeline.ListSource is jetbridge.ListSource
assert job_module.JobConfig is jetbridge.JobConfig
"""


def python(source, path=None):
    command = textwrap.dedent(source)
    if path is not None:
        command = f"import sys; sys.path.insert(0, {str(path)!r})\n{command}"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_loads_nothing_heavy():
    loaded = python("import sys, jetbridge; print(*sys.modules)").split()
    heavy = {"apache_beam", "pyarrow", "pydantic", "sqlite3", "numpy", "psutil", "cloudpickle", "jetbridge_direct"}
    assert not heavy & set(loaded)


def test_connecting_and_submitting_loads_no_beam(tmp_path):
    loaded = python(f"""
        import sys, jetbridge
        from jetbridge import Pipeline
        with jetbridge.connect(home={str(tmp_path / "home")!r}) as client:
            pipeline = Pipeline.create()
            pipeline.read_from(Pipeline.from_list("a", [1])).write_to(Pipeline.to_list("b"))
            client.get_jet().submit(pipeline).join()
        print(*sys.modules)
        """).split()
    assert not {"apache_beam", "pyarrow", "numpy", "pandas"} & set(loaded)


@pytest.mark.parametrize("name", jetbridge.__all__)
def test_every_name_is_there(name):
    assert getattr(jetbridge, name) is not None
    assert name in dir(jetbridge)


def test_every_error_is_exported():
    errors = importlib.import_module("jetbridge.errors")
    named = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.JetbridgeError)
    }
    assert named <= set(jetbridge.__all__)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'jetbridge' has no attribute 'pipelin'"):
        _ = jetbridge.pipelin


def test_an_unknown_runner_is_told_with_those_that_are_there(tmp_path):
    with pytest.raises(jetbridge.ConfigError, match=r"there is no runner 'spark'; installed are: .*direct"):
        jetbridge.connect(runner="spark", home=tmp_path / "home")


class TestAlias:
    @pytest.fixture
    def real(self, tmp_path):
        """What looks like hazelcast-python-client."""
        package = tmp_path / "hazelcast"
        package.mkdir()
        (package / "__init__.py").write_text("from hazelcast.client import HazelcastClient\n__version__ = '5'\n")
        (package / "client.py").write_text("class HazelcastClient:\n    pass\n")
        return tmp_path

    def test_without_hazelcast(self):
        source = (
            """
            from importlib.machinery import PathFinder
            find = PathFinder.find_spec
            PathFinder.find_spec = lambda name, *rest: None if name.startswith("hazelcast") else find(name, *rest)
            """,
            GUIDE,
            "assert not hasattr(hazelcast, 'HazelcastClient')",
        )
        python("\n".join(textwrap.dedent(part) for part in source))

    def test_a_cluster_without_its_library(self, tmp_path):
        source = f"""
            from importlib.machinery import PathFinder
            find = PathFinder.find_spec
            PathFinder.find_spec = lambda name, *rest: None if name.startswith("hazelcast") else find(name, *rest)
            import jetbridge
            try:
                jetbridge.connect(home={str(tmp_path / "home")!r}, hazelcast={{}})
            except jetbridge.ConfigError as error:
                assert "pip install '" in str(error) and "[hazelcast]" in str(error)
            else:
                raise AssertionError
            """
        python(source)

    def test_with_hazelcast(self, real):
        python(
            GUIDE
            + textwrap.dedent("""
            import hazelcast, hazelcast.client
            assert hazelcast.__version__ == "5"
            assert hazelcast.HazelcastClient.get_jet.__module__ == "jetbridge.hazelcast"
            """),
            real,
        )

    def test_hazelcast_imported_first(self, real):
        python("import hazelcast\n" + GUIDE, real)

    def test_twice(self, real):
        again = """
            import importlib, hazelcast.jet
            before = hazelcast.jet.pipeline
            importlib.reload(jetbridge.hazelcast)
            assert hazelcast.jet.pipeline is before
            """
        python(GUIDE + textwrap.dedent(again), real)
        python(GUIDE + textwrap.dedent(again))

    def test_a_jet_of_hazelcasts_own_is_not_replaced(self, real):
        (real / "hazelcast" / "jet.py").write_text("")
        out = python(
            """
            try:
                import jetbridge.hazelcast
            except ImportError as error:
                print(error)
            """,
            real,
        )
        assert "has a module hazelcast.jet of its own: import from jetbridge instead" in out

    def test_an_unknown_name_is_told(self):
        importlib.import_module("jetbridge.hazelcast")
        module = importlib.import_module("hazelcast.jet.pipeline")
        with pytest.raises(ImportError, match="cannot import name 'MapSource'"):
            exec("from hazelcast.jet.pipeline import MapSource")
        with pytest.raises(AttributeError, match=r"has no attribute 'MapSource'; it has .*ListSource"):
            _ = module.MapSource
        assert "Pipeline" in dir(module)
