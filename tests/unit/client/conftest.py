from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
import time

import pytest

import jetbridge
from jetbridge import Pipeline, StreamSource

DEADLINE = 60.0


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

    def __init__(self, folder, until):
        self._folder = str(folder)
        self._until = until

    def __reduce__(self):  # it travels with the job, and there it only waits
        return Gate, (self._folder, None)

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
        return self._until(lambda: len(self.pids) >= count and self.pids[count - 1], "a worker at the gate")


@pytest.fixture
def gate(tmp_path, until):
    folder = tmp_path / "gate"
    folder.mkdir()
    gate = Gate(folder, until)
    yield gate
    gate.open()


PREAMBLE = """
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

def summing():
    pipeline = Pipeline.create()
    numbers = pipeline.read_from(jetbridge.StreamSource("numbers"))
    running = numbers.rolling_aggregate(accumulator=lambda total, n: total + n, initial=0)
    running.write_to(Pipeline.to_list("sums"))
    return pipeline
"""


@pytest.fixture
def begin(tmp_path, home, start):
    """Begin a script in a process of its own, with what is above ready."""

    def begin(source, **options):
        return start(
            PREAMBLE.format(folder=str(tmp_path / "gate")) + textwrap.dedent(source),
            env={"JETBRIDGE_HOME": str(home), "JETBRIDGE_PARALLELISM": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )

    return begin


@pytest.fixture
def summing():
    """A pipeline that adds up a stream's numbers, as that of scripts."""

    def summing(to="sums", add=lambda total, n: total + n):
        pipeline = Pipeline.create()
        running = pipeline.read_from(StreamSource("numbers")).rolling_aggregate(accumulator=add, initial=0)
        running.write_to(Pipeline.to_list(to))
        return pipeline

    return summing


@pytest.fixture
def sums(until):
    """Wait for so many sums, and give them."""

    def sums(client, count):
        until(lambda: client.get_list("sums").size() >= count, f"{count} sums")
        return client.get_list("sums").get_all()

    return sums


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Make modules that lie in a folder of the path; they are forgotten afterwards."""
    before = set(sys.modules)

    def make(folder="folder", **sources):
        for name, source in sources.items():
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{name}.py").write_text(textwrap.dedent(source))
        monkeypatch.setattr(sys, "path", [str(tmp_path / folder), *sys.path])
        importlib.invalidate_caches()
        return [importlib.import_module(name) for name in sources]

    yield make
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
