from __future__ import annotations

import subprocess
import zipfile

import pytest

from jetbridge.errors import ClusterError
from jetbridge_flink import jars
from jetbridge_flink.cluster_config import flink_java
from jetbridge_flink.loopback import changed_classes, loopback_jar, on_loopback

FACTORY = "org/apache/beam/sdk/fn/server/ServerFactory$InetSocketAddressServerFactory.class"


@pytest.fixture(scope="module")
def files():
    return jars.fetch()


def original(files, name):
    [source] = [path for path in files if path.name.startswith("beam-sdks-java-core-")]
    return zipfile.ZipFile(source).read(name)


def test_one_class_is_changed_by_a_few_bytes(files):
    before, after = original(files, FACTORY), changed_classes(files)[FACTORY]
    assert b"forAddress" in after
    assert b"forAddress" not in before
    assert 0 < len(after) - len(before) < 300
    assert after[-200:] == before[-200:]


def test_java_accepts_the_changed_class(files):
    """Java verifies a class when it is initialised; jrunscript would be another way, but has no language any more."""
    classes = ":".join(map(str, (loopback_jar(files), *files)))
    name = FACTORY.removesuffix(".class").replace("/", ".")
    run = subprocess.run(
        [flink_java(), "-Xverify:all", "-cp", classes, name], capture_output=True, text=True, timeout=60, check=False
    )
    # The launcher loads and verifies the class, and then finds no main method in it.
    assert "VerifyError" not in run.stderr
    assert "ClassFormatError" not in run.stderr
    assert "Main method not found" in run.stderr


def test_the_jar_lies_beside_the_others_and_is_made_once(files):
    path = loopback_jar(files)
    assert path.parent == files[0].parent
    made = path.stat().st_mtime_ns
    assert loopback_jar(files) == path
    assert path.stat().st_mtime_ns == made
    assert zipfile.ZipFile(path).namelist() == [FACTORY]


def test_a_class_that_is_not_as_expected(files):
    with pytest.raises(ClusterError, match="never calls forPort"):
        on_loopback(changed_classes(files)[FACTORY])
    with pytest.raises(ClusterError, match="never calls getPort"):
        on_loopback(original(files, "org/apache/beam/sdk/Pipeline.class"))
