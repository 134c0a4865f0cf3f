"""Failures of jobs that nobody has joined: the end of their client tells them."""

from __future__ import annotations

import contextlib

import pytest

import jetbridge
from jetbridge import JobConfig, JobFailedError, JobStatus

DEADLINE = 60.0


def invert(n):
    return 1 / n


def fail_at_length(n):
    raise ValueError("\n".join(map(str, range(50))))


@pytest.fixture
def failing(pipeline):
    return lambda function=invert: pipeline(function, items=[1, 0])


def lines(capsys):
    """What was said on stderr, but for what may be said of slow jobs."""
    return [line for line in capsys.readouterr().err.splitlines() if "waiting for" not in line]


def test_the_end_of_the_block_tells_each_with_its_traceback(home, failing, capsys):
    with jetbridge.connect(home=home, parallelism=1) as client:
        first = client.get_jet().submit(failing(), JobConfig(name="inverting"))
        second = client.get_jet().submit(failing(fail_at_length))
    told = lines(capsys)
    expected = f"jetbridge: job 'inverting' ({first.id}) failed: map 'map' failed on item 0: ZeroDivisionError: "
    assert told[0] == f"{expected}division by zero"
    assert told[1] == "Traceback (most recent call last):"
    assert "return 1 / n" in "".join(told)
    assert told[-1].startswith(f"jetbridge: job {second.id} failed: map 'map' failed on item 1: ValueError: ")
    assert told[-1].endswith(f"(jetbridge show {second.id} prints its traceback)")


def test_an_error_of_the_block_does_not_hide_it(home, failing, until, capsys):
    with contextlib.suppress(IndexError), jetbridge.connect(home=home, parallelism=1) as client:
        job = client.get_jet().submit(failing())
        until(job.is_terminal)
        client.get_list("results").get_all()[-1000]
    assert f"jetbridge: job {job.id} failed: map 'map'" in lines(capsys)[0]


def test_what_somebody_has_seen_or_wanted_is_not_told(home, failing, pipeline, gate, capsys):
    heard = []
    with jetbridge.connect(home=home, parallelism=1) as client:
        jet = client.get_jet()
        with pytest.raises(JobFailedError):
            jet.submit(failing()).join(DEADLINE)
        cancelled = jet.submit(pipeline(gate))
        gate.reached()
        cancelled.cancel()
        heard_of = jet.submit(failing(lambda n: 1 / (gate(n) - 1)))
        heard_of.add_status_listener(heard.append)
        gate.open()
    assert heard[-1].new_status is JobStatus.FAILED
    assert lines(capsys) == []


def test_the_end_of_the_interpreter_tells_it(begin):
    script = begin(
        """
        client, pipeline = jetbridge.connect(), Pipeline.create()
        numbers = pipeline.read_from(Pipeline.from_list("n", [1, 0]))
        numbers.map(lambda n: 1 / n).write_to(Pipeline.to_list("inverted"))
        client.get_jet().submit(pipeline)
        """
    )
    _, told = script.communicate(timeout=DEADLINE)
    assert told.count("failed: map 'map' failed on item 0: ZeroDivisionError: division by zero\n") == 1
    assert script.returncode == 0, "an exit hook cannot change it but by leaving out those of others"
