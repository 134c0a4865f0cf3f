from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import psutil
import pytest
from typer.testing import CliRunner

import jetbridge
from jetbridge import JobConfig, Pipeline
from jetbridge.cli import app
from jetbridge.errors import JobFailedError

DEADLINE = 60.0
COMMAND = [sys.executable, "-m", "jetbridge"]


@dataclass
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def cli():
    """Run a command in this process."""

    def cli(*arguments, code=0):
        result = CliRunner().invoke(app, [str(each) for each in arguments])
        assert result.exit_code == code, (result.output, result.stderr, result.exception)
        assert "Traceback" not in result.stderr
        return Result(result.exit_code, result.stdout, result.stderr)

    return cli


@pytest.fixture(scope="session")
def ended(tmp_path_factory):
    """A data folder with jobs that have ended: one that printed, one that failed, and one without a name."""
    home = tmp_path_factory.mktemp("cli") / "home"

    def speak(item):
        print(f"item {item}", flush=True)
        return item

    def parse(text):
        return int(text)

    with jetbridge.connect(home=home, parallelism=1) as client:
        for name, function, items in (
            ("speaker", speak, [1, 2, 3]),
            ("parser", parse, ["1", "zwei"]),
            (None, str, range(1000)),
        ):
            pipeline = Pipeline.create()
            source = pipeline.read_from(Pipeline.from_list("items", items))
            source.map(function).set_name("step").write_to(Pipeline.to_list("results"))
            job = client.get_jet().submit(pipeline, JobConfig(name=name))
            try:
                job.join(timeout=DEADLINE)
            except JobFailedError:
                assert name == "parser"
    return home


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


SERVICE = """
import os, sys, time
import jetbridge
from jetbridge import JobConfig, Pipeline, ProcessingGuarantee
from jetbridge.connectors import Source

class Numbers(Source):
    '''0 to 99,999: 300 at once, then one after the other, and when the gate is open all the others.'''

    def partitions(self):
        return ["0"]

    def read(self, partition, offset, limit):
        start = offset or 0
        count = 100
        if start >= 300:
            time.sleep(0.02)
            count = 50_000 if os.path.exists({folder!r} + "/open") else 1
        end = min(start + count, 100_000)
        return list(range(start, end)), end if end < 100_000 else None

    def size(self, partition):
        return 100_000

    def position(self, partition, offset):
        return offset or 0

def gated(function=int, name="service", processing_guarantee="EXACTLY_ONCE", **more):
    pipeline = Pipeline.create()
    pipeline.read_from(Numbers("numbers")).map(function).set_name("step").write_to(Pipeline.to_list("results"))
    config = JobConfig(name=name, processing_guarantee=processing_guarantee, **more)
    return client.get_jet().submit(pipeline, config)

def speak(item):
    if item in (0, 99_999):
        print("item", item, flush=True)
    return item

def fail(item):
    return 1 // (item - 99_999)

client = jetbridge.connect()
"""


@pytest.fixture
def gate(tmp_path):
    """What the jobs of `service` wait for, once it is touched."""
    folder = tmp_path / "gate"
    folder.mkdir()
    yield folder / "open"
    (folder / "open").touch()


@pytest.fixture
def start(tmp_path, home):
    """Start a command in a process of its own."""
    begun = []

    def start(*arguments, **options):
        process = subprocess.Popen(
            [*COMMAND, *(str(each) for each in arguments)],
            cwd=tmp_path,
            env={**os.environ, "JETBRIDGE_HOME": str(home), "JETBRIDGE_PARALLELISM": "1"},
            **{
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "text": True,
                "start_new_session": True,
                **options,
            },
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def finish():
    """Wait for the end of a process."""

    def finish(process, code=0):
        out, err = process.communicate(timeout=DEADLINE)
        assert process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
        return Result(process.returncode, out, err)

    return finish


@pytest.fixture
def run(start, finish):
    """Run a command in a process of its own to its end."""

    def run(*arguments, code=0):
        return finish(start(*arguments), code)

    return run


@pytest.fixture
def program(tmp_path, gate):
    """Write a script that has `gated`, to be submitted."""

    def program(source, name="program.py", plain=False):
        head = "" if plain else SERVICE.format(folder=str(gate.parent))
        (tmp_path / name).write_text(head + textwrap.dedent(source))
        return tmp_path / name

    return program


@pytest.fixture
def service(program, start, cli, home, until):
    """Start a job in a process of its own, and wait until it runs."""

    def service(source="gated().join()", name="service"):
        process = start("submit", program(source))
        until(lambda: process.poll() is not None or works(cli, home, name), "a job at work")
        assert process.poll() is None, process.communicate()
        return process

    return service


def status(cli, home, name):
    listed = cli("list", "--all", "--json", "--home", home).json
    return next((job["status"] for job in listed if job["name"] == name), None)


def works(cli, home, name):
    """Whether a job runs and has committed something."""
    if status(cli, home, name) != "RUNNING":
        return False
    return cli("metrics", name, "--json", "--home", home).json["emitted_count"] >= 300


@pytest.fixture
def status_of(cli, home):
    """The status of the newest job of a name."""
    return lambda name="service": status(cli, home, name)


@pytest.fixture
def suspended(service, status_of, until):
    """A job whose process was killed: it is SUSPENDED."""

    def suspended(source="gated().join()"):
        process = service(source)
        workers = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(DEADLINE)
        psutil.wait_procs(workers, DEADLINE)
        until(lambda: status_of() == "SUSPENDED", "the end of its client")

    return suspended
