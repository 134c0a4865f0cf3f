"""A job whose code this process cannot load: no cluster is asked for, and its state stays."""

from __future__ import annotations

import pickle

import pytest

from jetbridge import JobConfig
from jetbridge.store.database import Database
from jetbridge.store.records import JobRecord
from jetbridge.store.registry import Registry
from jetbridge_flink.execution import FlinkExecution

PAYLOAD = pickle.dumps({}) + b"cmodule_that_is_elsewhere\nfunction\n."


@pytest.fixture
def ended(tmp_path):
    """What the record of a job says when its execution has ended."""

    def run(start_time):
        db = Database.open(tmp_path / "home")
        config = JobConfig(processing_guarantee="EXACTLY_ONCE").model_dump(mode="json")
        owner = {"token": "token"}
        record = JobRecord("job", "NOT_RUNNING", config=config, run="run", owner=owner, start_time=start_time)
        Registry(db).add(record, PAYLOAD)
        execution = FlinkExecution(record, PAYLOAD, db=db, cluster=no_cluster, parallelism=1, shards=1)
        assert execution.wait(60)
        found = Registry(db).get("job")
        db.close()
        return found

    return run


def no_cluster():
    raise AssertionError("a cluster was asked for")


def test_one_that_has_run_before_is_suspended(ended):
    record = ended(start_time=1)
    assert (record.status, record.suspended_by, record.owner) == ("SUSPENDED", "client", None)
    assert "No module named 'module_that_is_elsewhere'" in record.cause
    assert "new_job_if_absent" in record.cause


def test_a_first_submission_fails(ended):
    record = ended(start_time=None)
    assert (record.status, record.cause) == ("FAILED", None)
    assert "No module named 'module_that_is_elsewhere'" in record.error["message"]
