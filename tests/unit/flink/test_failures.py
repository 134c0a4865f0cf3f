"""Failures in Flink's texts: carried whole and small, and explained when they carry nothing."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge_flink.failure_causes import cause_of
from jetbridge_flink.failures import MOST, explain, find, mark, of_users, shorten

RECORD = {
    "type": "ValueError",
    "message": "no\n\tat 'x' \"y\" \\ é €",
    "stage": "map",
    "item": None,
    "traceback": "T\n  F",
}


def flink_text(python):
    """What Flink makes of a Python exception's text: wrapped again and again, and repeated by each wrap."""
    told = f"java.lang.RuntimeException: Error received from SDK harness for instruction 12: {python}"
    stack = (
        "\tat org.apache.beam.runners.fnexecution.control.FnApiControlClient$ResponseStreamObserver.onNext(A.java:1)"
    )
    return (
        "org.apache.flink.runtime.taskmanager.AsynchronousException: Caught exception while processing timer.\n"
        f"{stack}\nCaused by: java.util.concurrent.ExecutionException: {told}\n{stack}\n\t... 24 more\n"
        f"Caused by: {told}\n{stack}\n\t... 3 more\n"
    )


# --- marks ---


def test_a_record_survives_being_wrapped():
    text = mark(RECORD)
    assert "\n" not in text
    assert " " not in text
    python = f"Traceback (most recent call last):\n  File ...\nMarkedError: {text} [while running 'map:map']\n"
    assert find([flink_text(python)]) == RECORD


@given(st.dictionaries(st.text(), st.none() | st.text()))
def test_any_record(record):
    assert find(["before " + mark(record) + " after"]) == record


def test_a_large_record_is_shortened():
    noise = "".join(random.Random(1).choices(string.printable, k=1_000_000))  # it hardly packs
    text = mark({**RECORD, "message": "m" * 10_000_000, "traceback": noise})
    assert len(text) <= MOST + 100
    record = find([text])
    assert record["stage"] == "map"
    assert noise.startswith(record["traceback"][:100])
    assert noise.endswith(record["traceback"][-100:])
    assert "characters ..." in record["message"]


def test_the_newest_record_is_found():
    texts = ["no mark", mark({"n": 2}), mark({"n": 1})]
    assert find(texts) == {"n": 2}
    assert find(["no mark"]) is None
    assert find([]) is None


@pytest.mark.parametrize("fake", ["jetbridge-failure:AAAA:end", "jetbridge-failure:A:end", "jetbridge-failure::end"])
def test_what_only_looks_like_a_mark(fake):
    assert find([fake]) is None
    assert find([f"{fake} {mark(RECORD)}"]) == RECORD


