from __future__ import annotations

import os
import subprocess

import pytest

from jetbridge_flink import archive
from jetbridge_flink.cluster_config import flink_java, flink_libraries

LISTED = """\
# a comment
java/lang/Object id: 0
java/lang/String id: 1
org/apache/flink/configuration/Configuration id: 2
org/apache/flink/streaming/runtime/tasks/StreamTask id: 3
Main id: 4 super: 0 source: /the/jar/of/a/job.jar
@lambda-proxy java/lang/Object run ()Ljava/lang/Runnable;
java/lang/Str"""


@pytest.fixture
def listed(tmp_path):
    path = tmp_path / "taskmanager.classes"
    path.write_text(LISTED)
    return path


def test_lists_are_merged_without_what_cannot_be_archived():
    merged = list(archive._merged([LISTED, "java/lang/String id: 7\njava/util/List id: 9\n"]))
    assert merged == [
        "java/lang/Object\n",
        "java/lang/String\n",
        "org/apache/flink/configuration/Configuration\n",
        "org/apache/flink/streaming/runtime/tasks/StreamTask\n",
        "@lambda-proxy java/lang/Object run ()Ljava/lang/Runnable;\n",
        "java/util/List\n",
    ]


def test_java_runs_with_the_archive(tmp_path, listed):
    """With -Xshare:on Java refuses to start when it cannot use the archive."""
    libraries = flink_libraries()
    place = archive.place(flink_java(), libraries, tmp_path / "cache")
    old = place.with_name("flink-old.jsa")
    old.write_bytes(b"")
    os.utime(old, (1, 1))
    assert archive.build_later(place, flink_java(), libraries, [listed]).wait(120) == 0
    assert place.exists()
    assert not listed.exists()
    assert not old.exists()
    assert list(place.parent.glob("*.classes")) == list(place.parent.glob("*.new")) == []
    assert archive.options(place, listed) == ["-Xshare:auto", f"-XX:SharedArchiveFile={place}"]
    command = [flink_java(), "-Xshare:on", f"-XX:SharedArchiveFile={place}", "-cp", ":".join(map(str, libraries))]
    loaded = subprocess.run(
        [*command, "-Xlog:class+load", "org.apache.flink.configuration.Configuration"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    ).stdout
    assert "org.apache.flink.configuration.Configuration source: shared objects file" in loaded


def test_without_an_archive_java_lists_its_classes(tmp_path, listed):
    place = archive.place(flink_java(), [], tmp_path / "cache")
    assert archive.options(place, listed) == [f"-XX:DumpLoadedClassList={listed}"]
    assert archive.options(None, listed) == []


def test_a_cluster_that_ran_no_job_is_not_archived(tmp_path, listed):
    place = archive.place(flink_java(), [], tmp_path / "cache")
    listed.write_text("java/lang/Object id: 0\n")
    assert archive.build_later(place, flink_java(), [], [listed]) is None
    assert not listed.exists()
    assert archive.build_later(place, flink_java(), [], [listed]) is None


def test_an_archive_belongs_to_its_jars(tmp_path):
    jar = tmp_path / "a.jar"
    jar.write_bytes(b"1")
    one = archive.place(flink_java(), [jar], tmp_path / "cache")
    assert archive.place(flink_java(), [jar], tmp_path / "cache") == one
    jar.write_bytes(b"22")
    assert archive.place(flink_java(), [jar], tmp_path / "cache") not in (None, one)
    assert archive.place(flink_java(), [tmp_path / "missing.jar"], tmp_path / "cache") is None


def test_a_folder_that_others_can_write_to_is_not_used(tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    assert archive.place(flink_java(), [], tmp_path / "cache") is None


def test_a_dump_that_fails_leaves_nothing(tmp_path, listed, capsys):
    place = tmp_path / "flink-x.jsa"
    assert not archive.build(place, "/bin/false", "", listed)
    assert "no archive of Java's classes" in capsys.readouterr().err
    assert not list(tmp_path.glob("flink-x*"))
    assert not listed.exists()
