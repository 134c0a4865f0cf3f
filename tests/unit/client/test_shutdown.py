"""How clients end, and what becomes of their jobs."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest

import jetbridge
from jetbridge import JetbridgeError, JobConfig, JobStatus

DEADLINE = 60.0


def status_of(home, name="orders"):
    with jetbridge.connect(home=home) as client:
        job = client.get_jet().get_job_by_name(name)
        return str(job.status), job.suspension_cause


class TestInThisProcess:
    def test_leaving_the_block_waits_for_jobs(self, home, pipeline, gate):
        with jetbridge.connect(home=home) as client:
            job = client.get_jet().submit(pipeline(gate))
            gate.open()
        assert job.status is JobStatus.COMPLETED

    def test_handles_go_on_telling_what_they_knew(self, home, pipeline):
        with jetbridge.connect(home=home) as client:
            job = client.get_jet().submit(pipeline())
        assert job.is_terminal()
        assert job.join() is None
        assert job.get_metrics().emitted_count == 3
        assert "COMPLETED" in repr(job)

    def test_shutdown_twice(self, home):
        client = jetbridge.connect(home=home)
        client.shutdown()
        client.shutdown()
        assert "shut down" in repr(client)

    def test_a_client_that_is_shut_down_says_so(self, home, pipeline):
        client = jetbridge.connect(home=home)
        jet = client.get_jet()
        client.shutdown()
        for call in (
            client.get_jet,
            lambda: client.get_list("a"),
            lambda: client.get_map("a"),
            lambda: client.get_stream("a"),
            lambda: jet.submit(pipeline()),
            lambda: jet.new_job_if_absent(pipeline()),
            lambda: jet.get_job("a"),
            lambda: jet.get_job_by_name("a"),
            jet.get_jobs,
            jet.get_job_state_snapshots,
            client.__enter__,
        ):
            with pytest.raises(JetbridgeError, match=r"the client is shut down: call jetbridge.connect\(\)"):
                call()

    @pytest.mark.parametrize(
        ("error", "cause"),
        [
            (ValueError("no milk"), "its client ended with ValueError: no milk"),
            (KeyboardInterrupt(), "its client ended with KeyboardInterrupt"),
            (SystemExit(3), "its client ended with exit status 3"),
        ],
        ids=repr,
    )
    def test_an_exception_suspends_jobs(self, home, pipeline, gate, gone, error, cause):
        with contextlib.suppress(type(error)), jetbridge.connect(home=home) as client:
            job = client.get_jet().submit(pipeline(gate), JobConfig(name="orders"))
            pid = gate.reached()
            raise error
        gone(pid)
        assert job.status is JobStatus.SUSPENDED, "as it was at the end of the client"
        assert job.suspension_cause == cause
        assert status_of(home) == ("SUSPENDED", cause)
        with pytest.raises(JetbridgeError, match="shut down"):
            job.cancel()

    def test_system_exit_without_a_status_is_a_normal_end(self, home, pipeline, gate):
        with contextlib.suppress(SystemExit), jetbridge.connect(home=home) as client:
            job = client.get_jet().submit(pipeline(gate))
            gate.open()
            raise SystemExit
        assert job.status is JobStatus.COMPLETED

    def test_two_clients_of_one_folder(self, home, pipeline, gate):
        with jetbridge.connect(home=home) as one, jetbridge.connect(home=home) as two:
            job = one.get_jet().submit(pipeline(gate), JobConfig(name="orders"))
            gate.reached()
            two.shutdown()
            assert job.status is JobStatus.RUNNING
            gate.open()
        assert job.status is JobStatus.COMPLETED


class TestOfTheInterpreter:
    def test_a_normal_end_waits(self, home, begin, gate):
        script = begin("""
            job = jetbridge.connect().get_jet().submit(gated(), JobConfig(name="orders"))
            print("end", flush=True)
            """)
        assert script.stdout.readline() == "end\n"
        assert "jetbridge: waiting for job 'orders'" in script.stderr.readline()
        gate.open()
        out, err = script.communicate(timeout=DEADLINE)
        assert (script.returncode, out, err) == (0, "", "")
        assert status_of(home) == ("COMPLETED", None)

    @pytest.mark.parametrize(
        ("end", "returncode", "cause"),
        [
            ("raise ValueError('no milk')", 1, "its client ended with ValueError: no milk"),
            ("sys.exit(3)", 3, "its client ended with exit status 3"),
            ("exit(3)", 3, "its client ended with exit status 3"),
            ("quit('no milk')", 1, "its client ended with exit status no milk"),
            ("import argparse; argparse.ArgumentParser().error('what')", 2, "its client ended with exit status 2"),
            ("os.kill(os.getpid(), 2); time.sleep(9)", -signal.SIGINT, "its client ended with KeyboardInterrupt"),
        ],
        ids=["exception", "sys.exit", "exit", "quit", "argparse", "interrupt"],
    )
    def test_another_end_does_not(self, home, begin, gate, end, returncode, cause):
        script = begin(f"""
            job = jetbridge.connect().get_jet().submit(gated(), JobConfig(name="orders"))
            reached()
            {end}
            """)
        _, err = script.communicate(timeout=DEADLINE)
        assert script.returncode == returncode, err
        assert status_of(home) == ("SUSPENDED", cause)
        [line] = [line for line in err.splitlines() if line.startswith("jetbridge: ")]
        assert line.startswith("jetbridge: job 'orders' (")
        assert line.endswith(
            ") is SUSPENDED, since its client did not end normally; new_job_if_absent or resume goes on"
        )

    @pytest.mark.parametrize(
        ("end", "error"),
        [
            ("sys.exit(3)", "SystemExit"),
            ("exit(3)", "SystemExit"),
            ("import argparse; argparse.ArgumentParser().error('what')", "SystemExit"),
            ("sys.excepthook(ValueError, ValueError('no milk'), None)", "()"),
        ],
        ids=["sys.exit", "exit", "argparse", "excepthook"],
    )
    def test_what_is_caught_does_not_end_the_program(self, home, begin, gate, end, error):
        script = begin(f"""
            def main():
                job = jetbridge.connect().get_jet().submit(gated(), JobConfig(name="orders"))
                reached()
                try:
                    {end}
                except {error}:
                    pass
                print("end", flush=True)
            main()
            """)
        assert script.stdout.readline() == "end\n"
        gate.open()
        _, err = script.communicate(timeout=DEADLINE)
        assert script.returncode == 0, err
        assert status_of(home) == ("COMPLETED", None)

    def test_a_program_that_catches_one_exit_and_ends_with_another(self, home, begin, gate):
        script = begin("""
            job = jetbridge.connect().get_jet().submit(gated(), JobConfig(name="orders"))
            reached()
            try:
                sys.exit(3)
            except SystemExit:
                sys.exit(4)
            """)
        _, err = script.communicate(timeout=DEADLINE)
        assert script.returncode == 4, err
        assert status_of(home) == ("SUSPENDED", "its client ended with exit status 4")

    def test_a_bare_system_exit_in_a_block_is_seen_whatever_raises_it(self, home, begin, gate):
        script = begin("""
            with jetbridge.connect() as client:
                client.get_jet().submit(gated(), JobConfig(name="orders"))
                reached()
                raise SystemExit(3)
            """)
        _, err = script.communicate(timeout=DEADLINE)
        assert script.returncode == 3, err
        assert "is SUSPENDED, since its client did not end normally" in err
        assert status_of(home) == ("SUSPENDED", "its client ended with exit status 3")

    def test_exit_status_zero_waits(self, home, begin, gate):
        script = begin("""
            job = jetbridge.connect().get_jet().submit(gated(), JobConfig(name="orders"))
            print("end", flush=True)
            sys.exit()
            """)
        assert script.stdout.readline() == "end\n"
        gate.open()
        assert script.wait(DEADLINE) == 0
        assert status_of(home) == ("COMPLETED", None)

    def test_ctrl_c_while_it_waits_suspends_the_job(self, home, begin, gate, gone):
        script = begin("""
            job = jetbridge.connect().get_jet().submit(gated(), JobConfig(name="orders"))
            reached()
            """)
        assert "Ctrl-C suspends it" in script.stderr.readline()
        os.killpg(script.pid, signal.SIGINT)  # as a terminal does: to the whole group
        _, err = script.communicate(timeout=DEADLINE)
        assert err == "jetbridge: interrupted; the jobs that were running are SUSPENDED\n"
        assert script.returncode == -signal.SIGINT, "as of any program that Ctrl-C ends, so that a shell stops, too"
        for pid in gate.pids:
            gone(pid)
        status, cause = status_of(home)
        assert status == "SUSPENDED"
        assert cause == "its client ended with KeyboardInterrupt while it waited for the job"

    def test_ctrl_c_in_join_does_not_reach_the_worker(self, home, begin, gate, gone):
        script = begin("""
            with jetbridge.connect() as client:
                job = client.get_jet().submit(gated(), JobConfig(name="orders"))
                reached()
                print("joining", flush=True)
                job.join()
            """)
        assert script.stdout.readline() == "joining\n"
        os.killpg(script.pid, signal.SIGINT)
        _, err = script.communicate(timeout=DEADLINE)
        assert err.count("KeyboardInterrupt") == 1, err
        gone(gate.pids[0])
        assert status_of(home) == ("SUSPENDED", "its client ended with KeyboardInterrupt")

    def test_a_script_that_only_connects_ends_at_once_and_quietly(self, begin):
        script = begin("client = jetbridge.connect(); print(client.get_list('a').size())")
        out, err = script.communicate(timeout=DEADLINE)
        assert (out, err, script.returncode) == ("0\n", "", 0)

    def test_a_forked_process_leaves_the_jobs_alone(self, home, begin, gate):
        script = begin("""
            client = jetbridge.connect()
            job = client.get_jet().submit(gated(), JobConfig(name="orders"))
            reached()
            pid = os.fork()
            if not pid:
                try:
                    client.get_jet()
                except jetbridge.JetbridgeError as error:
                    print(error, flush=True)
                sys.exit(5)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), job.status, flush=True)
            """)
        assert "the client belongs to process" in script.stdout.readline()
        assert script.stdout.readline() == "5 RUNNING\n"
        gate.open()
        _, err = script.communicate(timeout=DEADLINE)
        assert script.returncode == 0, err
        assert status_of(home) == ("COMPLETED", None)

    def test_an_interactive_session_goes_on_after_an_exception(self, home, gate, begin, tmp_path):
        import subprocess
        import sys

        script = begin("")
        source = f"""
exec(open({script.args[1]!r}).read())
client = jetbridge.connect()
job = client.get_jet().submit(gated(), JobConfig(name="orders"))
1 / 0
open(FOLDER + "/open", "w").close()

"""
        done = subprocess.run(
            [sys.executable, "-i"],
            input=source,
            env={**os.environ, "JETBRIDGE_HOME": str(home), "PYTHON_BASIC_REPL": "1"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        assert "ZeroDivisionError" in done.stderr
        assert status_of(home) == ("COMPLETED", None)
