"""Members of Hazelcast that are started here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from jetbridge.errors import ClusterError
from jetbridge.hazelcast_members import Member
from jetbridge.processes import LOOPBACK, free_ports

COMMAND = [sys.executable, "-m", "jetbridge", "hazelcast", "start"]


@pytest.fixture(scope="module")
def member():
    with Member(memory=128) as member:
        yield member


def test_a_member_listens_on_the_loopback_address_alone(member):
    addresses = {each.laddr.ip for each in psutil.Process(member.process.pid).net_connections()}
    assert addresses == {LOOPBACK}
    assert member.address == f"{LOOPBACK}:{member.port}"
    assert "phone home" not in member.said().lower()


def test_a_port_that_is_taken_is_told(member):
    other = Member(port=member.port, memory=128)
    with pytest.raises(ClusterError, match=f"could not be started on port {member.port}"):
        other.wait_until_started()
    other.kill()


def test_a_java_that_does_not_fit(tmp_path):
    executable = tmp_path / "bin" / "java"
    executable.parent.mkdir()
    executable.touch(0o755)
    (tmp_path / "release").write_text('JAVA_VERSION="11.0.2"\n')
    with pytest.raises(ClusterError, match=r"Hazelcast needs Java 17 or 21, and .* is Java 11"):
        Member(java_home=tmp_path)


def test_the_command_starts_one_until_ctrl_c(until, gone, tmp_path):
    [port] = free_ports(1)
    command = [*COMMAND, "--port", str(port), "--memory", "128", "--cluster-name", "mine"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        [member] = psutil.Process(process.pid).children()
        expected = {"cluster_name": "mine", "cluster_members": [f"{LOOPBACK}:{port}"]}
        assert line == f"jetbridge.connect(hazelcast={expected})\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
        assert "Ctrl-C ends it" in process.stderr.read()
    gone(member.pid)


def test_the_command_tells_what_went_wrong(member, tmp_path):
    command = [*COMMAND, "--port", str(member.port), "--memory", "128"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert f"could not be started on port {member.port}" in done.stderr
    assert "Traceback" not in done.stderr.partition("\n")[0]


def test_it_ends_in_order_and_once():
    with Member(memory=128) as member:
        pass
    assert member.process.returncode is not None
    member.stop()
