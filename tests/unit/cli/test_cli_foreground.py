"""resume and restart when no process runs the job: this one does, in the foreground."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys

import pytest

import jetbridge

RUNS = "runs in this process. Ctrl-C suspends it"


@pytest.mark.parametrize("command", ["resume", "restart"])
def test_it_stays_until_the_job_has_ended(suspended, run, gate, command, home):
    suspended()
    gate.touch()
    result = run(command, "service")
    assert RUNS in result.err
    assert "is COMPLETED" in result.err
    assert result.out == ""
    with jetbridge.connect(home=home) as client:
        assert client.get_list("results").get_all() == list(range(100_000)), "exactly once"


def test_json_is_all_that_is_on_stdout(suspended, run, gate):
    suspended("gated(speak).join()")
    gate.touch()
    result = run("resume", "service", "--json")
    assert result.json["status"] == "COMPLETED"
    assert "item 99999" in result.err


def test_ctrl_c_suspends(suspended, start, finish, gate, until, status_of, cli, home, run):
    suspended()
    process = start("resume", "service")
    until(lambda: status_of() == "RUNNING", "the resumed job")
    os.kill(process.pid, signal.SIGINT)
    assert "Traceback" not in finish(process, 130).err
    [job] = cli("list", "--json", "--home", home).json
    assert (job["status"], "KeyboardInterrupt" in job["suspension_cause"]) == ("SUSPENDED", True)
    gate.touch()
    run("resume", "service")
    with jetbridge.connect(home=home) as client:
        assert client.get_list("results").get_all() == list(range(100_000))


def test_suspended_by_another_process_it_ends(suspended, start, finish, run, until, status_of):
    suspended()
    process = start("resume", "service")
    until(lambda: status_of() == "RUNNING", "the resumed job")
    run("suspend", "service")
    assert "is SUSPENDED" in finish(process).err


def test_a_failing_job(suspended, run, gate, home):
    suspended("gated(fail).join()")
    gate.touch()
    error = run("resume", "service", code=4).err
    assert "ZeroDivisionError" in error
    assert "jetbridge show prints its traceback" in error
    assert "Traceback" not in error
    assert "in fail" in run("show", "service").out


def test_a_job_that_a_failure_suspends(suspended, run, gate):
    suspended("gated(fail, suspend_on_failure=True).join()")
    gate.touch()
    result = run("resume", "service", code=4)
    assert "is SUSPENDED" in result.err
    assert "ZeroDivisionError" in result.err


def screen(process, descriptor, until, wanted):
    """What a terminal has got, once something wanted is on it."""
    seen = b""

    def look():
        nonlocal seen
        try:
            seen += os.read(descriptor, 65536)
        except OSError:  # the other end is closed
            assert wanted.search(seen), seen
        return wanted.search(seen)

    until(look, f"{wanted} on the screen")
    return seen


@pytest.mark.parametrize("arguments", [["resume", "service"], ["metrics", "service", "--watch"]])
def test_in_a_terminal_there_is_a_live_table(suspended, service, start, gate, until, arguments, status_of):
    (suspended if arguments[0] == "resume" else service)()
    ours, theirs = pty.openpty()
    process = start(*arguments, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    screen(process, ours, until, re.compile(rb"STAGE.*step.*0%.*\d of 100,000", re.DOTALL))
    gate.touch()
    screen(process, ours, until, re.compile(rb"COMPLETED"))
    assert process.wait(60) == 0
    os.close(ours)


def test_ctrl_c_in_generated_code_keeps_the_exit_status(tmp_path):
    (tmp_path / "halting.py").write_text(
        "from jetbridge.cli.frame import command, main\n"
        "@command()\n"
        "def halt():\n"
        "    exec('raise KeyboardInterrupt')\n"
        "main()\n"
    )
    ended = subprocess.run([sys.executable, "-m", "halting", "halt"], cwd=tmp_path, check=False)
    assert ended.returncode == 130