@pytest.mark.parametrize("place", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_a_mark_stays_whole_in_a_text_that_is_shortened(place):
    before = int(200_000 * place)
    text = "a" * before + mark(RECORD) + "b" * (200_000 - before)
    short = shorten(text)
    assert find([short]) == RECORD
    assert len(short) < MOST + 1000


# --- explanations ---

PYTHON = """Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1512, in apache_beam.runners.common.DoFnRunner.process
  File "/srv/job.py", line 18, in check
    raise TooLarge(f"it is {x}\\nor more")
job.TooLarge: it is 7
or more

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1623, in apache_beam.runners.common.DoFnRunner._reraise_augmented
job.TooLarge: it is 7
or more [while running 'my%2Fstage:apply/check']
"""


def test_a_python_exception_without_a_mark():
    record = explain([flink_text(PYTHON)])
    assert record["type"] == "job.TooLarge"
    assert record["message"] == "job.TooLarge: it is 7\nor more"
    assert record["stage"] == "my/stage"
    assert record["traceback"] == PYTHON.partition("\nDuring")[0]


def test_a_module_that_the_workers_do_not_have():
    record = explain([flink_text("Traceback (most recent call last):\nModuleNotFoundError: No module named 'mine'\n")])
    assert record["type"] == "ModuleNotFoundError"
    assert record["message"].startswith("ModuleNotFoundError: No module named 'mine': the workers cannot import")
    assert record["stage"] is None


def test_a_mark_comes_first():
    assert explain(["SDK Harness connection lost.", flink_text(f"MarkedError: {mark(RECORD)}")]) == RECORD


INIT = (
    "org.apache.flink.runtime.client.JobInitializationException: Could not start the JobMaster.\n\tat a.b.C\n"
    "Caused by: java.util.concurrent.CompletionException: java.lang.RuntimeException: {0}\n\t... 3 more\n"
    "Caused by: {0}\n"
)
POOL = "\tat org.apache.beam.runners.fnexecution.environment.ExternalEnvironmentFactory.createEnvironment(E.java:117)\n"
GRPC = "org.apache.beam.vendor.grpc.v1p69p0.io.grpc.StatusRuntimeException"


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("OutOfMemory", "java.lang.OutOfMemoryError: Java heap space\n\tat a.b.C", "(Java heap space)"),
        ("DiskFull", "Caused by: java.io.IOException: No space left on device", "make room"),
        (
            "SavepointMissing",
            INIT.format(
                "java.io.FileNotFoundException: Cannot find checkpoint or savepoint file/directory '/a/b' on file "
                "system"
            ),
            "no savepoint at /a/b",
        ),
        (
            "SavepointMissing",
            INIT.format(
                "java.io.FileNotFoundException: Cannot find meta data file '_metadata' in directory '/a'. Please"
            ),
            "no savepoint at /a",
        ),
        ("SavepointDamaged", INIT.format("java.io.EOFException"), "is damaged"),
        ("SavepointDamaged", INIT.format("java.io.IOException: Unexpected magic number. This can have"), "is damaged"),
        (
            "SavepointDoesNotFit",
            INIT.format(
                "java.lang.IllegalStateException: Failed to rollback to checkpoint/savepoint file:/a. Cannot map "
                "checkpoint/savepoint state for operator ab12 to the new program, because the operator is not available"
            ),
            "former names",
        ),
        (
            "NotEnoughSlots",
            "Caused by: org.apache.flink.runtime.jobmanager.scheduler.NoResourceAvailableException: Could not acquire "
            "the minimum required resources.",
            "too few free slots",
        ),
        ("JobIdTaken", "org.apache.flink.runtime.client.DuplicateJobSubmissionException: Job has already", "again"),
        ("WrongJars", "java.lang.NoSuchMethodError: 'void a.b.C.d()'\n\tat a", "NoSuchMethodError: 'void a.b.C.d()'"),
        (
            "WorkerNotStarted",
            "Caused by: java.lang.RuntimeException: worker 7-1 ended before it had connected: was killed by signal 9\n"
            + POOL,
            "worker 7-1 ended before it had connected: was killed by signal 9",
        ),
        (
            "WorkerPoolUnreachable",
            f"{GRPC}: UNAVAILABLE: io exception\n{POOL}Caused by: java.net.ConnectException: finishConnect(..) failed: "
            "Connection refused: /127.0.0.1:50000\nCaused by: java.net.ConnectException",
            "cannot reach the worker pool at 127.0.0.1:50000",
        ),
        (
            "WorkerPoolUnreachable",
            f"{GRPC}: UNAVAILABLE: Network closed for unknown reason\n{POOL}",
            "(UNAVAILABLE: Network closed for unknown reason)",
        ),
        (
            "CheckpointsFail",
            "FlinkRuntimeException: Exceeded checkpoint tolerable failure threshold.",
            "again and again",
        ),
        ("WorkerDied", "java.lang.RuntimeException: SDK Harness connection lost.", "worker process died"),
        ("WorkerDied", f"{GRPC}: CANCELLED: call already cancelled. Use", "worker process died"),
        (
            "TaskManagerLost",
            "org.apache.flink.runtime.jobmaster.JobMasterException: TaskManager with id a is no longer reachable.",
            "was lost",
        ),
    ],
)
def test_known_causes(kind, text, words):
    record = explain([text])
    assert record["type"] == kind
    assert words in record["message"]
    assert "\n" not in record["message"]
    assert cause_of(text).kind == kind


