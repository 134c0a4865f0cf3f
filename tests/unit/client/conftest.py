from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

import jetbridge
from jetbridge import Pipeline

DEADLINE = 60.0


def until(condition, what="the condition"):
    deadline = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} never came true"
        time.sleep(0.01)
    return value


@pytest.fixture(name="until")
def until_():
    """Wait for a condition, and give what it returned."""
    return until


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def client(home):
    with jetbridge.connect(home=home, parallelism=1) as client:
        yield client


@pytest.fixture
def jet(client):
    return client.get_jet()


@pytest.fixture
def pipeline():
    """A pipeline that writes to a list."""

    def make(function=lambda item: item, items=(1, 2, 3), to="results"):
        pipeline = Pipeline.create()
        pipeline.read_from(Pipeline.from_list("items", items)).map(function).write_to(Pipeline.to_list(to))
        return pipeline

    return make


class Gate:
    """A function of a job waits in it until the test opens it."""

    def __init__(self, folder):
        self._folder = str(folder)

    def __call__(self, item):
        with open(f"{self._folder}/pids", "a") as file:
            file.write(f"{os.getpid()}\n")
        deadline = time.monotonic() + DEADLINE
        while not os.path.exists(f"{self._folder}/open"):
            if time.monotonic() > deadline:
                raise TimeoutError("nobody opened the gate")
            time.sleep(0.005)
        return item

    def open(self):
        with open(f"{self._folder}/open", "w"):
            pass

    @property
    def pids(self):
        """The workers that have come to the gate."""
        try:
            with open(f"{self._folder}/pids") as file:
                return [int(line) for line in file.read().split()]
        except FileNotFoundError:
            return []

    def reached(self, count=1):
        """Wait until so many workers have come; the last one's process id."""
        return until(lambda: len(self.pids) >= count and self.pids[count - 1], "a worker at the gate")


@pytest.fixture
def gate(tmp_path):
    folder = tmp_path / "gate"
    folder.mkdir()
    gate = Gate(folder)
    yield gate
    gate.open()


GATED = """
import os, sys, time, threading
import jetbridge
from jetbridge import JobConfig, Pipeline

FOLDER = {folder!r}

def wait(item):
    with open(FOLDER + "/pids", "a") as file:
        file.write(str(os.getpid()) + chr(10))
    while not os.path.exists(FOLDER + "/open"):
        time.sleep(0.005)
    return item

def gated(to="results"):
    pipeline = Pipeline.create()
    pipeline.read_from(Pipeline.from_list("items", [1, 2, 3])).map(wait).write_to(Pipeline.to_list(to))
    return pipeline

def reached():
    while not os.path.exists(FOLDER + "/pids"):
        time.sleep(0.005)
"""


@pytest.fixture
def begin(tmp_path, home):
    """Begin a script in a process of its own, with ``gated()`` for a pipeline whose job waits for the gate."""
    begun = []

    def begin(source, **options):
        path = tmp_path / f"script{len(begun)}.py"
        path.write_text(GATED.format(folder=str(tmp_path / "gate")) + textwrap.dedent(source))
        environment = {**os.environ, "JETBRIDGE_HOME": str(home), "JETBRIDGE_PARALLELISM": "1"}
        process = subprocess.Popen(
            [sys.executable, str(path)],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def gone():
    """Wait until a process does not run any more."""

    def gone(pid):
        def ended():
            try:
                return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
            except psutil.NoSuchProcess:
                return True

        until(ended, f"the end of process {pid}")

    return gone
