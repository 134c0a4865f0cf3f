"""Named snapshots: taking them, listing them, starting from them."""

from __future__ import annotations

import pytest

from jetbridge import (
    JobConfig,
    JobStateError,
    JobStateSnapshot,
    JobStatus,
    Pipeline,
    SnapshotError,
    StreamSource,
)

GUARDED = {"processing_guarantee": "EXACTLY_ONCE"}


@pytest.fixture
def summing():
    """A pipeline with the running sum of a stream, to a list."""

    def make(to="sums"):
        pipeline = Pipeline.create()
        numbers = pipeline.read_from(StreamSource("numbers")).set_name("numbers")
        running = numbers.rolling_aggregate(accumulator=lambda total, n: total + n, initial=0).set_name("sum")
        running.write_to(Pipeline.to_list(to)).set_name("out")
        return pipeline

    return make


@pytest.fixture
def sums(client, until):
    def sums(count, name="sums"):
        until(lambda: client.get_list(name).size() >= count, f"{count} items in {name}")
        return client.get_list(name).get_all()

    return sums


@pytest.mark.parametrize("guarantee", ["NONE", "EXACTLY_ONCE"])
def test_of_a_running_job_which_goes_on(client, jet, summing, sums, guarantee):
    numbers = client.get_stream("numbers")
    numbers.publish_all([1, 2])
    job = jet.submit(summing(), JobConfig(name="sum", processing_guarantee=guarantee))
    sums(2)
    job.export_snapshot("one")
    assert job.status is JobStatus.RUNNING
    numbers.publish(3)
    assert sums(3) == [1, 3, 6]
    job.cancel()
    other = jet.submit(summing("other"), JobConfig(initial_snapshot_name="one"))
    assert sums(1, "other") == [6], "it writes again what the first one wrote after the snapshot"
    numbers.publish(4)
    assert sums(2, "other") == [6, 10]
    other.cancel()


def test_of_a_suspended_job(client, jet, summing, sums):
    client.get_stream("numbers").publish_all([1, 2])
    job = jet.submit(summing(), JobConfig(**GUARDED))
    sums(2)
    job.suspend()
    heard = []
    job.add_status_listener(heard.append)
    job.export_snapshot("one")
    assert job.status is JobStatus.SUSPENDED
    assert job.suspension_cause == "a user asked for it"
    job.resume()
    client.get_stream("numbers").publish(3)
    assert sums(3) == [1, 3, 6]
    job.cancel()
    unguarded = jet.submit(summing("other"))
    unguarded.suspend()
    for call in (unguarded.export_snapshot, unguarded.cancel_and_export_snapshot):
        with pytest.raises(JobStateError, match="is SUSPENDED and has no processing guarantee"):
            call("two")
    assert unguarded.status is JobStatus.SUSPENDED


@pytest.mark.parametrize(("guarantee", "suspended"), [("NONE", False), ("EXACTLY_ONCE", False), ("EXACTLY_ONCE", True)])
def test_cancel_with_one(client, jet, summing, sums, guarantee, suspended):
    numbers = client.get_stream("numbers")
    numbers.publish_all([1, 2])
    job = jet.submit(summing(), JobConfig(processing_guarantee=guarantee))
    sums(2)
    if suspended:
        job.suspend()
    else:
        numbers.publish_all(range(3, 2000))
    job.cancel_and_export_snapshot("end")
    assert job.status is JobStatus.FAILED
    assert job.is_user_cancelled
    before = client.get_list("sums").get_all()
    other = jet.submit(summing(), JobConfig(initial_snapshot_name="end"))
    numbers.publish(0)
    last = sum(range(2000 if not suspended else 3))
    sums(2000 if not suspended else 3)
    after = client.get_list("sums").get_all()
    assert after[: len(before)] == before
    assert after[-1] == last, "nothing was processed twice or never"
    assert len(after) == (2000 if not suspended else 3)
    other.cancel()


def test_they_are_listed_and_destroyed(client, jet, summing, sums):
    client.get_stream("numbers").publish(1)
    job = jet.submit(summing(), JobConfig(name="sum", **GUARDED))
    sums(1)
    assert jet.get_job_state_snapshots() == []
    assert jet.get_job_state_snapshot("one") is None
    job.export_snapshot("one")
    job.export_snapshot("two")
    two, one = jet.get_job_state_snapshots()
    assert isinstance(one, JobStateSnapshot)
    assert (one.name, two.name, one.job_id, one.job_name) == ("one", "two", job.id, "sum")
    assert one.creation_time >= job.submission_time
    assert one.payload_size > 0
    assert repr(one).startswith("<JobStateSnapshot 'one' of job sum, ")
    two.destroy()
    with pytest.raises(SnapshotError, match="there is no snapshot 'two'"):
        two.destroy()
    job.cancel()
    assert jet.get_job_state_snapshot("one").name == "one", "it outlives its job"


@pytest.mark.parametrize("name", ["a/b", "..", "", 5], ids=repr)
def test_a_name_that_is_none_is_refused_at_once(jet, summing, name):
    job = jet.submit(summing(), JobConfig(**GUARDED))
    for call in (job.export_snapshot, job.cancel_and_export_snapshot):
        with pytest.raises(SnapshotError, match="a snapshot's name must"):
            call(name)
    assert not job.is_terminal()
    job.cancel()


def test_one_that_does_not_fit_is_refused_at_submit(client, jet, summing, sums):
    client.get_stream("numbers").publish(1)
    job = jet.submit(summing(), JobConfig(**GUARDED))
    sums(1)
    job.cancel_and_export_snapshot("sums")
    pipeline = Pipeline.create()
    numbers = pipeline.read_from(StreamSource("numbers")).set_name("numbers")
    numbers.distinct().set_name("sum").write_to(Pipeline.to_list("sums")).set_name("out")
    with pytest.raises(SnapshotError, match="stage 'sum' was rolling_aggregate"):
        jet.submit(pipeline, JobConfig(initial_snapshot_name="sums"))
    assert len(jet.get_jobs()) == 1


def test_a_job_without_a_guarantee_starts_from_its_snapshot_again(client, jet, summing, sums):
    numbers = client.get_stream("numbers")
    numbers.publish_all([1, 2])
    job = jet.submit(summing(), JobConfig(**GUARDED))
    sums(2)
    job.cancel_and_export_snapshot("one")
    job = jet.submit(summing("other"), JobConfig(initial_snapshot_name="one"))
    numbers.publish(3)
    assert sums(1, "other") == [6]
    job.suspend()
    job.resume()
    assert sums(2, "other") == [6, 6]
    job.suspend()
    jet.get_job_state_snapshot("one").destroy()
    with pytest.raises(SnapshotError, match="there is no snapshot 'one'"):
        job.resume()
    assert job.status is JobStatus.SUSPENDED
    job.cancel()


def test_cancel_with_one_before_its_worker_runs(jet, summing):
    job = jet.submit(summing(), JobConfig(**GUARDED))
    job.cancel_and_export_snapshot("empty")
    assert jet.get_job_state_snapshot("empty").job_id == job.id


def test_of_a_job_that_never_ran(jet, summing):
    job = jet.submit(summing(), JobConfig(**GUARDED))
    job.suspend()
    if jet._session.read(job.id).commits == 0:
        with pytest.raises(SnapshotError, match="has committed nothing yet"):
            job.export_snapshot("empty")
    assert job.status is JobStatus.SUSPENDED
    job.cancel()
