from __future__ import annotations

import subprocess
import zipfile

import pytest

from jetbridge.errors import ClusterError
from jetbridge_flink import jars
from jetbridge_flink.changes import changed_classes, changed_jar
from jetbridge_flink.cluster_config import flink_java
from jetbridge_flink.loopback import CLASS as FACTORY
from jetbridge_flink.loopback import on_loopback
from jetbridge_flink.residuals import CLASS as HANDLER
from jetbridge_flink.residuals import under_one_name


@pytest.fixture(scope="module")
def files():
    return jars.fetch()


def original(files, name):
    for path in files:
        with zipfile.ZipFile(path) as jar:
            if name in jar.namelist():
                return jar.read(name)
    raise AssertionError(name)


def test_the_class_that_makes_servers_is_changed_by_a_few_bytes(files):
    before, after = original(files, FACTORY), changed_classes(files)[FACTORY]
    assert b"forAddress" in after
    assert b"forAddress" not in before
    assert 0 < len(after) - len(before) < 300
    assert after[-200:] == before[-200:]


def test_the_class_that_keeps_residuals_is_changed_by_ten_bytes(files):
    before, after = original(files, HANDLER), changed_classes(files)[HANDLER]
    assert len(before) == len(after)
    changed = [at for at, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    assert 0 < changed[-1] - changed[0] < 10


@pytest.mark.parametrize("changed", [FACTORY, HANDLER])
def test_java_accepts_the_changed_class(files, changed):
    """Java verifies a class when it is initialised; jrunscript would be another way, but has no language any more."""
    classes = ":".join(map(str, (changed_jar(files), *files)))
    name = changed.removesuffix(".class").replace("/", ".")
    run = subprocess.run(
        [flink_java(), "-Xverify:all", "-cp", classes, name], capture_output=True, text=True, timeout=60, check=False
    )
    # The launcher loads and verifies the class, and then finds no main method in it.
    assert "VerifyError" not in run.stderr
    assert "ClassFormatError" not in run.stderr
    assert "Main method not found" in run.stderr


def test_the_jar_lies_beside_the_others_and_is_made_once(files):
    path = changed_jar(files)
    assert path.parent == files[0].parent
    made = path.stat().st_mtime_ns
    assert changed_jar(files) == path
    assert path.stat().st_mtime_ns == made
    assert zipfile.ZipFile(path).namelist() == [FACTORY, HANDLER]


def test_a_class_that_is_not_as_expected(files):
    with pytest.raises(ClusterError, match="never calls forPort"):
        on_loopback(changed_classes(files)[FACTORY])
    with pytest.raises(ClusterError, match="never calls getPort"):
        on_loopback(original(files, "org/apache/beam/sdk/Pipeline.class"))
    with pytest.raises(ClusterError, match="getId is not called once"):
        under_one_name(changed_classes(files)[HANDLER])
    with pytest.raises(ClusterError, match="never calls getId"):
        under_one_name(original(files, "org/apache/beam/sdk/Pipeline.class"))
