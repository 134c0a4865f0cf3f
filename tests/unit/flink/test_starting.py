"""What happens when a cluster cannot be started, and what a killed keeper has left behind."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from jetbridge.errors import ClusterError
from jetbridge.jobs.ownership import started
from jetbridge_flink import starting
from jetbridge_flink.cluster import Cluster
from jetbridge_flink.layout import Layout


@pytest.fixture
def failing_java(tmp_path):
    """A JDK whose Java says something and ends; it counts how often it was started."""

    def make(says, end="exit 1"):
        executable = tmp_path / "jdk" / "bin" / "java"
        executable.parent.mkdir(parents=True)
        executable.write_text(f"#!/bin/sh\necho started >> {tmp_path}/starts\necho '{says}' >&2\n{end}\n")
        executable.chmod(0o755)
        (tmp_path / "jdk" / "release").write_text('JAVA_VERSION="17.0.9"\n')
        return tmp_path / "jdk"

    return make


@pytest.mark.parametrize(
    ("says", "end", "expected", "attempts"),
    [
        ("Error: the sky is falling", "exit 3", r"ended with exit code 3\. The last .*\n.*sky is falling", 1),
        (
            "There is insufficient memory for Java",
            "exit 1",
            r"ended with exit code 1: there is not enough memory for it",
            1,
        ),
        ("java.net.BindException: Address already in use", "exit 1", "ended with exit code 1: no port could be had", 3),
        ("a crash", "kill -SEGV $$", r"was killed by signal 11 \(SIGSEGV\)", 1),
    ],
)
def test_flink_that_does_not_start(tmp_path, failing_java, gone, says, end, expected, attempts):
    home = tmp_path / "home"
    with pytest.raises(ClusterError, match=rf"(?s)Flink could not be started, its \w+manager {expected}"):
        Cluster.lease(home, slots=1, java_home=failing_java(says, end))
    status = Layout(home).read_status()
    gone(status["keeper"]["pid"])
    for child in status["children"].values():
        gone(child["pid"])
    assert attempts <= (tmp_path / "starts").read_text().count("started") <= 2 * attempts


def test_what_is_missing_is_said_before_anything_is_started(tmp_path, monkeypatch):
    with pytest.raises(ClusterError, match="no Java in"):
        Cluster.lease(tmp_path / "home", java_home=tmp_path)
    with pytest.raises(ClusterError, match=r"a Flink cluster with 100000 slots needs \d+ MB"):
        Cluster.lease(tmp_path / "home", slots=100_000)
    monkeypatch.setitem(sys.modules, "pyflink", None)
    with pytest.raises(ClusterError, match=r"Flink itself is not installed; run: pip install '.*\[flink\]"):
        Cluster.lease(tmp_path / "home")
    assert not (tmp_path / "home" / "flink" / "cluster.json").exists()


def test_folders_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ClusterError, match="cannot be made: Not a directory"):
        Cluster.lease(tmp_path / "file" / "home")
    for name in ("a,b", "a:b", "a${b}"):
        with pytest.raises(ClusterError, match=r"Flink cannot use the data folder .* has a '(,|:|\$\{)' in it; choose"):
            Cluster.lease(tmp_path / name)


def test_leftovers_are_ended_and_nothing_else():
    """As on systems that do not end the children of a process that was killed."""
    sleepers = [subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in range(2)]
    try:
        left, other = sleepers
        starting._end_leftovers(
            {
                "children": {
                    "jobmanager": {"pid": left.pid, "started": started(left.pid)},
                    "taskmanager": {"pid": other.pid, "started": "another process had that id then"},
                    "worker_pool": {"pid": 2**22 + 1, "started": "gone"},
                }
            }
        )
        assert not psutil.pid_exists(left.pid) or left.wait(10) is not None
        assert other.poll() is None
    finally:
        for each in sleepers:
            each.kill()
            each.communicate()
