"""The job registry: names, transitions, owners."""

from __future__ import annotations

import dataclasses
import json
import time
import zlib
from typing import Any

import pytest

from jetbridge.errors import JobAlreadyExistsError, JobError, SerializationError, StoreError
from jetbridge.store import Database, JobRecord, Registry, StaleOwnerError


@pytest.fixture
def jobs(db: Database) -> Registry:
    return Registry(db)


def record(job_id: str, name: str | None = None, status: str = "RUNNING", **fields: Any) -> JobRecord:
    return JobRecord(id=job_id, name=name, status=status, **fields)


def test_a_record_comes_back_whole(jobs: Registry) -> None:
    full = JobRecord(
        id="1",
        status="FAILED",
        name="näme",
        config={"arguments": {"a": [1, None]}, "snapshot_interval_millis": 10_000},
        submission_time=1,
        start_time=2,
        end_time=3,
        run="r",
        owner={"pid": 4, "started": 5.5, "token": "t"},
        error={"type": "ValueError", "message": "m", "stage": "map", "item": "1", "traceback": "…"},
        cause="c",
        user_cancelled=True,
        metrics={"stages": {"map": {"received": 1}}, "progress": 0.5},
        commits=7,
    )
    assert {field.name for field in dataclasses.fields(JobRecord)} == set(dataclasses.asdict(full))
    jobs.add(full, b"pipeline")
    assert jobs.get("1") == full
    assert jobs.pipeline("1") == b"pipeline"
    assert not full.is_active
    assert jobs.get("2") is None
    assert jobs.by_name("2") is None
    for unknown in (lambda: jobs.pipeline("2"), lambda: jobs.update("2"), lambda: jobs.transition("2", [], "X")):
        with pytest.raises(JobError, match="no job with the id '2'"):
            unknown()


def test_an_active_name_is_taken_and_an_ended_one_is_free(jobs: Registry) -> None:
    jobs.add(record("1", "a", "SUSPENDED"), b"")
    with pytest.raises(JobAlreadyExistsError, match="'a' is taken by job 1, which is SUSPENDED") as caught:
        jobs.add(record("2", "a"), b"")
    assert caught.value.__suppress_context__, "what SQLite says of it is of no use"
    assert jobs.get("2") is None
    with pytest.raises(JobError, match="id '1' already"):
        jobs.add(record("1", "b"), b"")
    jobs.add(record("3"), b"")
    jobs.add(record("4"), b"")  # jobs without a name do not collide
    assert jobs.transition("1", ["SUSPENDED"], "COMPLETED")
    jobs.add(record("2", "a"), b"")
    with pytest.raises(JobAlreadyExistsError):
        jobs.update("1", status="RUNNING")
    assert jobs.get("1") == record("1", "a", "COMPLETED")


def test_by_name_is_the_active_one_or_the_newest(jobs: Registry) -> None:
    jobs.add(record("1", "a", submission_time=900), b"")
    jobs.add(record("2", "a", "FAILED", submission_time=100), b"")  # a clock that was set back changes nothing
    jobs.add(record("3", "b"), b"")
    assert [job.id for job in jobs.all()] == ["3", "2", "1"]
    assert [job.id for job in jobs.all("a")] == ["2", "1"]
    assert (found := jobs.by_name("a")) is not None
    assert found.id == "1"
    jobs.transition("1", {"RUNNING"}, "COMPLETED", end_time=5)
    assert (found := jobs.by_name("a")) is not None
    assert found.id == "2"


def test_transitions_compare_and_set(jobs: Registry) -> None:
    jobs.add(record("1"), b"")
    assert not jobs.transition("1", {"SUSPENDED"}, "FAILED", cause="x")
    assert jobs.get("1") == record("1")
    assert jobs.transition("1", {"RUNNING", "STARTING"}, "SUSPENDED", cause="x")
    assert jobs.get("1") == record("1", status="SUSPENDED", cause="x")


def test_only_the_owner_with_the_token_writes(jobs: Registry, db: Database) -> None:
    jobs.add(record("1", owner={"pid": 1, "started": 1.0, "token": "a"}), b"")
    assert jobs.update("1", token="a", commits=1).commits == 1
    jobs.update("1", owner={"pid": 2, "started": 1.0, "token": "b"})

    def commit(token: str) -> None:
        with db.transaction() as tx:
            tx.execute("INSERT INTO pipelines VALUES ('x', x'', 0)")
            jobs.update_in(tx, "1", token=token, commits=9)

    for token in ("a", ""):
        with pytest.raises(StaleOwnerError, match="another owner"):
            commit(token)
    assert issubclass(StaleOwnerError, StoreError)
    assert (found := jobs.get("1")) is not None
    assert found.commits == 1
    with pytest.raises(JobError):
        jobs.pipeline("x")  # what came before the check was rolled back too
    jobs.update("1", owner=None)
    with pytest.raises(StaleOwnerError):
        jobs.update("1", token="b", commits=9)


def test_a_pipeline_is_replaced_with_its_record(jobs: Registry) -> None:
    jobs.add(record("1"), b"old")
    assert jobs.set_pipeline("1", b"new", run="r2").run == "r2"
    assert jobs.pipeline("1") == b"new"


@pytest.mark.parametrize("changes", [{"id": "2"}, {"name": "b"}, {"colour": "red"}])
def test_only_known_fields_change(jobs: Registry, changes: dict[str, Any]) -> None:
    jobs.add(record("1"), b"")
    with pytest.raises(ValueError, match=next(iter(changes))):
        jobs.update("1", **changes)


def test_values_in_arguments_are_kept_and_code_is_refused(jobs: Registry) -> None:
    import datetime as dt

    jobs.add(record("1", config={"arguments": {"since": dt.date(2024, 1, 1)}}), b"")
    assert (found := jobs.get("1")) is not None
    assert found.config == {"arguments": {"since": dt.date(2024, 1, 1)}}
    with pytest.raises(SerializationError, match="lambda"):
        jobs.add(record("2", config={"arguments": {"f": lambda: 1}}), b"")
    with pytest.raises(SerializationError, match="job 2"):
        jobs.add(record("2", config={(1, 2): 3}), b"")  # type: ignore[dict-item]


def test_fields_of_a_later_version_are_kept(jobs: Registry, db: Database) -> None:
    jobs.add(record("1"), b"")
    with db.transaction() as tx:
        body = json.dumps({"id": "1", "status": "RUNNING", "savepoint": "s3://x"}).encode()
        tx.execute("UPDATE jobs SET body = ?, crc = ?", (body, zlib.crc32(body)))
    jobs.update("1", commits=3)
    (raw,) = db.reader().execute("SELECT body FROM jobs").fetchone()
    assert json.loads(raw)["savepoint"] == "s3://x"
    assert jobs.get("1") == record("1", commits=3)


def test_a_thousand_jobs_are_listed_quickly(jobs: Registry, db: Database) -> None:
    metrics = {"stages": {f"stage {n}": {"kind": "map", "received": n, "emitted": n, "errors": 0} for n in range(6)}}
    for number in range(1000):
        jobs.add(record(str(number), f"name {number % 10}", "COMPLETED", metrics=metrics), b"x" * 2000)
    start = time.perf_counter()
    found = jobs.all()
    # Ten times what it takes: this is about the order of growth, not about the machine.
    assert time.perf_counter() - start < 0.5
    assert [job.id for job in found[:2]] == ["999", "998"]
    assert len(found) == 1000
