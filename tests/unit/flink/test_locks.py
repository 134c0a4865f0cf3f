from __future__ import annotations

import os
import subprocess
import sys

import pytest

from jetbridge.errors import ClusterError
from jetbridge_flink.locks import FileLock

HOLD = """
import sys
from pathlib import Path
from jetbridge_flink.locks import FileLock
lock = FileLock(Path(sys.argv[1]))
print(lock.take(shared=sys.argv[2] == "shared"), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that takes a lock and keeps it."""
    started = []

    def start(kind):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path / "lock"), kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "True\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_lock_ends_with_the_process_that_was_killed(tmp_path, holder):
    other = holder("exclusive")
    lock = FileLock(tmp_path / "lock")
    assert not lock.take()
    assert not lock.take(shared=True)
    other.kill()
    other.wait(10)
    assert lock.take()
    lock.close()


def test_shared_locks_are_shared(tmp_path, holder):
    other = holder("shared")
    lock = FileLock(tmp_path / "lock")
    assert not lock.take()
    assert lock.take(shared=True)
    lock.give_back()
    other.kill()
    other.wait(10)
    assert lock.take()
    lock.close()
    assert not lock.take()


def test_a_forked_child_does_not_hold_it(tmp_path):
    """Otherwise the lock would outlive its holder by every process that this one has forked."""
    lock, other = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert lock.take(shared=True)
    read, write = os.pipe()
    up, tell = os.pipe()
    child = os.fork()
    if not child:
        os.close(write)
        os.write(tell, b"x")
        os.read(read, 1)
        os._exit(0)
    os.close(read)
    try:
        assert os.read(up, 1) == b"x"
        assert not other.take()
        lock.close()
        assert other.take()
    finally:
        for each in (write, up, tell):
            os.close(each)
        os.waitpid(child, 0)
        other.close()


def test_a_lock_that_nobody_refers_to_is_given_back(tmp_path):
    assert FileLock(tmp_path / "lock").take()
    lock = FileLock(tmp_path / "lock")
    assert lock.take()
    lock.close()


def test_a_file_that_cannot_be_made(tmp_path):
    with pytest.raises(ClusterError, match="cannot be opened: No such file"):
        FileLock(tmp_path / "no" / "lock")
