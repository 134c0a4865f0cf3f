"""Workers that live on after their job has gone to another one, and hold what that one needs."""

from __future__ import annotations

import time

import psutil
from halting import halt
from recovery_pipelines import HELD, HOLD, ROB, check_files, files

from jetbridge import JobStatus

DEADLINE = 120.0


def test_a_stopped_worker_does_not_keep_its_staged_files(client, jet, begin, family, folder, until, tmp_path):
    """It has them open and locked, for as long as it is stopped; the job goes on without it, and it harms nothing."""
    to = "locked-"
    script = begin(
        f"""
        client = connect()
        client.get_jet().submit(recovery_pipelines.files({to!r}, files), config({to!r})).join()
        """,
        **{HOLD: str(tmp_path)},
    )
    until((tmp_path / "held").exists)
    owner, *others = family(script)
    halt(others)
    owner.kill()
    script.wait()
    registry = client._session.registry
    assert registry.by_name(to).commits >= 1
    job = jet.get_job_by_name(to)
    until(lambda: job.status is JobStatus.SUSPENDED)
    assert "has died" in job.suspension_cause
    begun = time.monotonic()
    job.resume()
    job.join(DEADLINE)
    assert {process: process.status() for process in others} == dict.fromkeys(others, psutil.STATUS_STOPPED)
    check_files(client, to, folder)
    assert job.get_metrics().stages["file"].received_count == 2 * HELD
    print(f"the job went on and ended in {time.monotonic() - begun:.1f} s")
    for process in reversed(others):  # the worker before the server that would kill it
        process.resume()
    _, alive = psutil.wait_procs(others, timeout=30)
    assert alive == [], "nothing of the dead client runs on"
    check_files(client, to, folder)


def test_a_worker_that_fails_after_it_has_lost_its_job_removes_nothing(client, jet, home, folder, config, monkeypatch):
    """What it has staged belongs to the next owner, whatever the first one says."""
    with monkeypatch.context() as patch:
        patch.setenv(ROB, str(home))
        job = jet.submit(files("robbed-", folder), config("robbed"))
        execution = client._session.jobs.get(job.id)
        assert execution.wait(DEADLINE)
    registry = client._session.registry
    assert registry.get(job.id).status == "RUNNING"
    assert registry.get(job.id).commits >= 1
    registry.update(job.id, status="SUSPENDED", owner=None)  # as who finds the other owner dead does
    job.resume()
    job.join(DEADLINE)
    check_files(client, "robbed-", folder)
