"""A job on a cluster whose TaskManagers come and go: it uses what joins, and survives what leaves."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from flink_sums import config, expected, sums
from remote_flink import SLOTS, RemoteFlink

import jetbridge
from jetbridge import JobStatus
from jetbridge_flink import scaling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def flink(tmp_path: Path, until: Callable[..., Any]) -> Iterator[RemoteFlink]:
    """A cluster with one TaskManager; `start` starts the other one."""
    cluster = RemoteFlink(tmp_path / "cluster", beam=True)
    try:
        cluster.start()
        leave(cluster, until)
        yield cluster
    finally:
        cluster.end()


def leave(flink: RemoteFlink, until: Callable[..., Any]) -> None:
    flink.kill("taskmanager-1")
    until(lambda: flink._get("/overview").get("slots-total") == SLOTS, "the end of a TaskManager")


def parallelism(flink: RemoteFlink) -> int:
    found = (flink._get(f"/jobs/{job}").get("vertices", []) for job in flink.jobs())
    return max((vertex["parallelism"] for vertices in found for vertex in vertices), default=0)


@pytest.mark.full
def test_a_job_uses_what_joins_and_survives_what_leaves(
    flink: RemoteFlink, tmp_path: Path, until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaling, "_BETWEEN_SECONDS", 1.0)
    monkeypatch.setattr(scaling, "_SETTLED_SECONDS", 1.0)
    with jetbridge.connect(runner="flink", home=tmp_path / "data", flink_url=flink.url) as client:
        stream, results = client.get_stream("in-x"), client.get_list("out-x")
        stream.publish_all(range(1000))
        job = client.get_jet().submit(sums("x"), config("x"))
        until(lambda: len(results) == 1000)
        assert parallelism(flink) == SLOTS
        flink.start()
        stream.publish_all(range(1000, 1500))
        until(lambda: parallelism(flink) == 2 * SLOTS, "the use of the TaskManager that has joined")
        until(lambda: len(results) == 1500)
        leave(flink, until)
        stream.publish_all(range(1500, 2000))
        until(lambda: parallelism(flink) == SLOTS, "the job on what is left")
        until(lambda: len(results) >= 2000)
        assert Counter(results.get_all()) == expected(2000)
        assert job.get_metrics().received_count == 2000
        job.cancel()
        # One that may not be scaled keeps its parallelism.
        results.clear()
        job = client.get_jet().submit(sums("x"), config("fixed", auto_scaling_enabled=False))
        until(lambda: len(results) == 2000)
        flink.start()
        until(lambda: flink._get("/overview")["slots-available"] == SLOTS)
        stream.publish_all(range(2000, 2500))
        until(lambda: len(results) == 2500)
        assert parallelism(flink) == SLOTS
        assert job.status is JobStatus.RUNNING
        job.cancel()