def test_a_reason_is_told_before_what_followed_from_it():
    reason = "java.lang.OutOfMemoryError: Metaspace"
    symptom = "TaskManager with id a is no longer reachable."
    assert explain([symptom, symptom, reason])["type"] == "OutOfMemory"
    assert explain([symptom] * 9 + [reason])["type"] == "TaskManagerLost"  # long ago, it was mended
    assert explain([reason, symptom])["type"] == "OutOfMemory"


def test_an_unknown_cause_is_told_as_it_is():
    record = explain(["a.OuterException: outer\n\tat a.b.C\nCaused by: a.InnerException: inner\n\t... 3 more\n"])
    assert (record["type"], record["message"]) == ("FlinkError", "a.InnerException: inner")
    assert explain(["a.OnlyException: only"])["message"] == "a.OnlyException: only"
    assert "does not say why" in explain([])["message"]


# --- a real cluster ---


def test_what_real_jobs_tell(submit, rest, flink, until):
    """Also a message of any size reaches the client, and the TaskManager survives it."""
    import apache_beam as beam

    def marked(_):
        from jetbridge_flink.failures import mark

        raise ValueError(mark({"message": "m", "stage": "s"})) from ValueError("x" * 20_000_000)

    def plain(_):
        raise ValueError("y" * 20_000_000)

    def imports(_):
        import no_such_module  # noqa: F401

    def exits(_):
        import os

        os._exit(3)

    taskmanager = flink.pids["taskmanager"]

    def texts(function, **options):
        return submit(lambda start: start | "own:apply" >> beam.Map(function), **options)

    jobs = {
        "marked": texts(marked),
        "plain": texts(plain),
        "imports": texts(imports),
        "exits": texts(exits),
    }
    records = {
        name: explain(until(lambda job=job: rest.exceptions(job), f"what {name} says")) for name, job in jobs.items()
    }
    assert records["marked"] == {"message": "m", "stage": "s"}
    assert records["plain"]["type"] == "ValueError"
    assert records["plain"]["stage"] == "own"
    assert len(records["plain"]["message"]) < 3000
    assert "in plain" in records["plain"]["traceback"]
    assert records["imports"]["type"] == "ModuleNotFoundError"
    assert "No module named 'no_such_module'" in records["imports"]["message"]
    assert records["exits"]["type"] == "WorkerDied"
    assert flink.pids["taskmanager"] == taskmanager
    for job in jobs.values():
        rest.cancel(job)

    unreachable = texts(marked, pool="127.0.0.1:9")
    record = explain(until(lambda: rest.exceptions(unreachable), "what a job without a pool says"))
    assert record["type"] == "WorkerPoolUnreachable"
    assert "127.0.0.1:9" in record["message"]


# --- failures of users' code ---


def test_a_users_beam_transform_is_known_by_its_stage():
    texts = [flink_text("Connection lost"), flink_text(PYTHON)]
    record = of_users(texts, {"my/stage"})
    assert record is not None
    assert record["type"] == "job.TooLarge"
    assert of_users(texts, {"another"}) is None
    assert of_users(texts, ()) is None
    assert of_users([flink_text(f"MarkedError: {mark(RECORD)}")], ()) == RECORD


def test_what_a_lost_connection_raises_in_a_users_transform_is_not_its_failure():
    lost = "Traceback (most recent call last):\ngrpc._channel._Rendezvous: closed [while running 'my%2Fstage:apply']\n"
    assert explain([flink_text(lost)])["stage"] == "my/stage"
    assert of_users([flink_text(lost)], {"my/stage"}) is None
