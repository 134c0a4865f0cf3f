"""Snapshots that are asked for by some threads and taken by another."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from jetbridge.errors import ClusterError, SnapshotError, UnsupportedByRunnerError
from jetbridge_flink.exports import Exports


@pytest.fixture
def exports():
    return Exports(threading.Event())


@pytest.fixture
def threads():
    with ThreadPoolExecutor() as threads:
        yield threads


def test_they_are_taken_in_order_and_the_last_one_says_so(exports, threads, until):
    taken = []
    first = threads.submit(exports.ask, "first", last=False)
    until(lambda: exports)
    second = threads.submit(exports.ask, "second", last=True)
    until(lambda: len(exports._open) == 2)
    assert exports.carry_out(taken.append)
    assert taken == ["first", "second"]
    assert first.result(10)
    assert second.result(10)
    assert not exports
    assert not exports.carry_out(taken.append)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (SnapshotError("full"), SnapshotError),
        (ClusterError("gone"), SnapshotError),
        (UnsupportedByRunnerError("never"), UnsupportedByRunnerError),
    ],
)
def test_who_asked_hears_why_there_is_none(exports, threads, until, error, kind):
    def fail(name):
        raise error

    asked = threads.submit(exports.ask, "one", last=False)
    until(lambda: exports)
    assert not exports.carry_out(fail)
    with pytest.raises(kind, match=str(error)):
        asked.result(10)


def test_a_job_that_has_ended_takes_none(exports, threads, until):
    asked = threads.submit(exports.ask, "one", last=False)
    until(lambda: exports)
    exports.end()
    assert asked.result(10) is False
    assert exports.ask("two", last=False) is False
