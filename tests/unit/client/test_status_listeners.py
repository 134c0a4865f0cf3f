"""Status listeners."""

from __future__ import annotations

import threading

import pytest

import jetbridge
from jetbridge import (
    ConfigError,
    JobConfig,
    JobFailedError,
    JobStateError,
    JobStatus,
    JobStatusEvent,
    Pipeline,
    StreamSource,
)

DEADLINE = 60.0
GUARDED = {"processing_guarantee": "EXACTLY_ONCE"}


def said(heard):
    return [f"{event.previous_status}>{event.new_status}{'*' * event.is_user_requested}" for event in heard]


def test_every_change_in_order_from_one_thread(jet, pipeline, gate, until):
    heard, threads = [], set()

    def listen(event):
        heard.append(event)
        threads.add(threading.current_thread().name)

    job = jet.submit(pipeline(gate), JobConfig(**GUARDED))
    gate.reached()
    listener_id = job.add_status_listener(listen)
    assert isinstance(listener_id, str)
    gate.open()
    job.join(DEADLINE)
    until(lambda: heard and heard[-1].new_status.is_terminal(), "the last event")
    assert said(heard) == ["RUNNING>COMPLETED"]
    assert threads == {"jetbridge-listeners"}
    assert isinstance(heard[0], JobStatusEvent)


def test_what_a_user_asked_for(home, until):
    heard = []
    pipeline = Pipeline.create()
    pipeline.read_from(StreamSource("numbers")).write_to(Pipeline.to_list("copy"))
    with jetbridge.connect(home=home, parallelism=1) as client:
        job = client.get_jet().submit(pipeline, JobConfig(**GUARDED))
        until(lambda: job.status is JobStatus.RUNNING)
        job.add_status_listener(heard.append)
        job.suspend()
        job.resume()
        job.restart()
        job.cancel()
    begin = ["SUSPENDED>NOT_RUNNING*", "NOT_RUNNING>STARTING", "STARTING>RUNNING"]
    assert said(heard) == ["RUNNING>SUSPENDED*", *begin, "RUNNING>SUSPENDED*", *begin, "RUNNING>FAILED*"]


def test_one_that_raises_does_no_harm(jet, pipeline, gate, until, caplog):
    heard = []

    def fail(event):
        raise ValueError("no milk")

    job = jet.submit(pipeline(gate))
    gate.reached()
    job.add_status_listener(fail)
    job.add_status_listener(heard.append)
    gate.open()
    job.join(DEADLINE)
    until(lambda: heard, "the second listener's event")
    assert "no milk" in caplog.text
    assert "RUNNING -> COMPLETED" in caplog.text


def test_a_removed_one_hears_nothing(jet, pipeline, gate, until):
    heard, still = [], []
    job = jet.submit(pipeline(gate))
    gate.reached()
    listener_id = job.add_status_listener(heard.append)
    job.add_status_listener(still.append)
    assert job.remove_status_listener(listener_id)
    assert not job.remove_status_listener(listener_id)
    gate.open()
    job.join(DEADLINE)
    until(lambda: still, "the other listener's event")
    assert heard == []


def test_changes_that_another_process_makes(home, pipeline, gate, begin, until):
    owner = begin("""
        with jetbridge.connect() as client:
            client.get_jet().submit(gated(), JobConfig(name="orders")).join()
        """)
    gate.reached()
    heard = []
    with jetbridge.connect(home=home) as client:
        client.get_jet().get_job_by_name("orders").add_status_listener(heard.append)
        owner.kill()
        owner.wait()
        assert str(client.get_jet().get_job_by_name("orders").status) == "SUSPENDED"
        until(lambda: heard, "the event")
        client.get_jet().get_job_by_name("orders").cancel()
    assert said(heard) == ["RUNNING>SUSPENDED", "SUSPENDED>FAILED*"]


def test_bad_calls(jet, pipeline):
    def fail(item):
        raise KeyError(item)

    job = jet.submit(pipeline(fail))
    with pytest.raises(ConfigError, match="must be given a callable; got 5"):
        job.add_status_listener(5)
    with pytest.raises(JobFailedError):
        job.join(DEADLINE)
    with pytest.raises(JobStateError, match=r"add_status_listener: .* is FAILED, which is its end"):
        job.add_status_listener(print)
    assert not job.remove_status_listener("no such")
