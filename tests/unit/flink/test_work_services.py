"""Services of a job in a Flink worker: they belong to the process, not to kernels, and end with it."""

from __future__ import annotations

import os
import signal
import time
import warnings

import pytest

from jetbridge import Pipeline
from jetbridge.jobs.packing import pack
from jetbridge.services import shared_service
from jetbridge.store import Database, JobRecord, Registry
from jetbridge_flink import work as works
from jetbridge_flink import worker_process
from jetbridge_flink.work import JobSpec


@pytest.fixture
def diary(tmp_path):
    return tmp_path / "diary"


@pytest.fixture
def spec(tmp_path, diary):
    """A job that a client has submitted, and whose worker this process is."""
    path = str(diary)

    def write(line):
        with open(path, "a") as file:
            file.write(f"{line}\n")

    def create(context):
        write(f"made for {context.job_name} {context.stage} {context.arguments}")
        return 10

    pipeline = Pipeline.create()
    stage = pipeline.read_from(Pipeline.from_list("n", [1, 2]))
    stage = stage.map_using_service(shared_service(create, lambda service: write("destroyed")), lambda ten, n: ten * n)
    stage.write_to(Pipeline.to_list("out"))
    db = Database.open(tmp_path / "data")
    record = JobRecord(id="j", status="RUNNING", run="r", config={"arguments": {"n": 1}})
    Registry(db).add(record, pack(pipeline.plan(), "r"))
    db.close()
    yield JobSpec(str(tmp_path / "data"), "j", "a", "r", "s", "NONE", 4, unbounded=False)
    with works._lock:
        gone = works._works.pop(("j", "s"), None)
    if gone is not None:
        gone.db.close()


def feed(spec):
    [emission] = works.work(spec).kernel(0).feed([1, 2])
    return emission.number


def test_each_bundle_has_a_kernel_and_all_have_one_service(spec, diary):
    assert [feed(spec) for _ in range(3)] == [2, 2, 2]
    assert diary.read_text() == "made for a map_using_service {'n': 1}\n"
    works.close()
    works.close()
    assert diary.read_text() == "made for a map_using_service {'n': 1}\ndestroyed\n"


def forked(body):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads that other tests have left
        pid = os.fork()
    if not pid:
        try:
            body()
        finally:
            os._exit(1)
    return pid


def status(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_worker_that_is_told_to_end_destroys_them_first(spec, diary, until):
    def serve():
        worker_process.close_work_when_told()
        feed(spec)
        while True:
            time.sleep(0.01)

    pid = forked(serve)
    until(diary.exists, "the service")
    os.kill(pid, signal.SIGTERM)
    assert status(pid) == -signal.SIGTERM, "it dies of it all the same"
    assert diary.read_text().endswith("destroyed\n")


def test_a_worker_at_its_end_takes_the_time_though_it_is_told_to_end(spec, diary):
    def serve():
        worker_process.close_work_when_told()
        feed(spec)
        worker_process.close_work()
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)

    assert status(forked(serve)) == 0
    assert diary.read_text().endswith("destroyed\n")
