"""suspend, restart, cancel, snapshot and live reading, while another process runs the job."""

from __future__ import annotations

import json
import subprocess

import jetbridge


def test_live_reading(service, cli, home, gate, start, finish, until):
    process = service("print('hello', flush=True); gated().join()")
    listed = cli("list", "--home", home).out.splitlines()
    assert listed[1].split()[1:3] == ["service", "RUNNING"]
    assert cli("show", "service", "--json", "--home", home).json["owner_pid"] == process.pid
    watching = start("metrics", "service", "--watch")
    lines = start("metrics", "service", "--watch", "--json")
    following = start("logs", "service", "--follow")
    first = json.loads(lines.stdout.readline())
    assert (first["name"], first["status"]) == ("service", "RUNNING")
    assert watching.poll() is None
    assert following.poll() is None
    gate.touch()
    assert finish(process).out == "hello\n"
    assert "100,000 read, 100,000 written" in finish(watching).out
    assert json.loads(finish(lines).out.splitlines()[-1])["emitted_count"] == 100_000
    finish(following)


def test_follow_shows_what_is_printed_meanwhile(service, start, finish, gate):
    process = service("gated(speak).join()")
    following = start("logs", "service", "--follow", "--json")
    assert json.loads(following.stdout.readline()) == {"line": "item 0"}
    assert following.poll() is None
    gate.touch()
    finish(process)
    assert finish(following).out.splitlines() == ['{"line": "item 99999"}']


def test_suspend_resume_and_the_rest(service, run, start, finish, cli, home, gate, until, status_of):
    """Suspended by one process, resumed by another, restarted by a third."""
    process = service()
    assert "is SUSPENDED" in run("suspend", "service").out
    assert process.poll() is None, "join waits on"
    assert "only a running job can be suspended" in run("suspend", "service", code=1).err
    assert "call resume()" in run("restart", "service", code=1).err
    resumed = start("resume", "service")
    until(lambda: status_of() == "RUNNING", "the resumed job")
    assert cli("show", "service", "--json", "--home", home).json["owner_pid"] == resumed.pid
    assert "only a suspended job" in run("resume", "service", code=1).err
    assert run("restart", "service", "--json").json["owner_pid"] == resumed.pid
    gate.touch()
    result = finish(resumed)
    assert "runs in this process. Ctrl-C suspends it" in result.err
    assert "is COMPLETED" in result.err
    finish(process)
    assert results(home) == list(range(100_000))


def test_cancel(service, run, finish, status_of):
    process = service()
    job = run("cancel", "service", "--json").json
    assert (job["status"], job["is_user_cancelled"]) == ("FAILED", True)
    assert "was cancelled" in finish(process, 4).err
    assert "cancelled by a user" in run("list", "--all").out


def test_snapshots(service, run, finish, program, gate):
    process = service()
    taken = run("snapshot", "service", "first", "--json").json
    assert list(taken) == ["name", "creation_time", "job_id", "job_name", "payload_size"]
    assert (taken["name"], taken["job_name"]) == ("first", "service")
    assert "snapshot 'second' of job 'service'" in run("snapshot", "service", "second").out
    assert [each["name"] for each in run("snapshots", "--json").json] == ["second", "first"]
    assert "a/b" in run("snapshot", "service", "a/b", code=1).err
    run("cancel", "service", "--snapshot", "third")
    finish(process, 4)
    lines = run("snapshots").out.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "third", "second", "first"]
    assert "'second' is destroyed" in run("snapshots", "--destroy", "second").out
    assert run("snapshots", "--destroy", "third", "--json").json == {"destroyed": "third"}
    assert [each["name"] for each in run("snapshots", "--json").json] == ["first"]
    gate.touch()
    run("submit", program("gated(initial_snapshot_name='first').join()"))


def test_steering_starts_no_worker_of_its_own(service, cli, home, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError(f"a process was started: {args}")

    service()
    monkeypatch.setattr(subprocess, "Popen", refuse)
    cli("suspend", "service", "--home", home)
    cli("snapshot", "service", "kept", "--home", home)
    assert "is FAILED" in cli("cancel", "service", "--home", home).out


def results(home):
    with jetbridge.connect(home=home) as client:
        return client.get_list("results").get_all()


def test_a_dead_owner_is_noticed(suspended, cli, home):
    suspended()
    [job] = cli("list", "--json", "--home", home).json
    assert "has died" in job["suspension_cause"]
    assert job["owner_pid"] is None
    assert "has died" in cli("suspend", "service", "--home", home, code=1).err
    assert "is FAILED" in cli("cancel", "service", "--home", home).out
