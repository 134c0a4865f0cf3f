"""Clients that die, and jobs that several processes want."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

import jetbridge
from jetbridge import JobCancelledError, JobConfig, JobStatus
from jetbridge.jobs import ownership

DEADLINE = 60.0


def test_a_killed_client_takes_everything_with_it_and_its_job_is_found_suspended(home, begin, gate, gone):
    script = begin("""
        client = jetbridge.connect()
        job = client.get_jet().submit(gated(), JobConfig(name="orders"))
        job.join()
        """)
    gate.reached()
    children = psutil.Process(script.pid).children(recursive=True)
    assert len(children) >= 2, "the fork server and a worker"
    with jetbridge.connect(home=home) as client:
        job = client.get_jet().get_job_by_name("orders")
        assert job.status is JobStatus.RUNNING, "its owner lives"
        script.kill()
        script.wait()
        for child in children:
            gone(child.pid)
        assert job.status is JobStatus.SUSPENDED
        assert job.suspension_cause == f"its client, process {script.pid}, has died"
        assert not job.is_terminal()
        job.cancel()
        assert job.suspension_cause is None
        with pytest.raises(JobCancelledError):
            job.join(DEADLINE)
        assert client.get_list("results").get_all() == []


def test_many_readers_suspend_it_once(home, begin, gate):
    script = begin("""
        job = jetbridge.connect().get_jet().submit(gated(), JobConfig(name="orders"))
        job.join()
        """)
    gate.reached()
    script.kill()
    script.wait()
    readers = [begin("print([str(job.status) for job in jetbridge.connect().get_jet().get_jobs()])") for _ in range(3)]
    for reader in readers:
        out, err = reader.communicate(timeout=DEADLINE)
        assert out == "['SUSPENDED']\n", err


def test_join_from_another_process(home, begin, gate):
    owner = begin("""
        with jetbridge.connect() as client:
            client.get_jet().submit(gated(), JobConfig(name="orders")).join()
        """)
    gate.reached()
    with jetbridge.connect(home=home) as client:
        job = client.get_jet().get_job_by_name("orders")
        with pytest.raises(jetbridge.TimeoutException):
            job.join(0.1)
        gate.open()
        job.join(DEADLINE)
        assert client.get_list("results").get_all() == [1, 2, 3]
    assert owner.wait(DEADLINE) == 0


def test_two_processes_want_one_job(home, begin, gate):
    source = """
        with jetbridge.connect() as client:
            client.get_list("ready").add(os.getpid())
            while client.get_list("ready").size() < 2:
                time.sleep(0.001)
            job = client.get_jet().new_job_if_absent(gated(), JobConfig(name="orders"))
            print(job.id, flush=True)
            job.join()
        """
    scripts = [begin(source) for _ in range(2)]
    ids = [script.stdout.readline() for script in scripts]
    assert ids[0].strip()
    assert ids[0] == ids[1]
    gate.open()
    for script in scripts:
        assert script.wait(DEADLINE) == 0
    with jetbridge.connect(home=home) as client:
        assert client.get_list("results").get_all() == [1, 2, 3]
        assert [job.id for job in client.get_jet().get_jobs()] == [ids[0].strip()]


def test_two_threads_want_one_job(jet, pipeline, gate):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        jobs = list(pool.map(lambda _: jet.new_job_if_absent(pipeline(gate), JobConfig(name="orders")), range(4)))
    assert len({job.id for job in jobs}) == 1
    gate.open()
    jobs[0].join(DEADLINE)


def test_a_zombie_is_dead_and_an_id_may_be_used_again():
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    try:
        deadline = time.monotonic() + DEADLINE
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        owner = ownership.claim()
        assert ownership.is_alive(owner)
        assert not ownership.is_alive({**owner, "pid": process.pid})
    finally:
        process.wait()
    assert not ownership.is_alive({**owner, "pid": process.pid})
    assert not ownership.is_alive({**owner, "started": "before"})
    assert ownership.claim()["token"] != owner["token"]
