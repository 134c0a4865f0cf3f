"""Jobs that outlive their clients: what an end leaves, and what the next client finds and resumes."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest

import jetbridge
from jetbridge import JobConfig, JobStatus, Pipeline, SnapshotError, StreamSource

DEADLINE = 60.0
CONFIG = {"name": "sum", "processing_guarantee": "EXACTLY_ONCE"}
SCRIPT = """
    client = jetbridge.connect()
    job = client.get_jet().new_job_if_absent(summing(), JobConfig(name="sum", processing_guarantee="EXACTLY_ONCE"))
    print(job.id, flush=True)
    """


def test_a_normal_end_suspends_a_stream_with_one_line(home, capsys, summing, sums):
    with jetbridge.connect(home=home, parallelism=1) as client:
        client.get_stream("numbers").publish_all([1, 2])
        job = client.get_jet().new_job_if_absent(summing(), JobConfig(**CONFIG))
        sums(client, 2)
    assert job.status is JobStatus.SUSPENDED
    assert capsys.readouterr().err == (
        f"jetbridge: job 'sum' ({job.id}) never ends and is SUSPENDED; "
        "new_job_if_absent or `jetbridge resume sum` goes on\n"
    )
    with jetbridge.connect(home=home, parallelism=1) as client:
        client.get_stream("numbers").publish(3)
        again = client.get_jet().new_job_if_absent(summing(), JobConfig(**CONFIG))
        assert again.id == job.id
        assert sums(client, 3) == [1, 3, 6]
        assert again.status is JobStatus.RUNNING


def test_the_hint_fits_the_job(home, capsys, summing):
    with jetbridge.connect(home=home, parallelism=1) as client:
        jet = client.get_jet()
        unnamed = jet.submit(summing("a"), JobConfig(processing_guarantee="AT_LEAST_ONCE"))
        jet.submit(summing("b"), JobConfig(name="my sum"))
    told = capsys.readouterr().err
    assert f"job {unnamed.id} never ends and is SUSPENDED; `jetbridge resume {unnamed.id}` goes on\n" in told
    assert "; new_job_if_absent or `jetbridge resume 'my sum'` starts it afresh, as it has no processing" in told


def test_a_bounded_job_is_waited_for_beside_a_stream(home, pipeline, gate, summing):
    with jetbridge.connect(home=home, parallelism=1) as client:
        stream = client.get_jet().submit(summing())
        batch = client.get_jet().submit(pipeline(gate))
        gate.reached()
        gate.open()
    assert stream.status is JobStatus.SUSPENDED
    assert batch.status is JobStatus.COMPLETED


def test_a_script_is_simply_run_again(home, begin, sums):
    """After a normal end, after Ctrl-C, and after a SIGKILL."""
    ends = {
        "end": ("", lambda script: None),
        "interrupt": ("job.join()", lambda script: os.killpg(script.pid, signal.SIGINT)),
        "death": ("job.join()", lambda script: script.kill()),
    }
    expected, ids = [], set()
    with jetbridge.connect(home=home, parallelism=1) as client:
        for number, (tail, end) in enumerate(ends.values(), start=1):
            wait = f"""
    while client.get_list("sums").size() < {number}:
        time.sleep(0.005)
    """
            client.get_stream("numbers").publish(number)
            expected.append(sum(range(number + 1)))
            script = begin(SCRIPT + wait + tail)
            ids.add(script.stdout.readline())
            assert sums(client, number) == expected
            job = client.get_jet().get_job_by_name("sum")
            end(script)
            script.communicate(timeout=DEADLINE)
            assert job.status is JobStatus.SUSPENDED
            assert client._session.read(job.id).suspended_by == "client"
    assert len(ids) == 1


@pytest.mark.parametrize("suspended_by", ["user", "client"])
def test_what_somebody_suspended_stays_so(home, suspended_by, summing, sums):
    with contextlib.suppress(KeyError), jetbridge.connect(home=home, parallelism=1) as client:
        client.get_stream("numbers").publish_all([1, 2])
        job = client.get_jet().submit(summing(), JobConfig(**CONFIG))
        sums(client, 2)
        if suspended_by == "user":
            job.suspend()
        raise KeyError
    with jetbridge.connect(home=home, parallelism=1) as client:
        again = client.get_jet().new_job_if_absent(summing(), JobConfig(**CONFIG))
        assert again.id == job.id
        assert (again.status is JobStatus.SUSPENDED) == (suspended_by == "user")


def test_it_goes_on_with_the_pipeline_and_the_config_given_now(home, summing, sums):
    with jetbridge.connect(home=home, parallelism=1) as client:
        client.get_stream("numbers").publish_all([1, 2])
        client.get_jet().submit(summing(), JobConfig(**CONFIG))
        sums(client, 2)
    with jetbridge.connect(home=home, parallelism=1) as client:
        jet = client.get_jet()
        with pytest.raises(SnapshotError, match="the snapshot does not fit the pipeline"):
            jet.new_job_if_absent(summing("elsewhere"), JobConfig(**CONFIG))
        assert jet.get_job_by_name("sum").status is JobStatus.SUSPENDED
        config = JobConfig(**CONFIG, snapshot_interval_millis=77)
        job = jet.new_job_if_absent(summing(add=lambda total, n: total + 10 * n), config)
        assert job.config == config
        client.get_stream("numbers").publish(3)
        assert sums(client, 3) == [1, 3, 33]
        job.restart()
        client.get_stream("numbers").publish(1)
        assert sums(client, 4) == [1, 3, 33, 43], "it was stored with the job"


def test_two_processes_resume_one_job(home, begin, summing, sums):
    with jetbridge.connect(home=home, parallelism=1) as client:
        client.get_stream("numbers").publish(1)
        job = client.get_jet().submit(summing(), JobConfig(**CONFIG))
        sums(client, 1)
    wait = """
    while client.get_list("sums").size() < 2:
        time.sleep(0.005)
    while client.get_list("go").size() < 1:
        time.sleep(0.005)
    """
    scripts = [begin(SCRIPT + wait) for _ in range(2)]
    assert {script.stdout.readline().strip() for script in scripts} == {job.id}
    with jetbridge.connect(home=home, parallelism=1) as client:
        client.get_stream("numbers").publish(2)
        assert sums(client, 2) == [1, 3]
        client.get_list("go").add(1)
        for script in scripts:
            _, err = script.communicate(timeout=DEADLINE)
            assert script.returncode == 0, err
        assert client.get_jet().get_job(job.id).status is JobStatus.SUSPENDED


def test_ctrl_c_suspends_a_resumed_job_too(home, begin, summing):
    with jetbridge.connect(home=home, parallelism=1) as client:
        job = client.get_jet().submit(summing(), JobConfig(**CONFIG))
        job.suspend()
    script = begin("""
        job = jetbridge.connect().get_jet().get_job_by_name("sum")
        job.resume()
        print(job.status, flush=True)
        job.join()
        """)
    assert script.stdout.readline() == "RUNNING\n"
    os.killpg(script.pid, signal.SIGINT)
    script.communicate(timeout=DEADLINE)
    with jetbridge.connect(home=home) as client:
        job = client.get_jet().get_job(job.id)
        assert (str(job.status), job.suspension_cause) == ("SUSPENDED", "its client ended with KeyboardInterrupt")


def test_shards_are_those_of_the_first_client(home, sums):
    def counting():
        pipeline = Pipeline.create()
        keyed = pipeline.read_from(StreamSource("numbers")).group_by(lambda n: n % 7)
        keyed.rolling_aggregate(accumulator=lambda n, _: n + 1, initial=0).write_to(Pipeline.to_list("sums"))
        return pipeline

    with jetbridge.connect(home=home, parallelism=1, shards=8) as client:
        client.get_stream("numbers").publish_all(range(7))
        client.get_jet().submit(counting(), JobConfig(**CONFIG))
        sums(client, 7)
    with jetbridge.connect(home=home, parallelism=1, shards=5) as client:
        client.get_stream("numbers").publish_all(range(7))
        client.get_jet().get_job_by_name("sum").resume()
        assert sorted(sums(client, 14)) == sorted((key, count) for key in range(7) for count in (1, 2))


def test_what_an_ended_job_kept_is_removed(home, summing, sums):
    with jetbridge.connect(home=home, parallelism=1) as client:
        client.get_stream("numbers").publish_all([1, 2])
        job = client.get_jet().submit(summing(), JobConfig(**CONFIG))
        sums(client, 2)
        reader = client._session.db.reader()
        tables = ("checkpoints", "segments", "pipelines", "outbox")
        held = {table: reader.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}
        assert held["checkpoints"] == held["pipelines"] == 1
        job.cancel()
        assert all(reader.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,) for table in tables)


@pytest.mark.parametrize("same", [True, False])
def test_a_running_job_whose_stages_are_others_is_warned_of(client, caplog, summing, same, until):
    other = Pipeline.create()
    other.read_from(StreamSource("numbers")).map(abs).set_name("positive").write_to(Pipeline.to_list("sums"))
    config = JobConfig(name="sum")
    job = client.get_jet().new_job_if_absent(summing(), config)
    until(lambda: job.status is JobStatus.RUNNING)
    with caplog.at_level("WARNING", "jetbridge"):
        again = client.get_jet().new_job_if_absent(summing() if same else other, config)
    assert again.id == job.id
    warned = [record.getMessage() for record in caplog.records if "keeps its own pipeline" in record.getMessage()]
    assert len(warned) == (not same)
    if warned:
        running, given = warned[0].split("; given now: ")
        assert f"job 'sum' ({job.id})" in running
        assert running.endswith("numbers, rolling_aggregate, sums")
        assert given == "numbers, positive, sums"


@pytest.mark.parametrize("bad", [{}, ["x"], 5, None, "\ud800"], ids=repr)
def test_ids_and_names_are_texts(client, bad):
    jet = client.get_jet()
    for call, what in ((jet.get_job, "id"), (jet.get_job_by_name, "name"), (jet.get_jobs, "name")):
        if call == jet.get_jobs and bad is None:
            continue
        with pytest.raises(
            jetbridge.JobError, match=rf"the {what} of a job is (a str|valid Unicode text); got "
        ) as told:
            call(bad)
        assert repr(bad) in str(told.value)
