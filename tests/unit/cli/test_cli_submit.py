"""submit runs a script as python does."""

from __future__ import annotations

import os
import signal

import jetbridge

PIPELINE = """
import sys
import jetbridge
from jetbridge import JobConfig, Pipeline

def submit(function, name=None):
    pipeline = Pipeline.create()
    pipeline.read_from(Pipeline.from_list("n", [1, 2, 3])).map(function).write_to(Pipeline.to_list("r"))
    return client.get_jet().submit(pipeline, JobConfig(name=name))

client = jetbridge.connect()
"""


def test_it_is_the_main_program(program, run, tmp_path):
    program("VALUE = 7", name="beside.py", plain=True)
    source = """
    import sys, os
    import __main__, beside
    print(sys.argv[1:], os.path.basename(sys.argv[0]), __name__, os.path.basename(__file__), beside.VALUE)
    print(__main__.beside is beside, __doc__, sys.path[0] == os.path.dirname(os.path.abspath(__file__)))
    """
    out = run("submit", program(source, plain=True), "--home", "x", "-v", "a b").out
    assert out.splitlines() == [
        "['--home', 'x', '-v', 'a b'] program.py __main__ program.py 7",
        "True None True",
    ]


def test_settings_reach_the_script(program, run, tmp_path):
    source = "import jetbridge; s = jetbridge.connect().settings; print(s.home, s.parallelism, s.runner)"
    path = program(source, plain=True)
    out = run("submit", "--home", tmp_path / "other", "--parallelism", "2", "--runner", "direct", path).out
    assert out.split() == [str(tmp_path / "other"), "2", "direct"]
    assert (tmp_path / "other").is_dir()
    assert "--parallelism" in run("submit", "--parallelism", "0", path, code=2).err


def test_classes_of_the_script_can_be_stored(program, run):
    source = """
    class Point:
        def __init__(self, x): self.x = x
    submit(Point).join()
    print([point.x for point in client.get_list("r")])
    """
    assert run("submit", program(PIPELINE + dedented(source), plain=True)).out == "[1, 2, 3]\n"


def dedented(source):
    import textwrap

    return textwrap.dedent(source)


def test_a_job_that_fails(program, run):
    error = run("submit", program(PIPELINE + "submit(lambda n: 1 // 0, 'broken').join()", plain=True), code=4).err
    [line] = [line for line in error.splitlines() if line.startswith("jetbridge: ")]
    assert "job 'broken'" in line
    assert "ZeroDivisionError" in line
    assert "Traceback" not in error


def test_a_job_that_fails_while_the_end_of_the_script_waits_for_it(program, run):
    slow = "import time\ndef fail(n):\n    time.sleep(0.5)\n    return 1 // 0\n"
    error = run("submit", program(PIPELINE + slow + "submit(fail)", plain=True), code=4).err
    assert error.count(" failed: ") == 1
    block = PIPELINE + slow + "with client:\n    submit(fail)\nprint('end')"
    assert run("submit", program(block, plain=True), code=4).out == "end\n"


def test_a_failure_that_the_script_has_handled(program, run):
    source = (
        PIPELINE + "try:\n    submit(lambda n: 1 // 0).join()\nexcept jetbridge.JobFailedError:\n    print('handled')"
    )
    assert run("submit", program(source, plain=True)).out == "handled\n"


def test_exit_codes_of_the_script(program, run):
    run("submit", program("import sys; sys.exit(7)", plain=True), code=7)
    run("submit", program("raise SystemExit", plain=True))
    assert "no way" in run("submit", program("raise SystemExit('no way')", plain=True), code=1).err


def test_errors_of_the_script_are_shown_as_python_does(program, run, tmp_path):
    error = run("submit", program("def f():\n    return {}['a']\nf()", plain=True), code=1).err
    assert error.splitlines()[:2] == [
        "Traceback (most recent call last):",
        f'  File "{tmp_path / "program.py"}", line 3, in <module>',
    ]
    assert "jetbridge" not in error
    assert error.splitlines()[-1] == "KeyError: 'a'"
    assert "SyntaxError" in run("submit", program("def", plain=True), code=1).err


def test_errors_of_jetbridge_are_one_line(program, run):
    error = run("submit", program("import jetbridge; jetbridge.connect(shards=0)", plain=True), code=1).err
    assert error.count("\n") == 1
    assert error.startswith("jetbridge: setting shards")


def test_ctrl_c_suspends(service, finish, cli, home):
    process = service()
    os.kill(process.pid, signal.SIGINT)
    assert "Traceback" not in finish(process, 130).err
    [job] = cli("list", "--json", "--home", home).json
    assert (job["status"], "KeyboardInterrupt" in job["suspension_cause"]) == ("SUSPENDED", True)


def test_ctrl_c_while_the_end_of_the_script_waits(service, finish, cli, home):
    process = service("job = gated()\nwhile job.status.value != 'RUNNING': time.sleep(0.01)\nprint('end', flush=True)")
    assert process.stdout.readline() == "end\n"
    # It says on stderr that it waits.
    assert "waiting" in process.stderr.readline()
    os.kill(process.pid, signal.SIGINT)
    finish(process, 130)
    assert [job["status"] for job in cli("list", "--json", "--home", home).json] == ["SUSPENDED"]


def test_exit_hooks_run_before_the_jobs_are_waited_for(program, run, home):
    source = PIPELINE + dedented(
        """
        import atexit, time
        def stuck(n):
            time.sleep(600)
        job = submit(stuck)
        atexit.register(job.cancel)
        """
    )
    run("submit", program(source, plain=True))
    with jetbridge.connect(home=home) as client:
        assert client.get_jet().get_jobs()[0].is_user_cancelled
