"""What the recovery tests share: seeds that rotate, a data folder, killers."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

import jetbridge
from jetbridge import JobConfig, ProcessingGuarantee

FOLDER = str(Path(__file__).parent)
if FOLDER not in sys.path:
    sys.path.append(FOLDER)

import recovery_pipelines  # noqa: E402 - found by the line above
from remote_flink import RemoteFlink  # noqa: E402

DEADLINE = 120.0
TODAY = datetime.date.today().toordinal()
SEED = int(os.environ.get("RECOVERY_SEED", TODAY))
"""Another one each day; RECOVERY_SEED repeats one that failed (names with JETBRIDGE_ are settings)."""


def pytest_report_header():
    return f"recovery: RECOVERY_SEED={SEED}"


def until(condition, what="the condition", deadline=DEADLINE):
    end = time.monotonic() + deadline
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} never came true"
        time.sleep(0.01)
    return value


@pytest.fixture
def chance(request):
    """Chance that is the same for a test and a seed, and another one tomorrow."""
    text = f"{SEED}:{request.node.name}"
    print(f"chance: RECOVERY_SEED={SEED} {request.node.name}")
    return random.Random(text)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder with a data folder in it and the files that pipelines read and write."""
    return str(tmp_path_factory.mktemp("recovery"))


@pytest.fixture(scope="session")
def home(folder):
    return Path(folder) / "home"


@pytest.fixture(scope="session")
def client(folder, home):
    with jetbridge.connect(home=home, parallelism=1, shards=16) as client:
        recovery_pipelines.prepare(client, folder)
        yield client


@pytest.fixture(scope="session")
def jet(client):
    return client.get_jet()


@pytest.fixture
def config(request):
    """A config with a name of its own and a guarantee."""

    def make(name, **fields):
        fields.setdefault("processing_guarantee", ProcessingGuarantee.EXACTLY_ONCE)
        fields.setdefault("snapshot_interval_millis", 300)
        return JobConfig(name=name, **fields)

    return make


def counts(job):
    """How many items each stage received and emitted."""
    stages = job.get_metrics().stages
    return {name: (stage.received_count, stage.emitted_count) for name, stage in stages.items()}


@pytest.fixture(name="counts")
def counts_():
    """Gives a job's counts by stage."""
    return counts


@pytest.fixture(scope="session")
def undisturbed(client, jet, folder):
    """The outputs and counts of the batch pipeline when nobody disturbs it."""
    job = jet.submit(
        recovery_pipelines.batch("calm-", folder),
        JobConfig(name="calm", processing_guarantee=ProcessingGuarantee.EXACTLY_ONCE),
    )
    job.join(DEADLINE)
    found = recovery_pipelines.batch_outputs(client, "calm-", folder)
    recovery_pipelines.check_batch(found)
    return found, counts(job)


def worker_of(client, job):
    """The process id of a job's worker, or None when there is none just now."""
    execution = client._session.jobs.get(job.id)
    return None if execution is None else execution.pid


def kill(pid):
    """SIGKILL; False when the process is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def family(process):
    """A client script's processes: itself, its fork server, its workers."""
    with contextlib.suppress(psutil.NoSuchProcess):
        client = psutil.Process(process.pid)
        return [client, *client.children(recursive=True)]
    return []


@pytest.fixture(name="family")
def family_():
    """Gives a client script's processes."""
    return family


class Killer:
    """Kills workers at random moments, each after it has committed something, so that its job goes on."""

    def __init__(self, client, chance):
        self.client = client
        self.chance = chance
        self.kills = 0

    def commits(self, job):
        return self.client._session.registry.get(job.id).commits

    def strike(self, job, most_seconds=0.6):
        """Kill the worker once it has committed; False when the job ended before that."""
        before = self.commits(job)
        until(lambda: job.is_terminal() or self.commits(job) > before, "a commit")
        end = time.monotonic() + self.chance.uniform(0, most_seconds)
        while time.monotonic() < end and not job.is_terminal():
            time.sleep(0.002)
        pid = worker_of(self.client, job)
        if job.is_terminal() or pid is None or not kill(pid):
            return False
        self.kills += 1
        until(lambda: worker_of(self.client, job) != pid, "the end of the worker")
        return True


@pytest.fixture
def killer(client, chance):
    killer = Killer(client, chance)
    yield killer
    print(f"{killer.kills} kills")


@pytest.fixture
def cancelled(jet):
    """Cancels the jobs that a test leaves."""
    jobs = []
    yield jobs.append
    for job in jobs:
        if not job.is_terminal():
            job.cancel()


PREAMBLE = """
import os, sys, time
sys.path.append({folder!r})
import recovery_pipelines
import jetbridge
from jetbridge import JobConfig, ProcessingGuarantee

config = lambda name: JobConfig(
    name=name, processing_guarantee=ProcessingGuarantee.EXACTLY_ONCE, snapshot_interval_millis=300
)
files = {files!r}
connect = lambda: jetbridge.connect(home={home!r}, parallelism=1, shards=16)
"""


@pytest.fixture
def begin(tmp_path, folder, home):
    """Begins a script in a process of its own, with what is above ready."""
    begun = []

    def begin(source, *, home=home, **environment):
        path = tmp_path / f"script{len(begun)}.py"
        path.write_text(PREAMBLE.format(folder=FOLDER, files=folder, home=str(home)) + textwrap.dedent(source))
        with open(tmp_path / f"out{len(begun)}", "wb") as output:  # a pipe that nobody reads fills up
            process = subprocess.Popen(
                [sys.executable, str(path)],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture(scope="session")
def flink(tmp_path_factory):
    """A cluster that was started apart from jetbridge, with Beam's runner in its class path."""
    cluster = RemoteFlink(tmp_path_factory.mktemp("remote") / "cluster", beam=True)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """The folder of checkpoints that the cluster and the clients share."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture
def pool(tmp_path):
    """A worker pool as one starts it by hand, where no terminal is."""
    command = [sys.executable, "-m", "jetbridge_flink.worker_pool", "--stay", "--logs", str(tmp_path / "logs")]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=tmp_path)
    assert process.stdout is not None
    try:
        yield f"localhost:{json.loads(process.stdout.readline())['port']}"
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
