"""The pytest plugin: what becomes of the jobs that a test has left."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

TESTS = """
import time
import pytest
from jetbridge import JobFailedError, JobStatus, Pipeline, StreamSource, testing
from jetbridge.testing import plugin

def checked(expected, function=lambda n: n):
    pipeline = Pipeline.create()
    pipeline.read_from(testing.items(1, 2)).map(function).write_to(testing.assert_ordered(expected))
    return pipeline

def slowly(n):
    time.sleep(0.3)
    return n

def stuck(n):
    time.sleep(600)
"""


@pytest.fixture
def run(tmp_path):
    """Run tests in a pytest of their own; gives its output."""

    def run(source, code):
        (tmp_path / "test_it.py").write_text(TESTS + textwrap.dedent(source))
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'base'}", "."],
            cwd=tmp_path,
            env={**os.environ, "JETBRIDGE_PARALLELISM": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def test_a_failure_that_nobody_joined_fails_the_test(run):
    out = run(
        """
        def test_left_running(jet):
            jet.submit(checked([1, 3], slowly))

        def test_the_next_is_not_blamed(jet):
            pass

        def test_right(jet, request):
            request.config.left = jet.submit(checked([1, 2], slowly))

        def test_it_was_waited_for(request):
            assert request.config.left.status is JobStatus.COMPLETED

        def test_joined(jet):
            with pytest.raises(JobFailedError):
                jet.submit(checked([1, 3])).join()
        """,
        code=1,
    )
    assert "5 passed, 1 error" in out
    assert "ERROR test_it.py::test_left_running" in out
    assert "item 1 is 2 and should be 3" in out
    assert "jetbridge: job" not in out, "the end of the client does not tell it again"


def test_what_does_not_end_is_cancelled(run):
    out = run(
        """
        def test_stream(jet, request):
            pipeline = Pipeline.create()
            pipeline.read_from(StreamSource("clicks")).write_to(Pipeline.to_list("seen"))
            request.config.left = jet.submit(pipeline)

        def test_stuck(monkeypatch, jet, request):
            assert request.config.left.is_user_cancelled
            monkeypatch.setattr(plugin, "_DEADLINE", 0.2)
            jet.submit(checked([], stuck))

        def test_fails_itself(jet):
            jet.submit(checked([], stuck))
            assert False
        """,
        code=1,
    )
    assert "1 failed, 2 passed, 1 error" in out
    assert "ERROR test_it.py::test_stuck" in out
    assert "still ran 0.2 s after the test, and is cancelled" in out
