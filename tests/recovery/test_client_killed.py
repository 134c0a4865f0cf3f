"""A client that is killed, alone or with its worker: another one finds its job suspended and goes on."""

from __future__ import annotations

import contextlib
import signal

import psutil
import pytest
from halting import halt
from recovery_pipelines import COUNT, batch, batch_outputs, check_batch, comparable, stream_expected, stream_outputs

from jetbridge import JobStatus

DEADLINE = 120.0
BATCH = """
with connect() as client:
    job = client.get_jet().new_job_if_absent(recovery_pipelines.batch({to!r}, files), config({to!r}))
    job.join()
"""
STREAM = """
client = connect()
job = client.get_jet().new_job_if_absent(recovery_pipelines.stream({to!r}, files), config({to!r}))
job.join()
"""


class Clients:
    """Client scripts of one job, killed one after the other."""

    def __init__(self, client, begin, family, chance, until, source, to):
        self.registry = client._session.registry
        self.begin, self.family, self.chance, self.until = begin, family, chance, until
        self.source, self.to = source.format(to=to), to
        self.killed = 0

    @property
    def record(self):
        return self.registry.by_name(self.to)

    def ended(self):
        return self.record is not None and self.record.status in ("COMPLETED", "FAILED")

    def strike(self, *, both):
        """Begin a script and kill it once its job has committed; with its worker, in any order, when asked."""
        before = 0 if self.record is None else self.record.commits
        script = self.begin(self.source)
        self.until(lambda: self.ended() or (self.record is not None and self.record.commits > before), "a commit")
        pause = self.chance.uniform(0, 0.4)
        with contextlib.suppress(TimeoutError):
            wait(script, pause)
        processes = self.family(script) if both else self.family(script)[:1]
        self.chance.shuffle(processes)
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        script.wait()
        self.killed += 1


def wait(script, seconds):
    import subprocess

    with contextlib.suppress(subprocess.TimeoutExpired):
        script.wait(seconds)


@pytest.fixture
def clients(client, begin, family, chance, until):
    return lambda source, to: Clients(client, begin, family, chance, until, source, to)


def finish(clients, both, kills):
    while clients.killed < kills and not clients.ended():
        clients.strike(both=both)
    assert clients.killed >= 2
    last = clients.begin(clients.source)
    assert last.wait(DEADLINE) == 0


@pytest.mark.parametrize("both", [False, True], ids=["client", "both"])
def test_a_batch_script_is_simply_run_again(client, jet, clients, folder, counts, undisturbed, both):
    to = f"again-{both}-"
    finish(clients(BATCH, to), both, 4)
    assert batch_outputs(client, to, folder) == undisturbed[0]
    [job] = jet.get_jobs(to)
    assert counts(job) == undisturbed[1]


@pytest.mark.full
@pytest.mark.parametrize("round_", range(6))
def test_many_batch_scripts(client, jet, clients, folder, counts, undisturbed, round_):
    to = f"scripts-{round_}-"
    finish(clients(BATCH, to), bool(round_ % 2), 6)
    assert batch_outputs(client, to, folder) == undisturbed[0]
    [job] = jet.get_jobs(to)
    assert counts(job) == undisturbed[1]


@pytest.mark.parametrize("both", [False, True], ids=["client", "both"])
def test_a_stream_script_is_simply_run_again(client, jet, clients, folder, counts, until, both):
    to = f"flow-{both}-"
    events, script = client.get_stream(to), clients(STREAM, to)
    for kill in range(3):
        events.publish_all(range(kill * 1_000, kill * 1_000 + 1_000))
        script.strike(both=both)
    job = jet.get_job_by_name(to)
    assert job.status is JobStatus.SUSPENDED
    job.resume()
    until(lambda: len(stream_outputs(client, to, folder)["file"]) >= 3_000, "the last part")
    job.suspend()
    assert comparable(stream_outputs(client, to, folder)) == stream_expected(3_000)
    assert counts(job)["events"] == (0, 3_000)
    job.cancel()


def test_a_client_that_lives_resumes_the_job_of_one_that_died(client, jet, clients, folder, counts, undisturbed):
    to = "heir-"
    clients(BATCH, to).strike(both=False)
    job = jet.get_job_by_name(to)
    assert job.status is JobStatus.SUSPENDED
    assert "has died" in job.suspension_cause
    job.resume()
    job.join(DEADLINE)
    assert batch_outputs(client, to, folder) == undisturbed[0]
    assert counts(job) == undisturbed[1]


def test_an_orphaned_worker_writes_nothing(client, jet, begin, family, folder, until, config):
    """Stopped with its fork server when its client dies, it wakes when another client has the job."""
    to = "orphan-"
    script = begin(
        f"""
        client = connect()
        pipeline = recovery_pipelines.batch({to!r}, files, external=False)
        client.get_jet().submit(pipeline, config({to!r})).join()
        """
    )
    registry = client._session.registry
    until(lambda: registry.by_name(to) is not None and registry.by_name(to).commits >= 2)
    owner, *others = family(script)
    halt(others)
    owner.kill()
    script.wait()
    job = jet.get_job_by_name(to)
    until(lambda: job.status is JobStatus.SUSPENDED)
    job.resume()
    until(lambda: registry.get(job.id).commits >= 4 or job.is_terminal())
    for process in reversed(others):  # the worker before the server that would kill it
        process.resume()
    job.join(DEADLINE)
    check_batch(batch_outputs(client, to, folder, external=False), COUNT)
    _, alive = psutil.wait_procs(others, timeout=30)
    assert alive == [], "nothing of the dead client runs on"


def test_a_job_that_was_cancelled_meanwhile_is_not_resumed(client, jet, clients, folder):
    script = clients(BATCH, "gone-")
    script.strike(both=True)
    job = jet.get_job_by_name("gone-")
    job.cancel()
    assert job.is_user_cancelled
    second = jet.new_job_if_absent(batch("gone-", folder, 300), job.config)
    assert second.id != job.id
    second.join(DEADLINE)
