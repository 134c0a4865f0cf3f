"""A data folder of a benchmark's own, and what is done in it again and again."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from flink import processes

import jetbridge
from jetbridge import Client, JobConfig, Pipeline, ProcessingGuarantee, StreamSource

PUBLISHED_AT_ONCE = 50_000
POLL = 0.002  # seconds
RARELY = 0.02
"""Seconds between looks at the end of a long run: the looks take time of the cores that are measured."""
PATIENCE = 600.0  # seconds until something that does not come is a failure


@contextmanager
def client(parallelism: int | None = None, runner: str = "direct") -> Iterator[Client]:
    """A client on an empty data folder, which is removed afterwards; with it ends a cluster of Flink."""
    home = tempfile.mkdtemp(prefix="jetbridge-bench-")
    os.environ["JETBRIDGE_HOME"] = home
    try:
        with jetbridge.connect(parallelism=parallelism, runner=runner) as connected:
            yield connected
    finally:
        if runner == "flink":
            processes.end_cluster(Path(home))
        shutil.rmtree(home)


def publish(client: Client, stream: str, items: Iterable[Any]) -> None:
    """Publish many items."""
    rest = iter(items)
    while part := list(islice(rest, PUBLISHED_AT_ONCE)):
        client.get_stream(stream).publish_all(part)


def until(condition: Callable[[], bool], poll: float = POLL) -> None:
    """Wait for a condition, at which is looked every ``poll`` seconds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what the benchmark waits for does not come")
        time.sleep(poll)


def config(guarantee: str, interval: int) -> JobConfig:
    """The config of a job.

    Args:
        guarantee: The guarantee's name.
        interval: Milliseconds between snapshots.
    """
    return JobConfig(processing_guarantee=ProcessingGuarantee[guarantee], snapshot_interval_millis=interval)


def running_sums(stream: str, sink: str, key: Callable[[Any], Any], add: Callable[[Any, Any], Any]) -> Pipeline:
    """A pipeline with the running sum of each key: a pair in the sink for each item of the stream."""
    pipeline = Pipeline.create()
    grouped = pipeline.read_from(StreamSource(stream)).group_by(key)
    grouped.rolling_aggregate(accumulator=add, initial=0).set_name("sums").write_to(Pipeline.to_list(sink))
    return pipeline
