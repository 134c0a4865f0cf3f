"""Services are made once in each worker, and destroyed when the job ends there, however it ends."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter

import pytest

from jetbridge import JobConfig, JobFailedError, Pipeline, ProcessingGuarantee, StreamSource
from jetbridge.errors import SerializationError
from jetbridge.services import ServiceFactory, shared_service


class Diary:
    """What services write about themselves: a line at their beginning, and one at their end."""

    def __init__(self, folder):
        self.path = str(folder / "diary")

    def factory(self, shared=True):
        path = self.path

        def write(what, number):
            with open(path, "a") as file:
                file.write(f"{what} {os.getpid()} {number}\n")

        def create(context):
            service = {"number": os.urandom(8).hex()}
            write("made", service["number"])
            return service

        def destroy(service):
            write("destroyed", service["number"])

        return ServiceFactory(create, destroy, shared)

    def lines(self, what):
        """``(process, service)`` of each line of a sort."""
        if not os.path.exists(self.path):
            return []
        with open(self.path) as file:
            lines = [line.split() for line in file.read().splitlines()]
        return [tuple(line[1:]) for line in lines if line[0] == what]

    def all_destroyed(self):
        made = self.lines("made")
        return bool(made) and sorted(made) == sorted(self.lines("destroyed"))

    def processes(self):
        return Counter(process for process, _ in self.lines("made"))


@pytest.fixture
def diary(folder):
    return Diary(folder)


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("shared", [True, False])
def test_a_job_that_completes(jet, diary, until, shared):
    def build(stage):
        return stage.map_using_service(diary.factory(shared), lambda service, n: service["number"])

    numbers = set(jet.collect(range(30_000), build))
    assert numbers <= {number for _, number in diary.lines("made")}
    if jet.runner == "direct":
        assert diary.all_destroyed(), "join returns when the worker has ended"
        assert len(diary.processes()) <= jet.parallelism
    until(diary.all_destroyed)
    if shared or jet.runner == "direct":
        assert set(diary.processes().values()) == {1}, "one in each process"


def test_several_stages_and_branches(jet, diary, until):
    pipeline, left, right = Pipeline.create(), jet.list(), jet.list()
    factory = diary.factory()
    stage = pipeline.read_from(Pipeline.from_list("n", range(100)))
    shared = stage.map_using_service(factory, lambda service, n: n)
    shared.filter_using_service(factory, lambda service, n: n < 5).write_to(Pipeline.to_list(left.name))
    shared.distinct().map_using_service(factory, lambda service, n: n).write_to(Pipeline.to_list(right.name))
    jet.run(pipeline)
    until(diary.all_destroyed)
    assert (left.size(), right.size()) == (5, 100)
    assert max(diary.processes().values()) <= 3, "one for each stage in each process"


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_job_that_fails(jet, diary, until):
    def fails(service, n):
        if n == 700:
            raise ValueError("no")
        return n

    with pytest.raises(JobFailedError, match="failed on item 700"):
        jet.collect(range(30_000), lambda stage: stage.map_using_service(diary.factory(), fails))
    until(diary.all_destroyed)
    assert diary.lines("made")


@pytest.mark.parametrize("guarantee", [ProcessingGuarantee.EXACTLY_ONCE, ProcessingGuarantee.NONE])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_job_that_is_suspended_and_cancelled(jet, diary, until, guarantee):
    stream, results = jet.client.get_stream(jet.name("stream")), jet.list()
    pipeline = Pipeline.create()
    stage = pipeline.read_from(StreamSource(stream.name, initial_position="earliest"))
    stage.map_using_service(diary.factory(), lambda service, n: n).write_to(Pipeline.to_list(results.name))
    job = jet.submit(pipeline, JobConfig(processing_guarantee=guarantee, snapshot_interval_millis=200))
    stream.publish(1)
    until(lambda: results.size() == 1)
    job.suspend()
    until(diary.all_destroyed)
    before = len(diary.lines("made"))

    job.resume()
    stream.publish(2)
    until(lambda: 2 in results.get_all())
    assert len(diary.lines("made")) > before, "a worker that goes on has services of its own"
    job.cancel()
    if jet.runner == "direct":
        assert diary.all_destroyed(), "cancel returns when the worker has ended"
    until(diary.all_destroyed)


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_bounded_job_that_is_cancelled_while_it_works(jet, diary, until):
    def slow(service, n):
        time.sleep(0.001)
        return n

    pipeline, results = Pipeline.create(), jet.list()
    stage = pipeline.read_from(Pipeline.from_list("n", range(1_000_000)))
    stage.map_using_service(diary.factory(), slow).write_to(Pipeline.to_list(results.name))
    job = jet.submit(pipeline)
    until(lambda: diary.lines("made"))
    job.cancel()
    until(diary.all_destroyed)
    assert job.is_user_cancelled


def test_a_worker_that_does_not_come_back_is_cancelled_all_the_same(jet, diary, gate):
    opened, started = gate.opened, gate.started

    def waits(service, n):
        with open(started, "a") as file:
            file.write("x")
        while not os.path.exists(opened):
            pass
        return n

    pipeline, results = Pipeline.create(), jet.list()
    stage = pipeline.read_from(Pipeline.from_list("n", [1]))
    stage.map_using_service(diary.factory(), waits).write_to(Pipeline.to_list(results.name))
    job = jet.submit(pipeline)
    gate.wait_until_reached()
    job.cancel()
    assert job.is_user_cancelled
    assert results.get_all() == []


@pytest.mark.parametrize("then", ["fail", "skip"])
def test_a_service_that_cannot_be_made(fails, says, then):
    def create(context):
        raise ConnectionRefusedError("nobody listens")

    def build(stage):
        stage = stage.map_using_service(shared_service(create), lambda service, n: n)
        return stage.set_name("ask").on_error(then)

    caught = fails([1, 2], build)
    says(caught, "service of map_using_service 'ask' could not be created: ConnectionRefusedError: nobody listens")
    assert (caught.value.stage, caught.value.item) == ("ask", None)
    assert "in create" in caught.value.user_traceback


def test_a_service_that_is_none(fails, says):
    caught = fails([1], lambda s: s.map_using_service(shared_service(lambda context: None), max).set_name("ask"))
    says(caught, "service of map_using_service 'ask' could not be created: its create returned None")


def test_what_create_captures_must_travel(jet):
    connection = socket.socket()
    with (
        connection,
        pytest.raises(SerializationError, match="'ask': its create uses 'connection', a socket"),
    ):
        jet.collect([1], lambda s: s.map_using_service(shared_service(lambda context: connection), max).set_name("ask"))
