"""Reading whole sources and running sinks the way a host does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jetbridge.connectors import ConnectorContext, SinkChunk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CONTEXT = ConnectorContext(job_id="job-1", job_name="job", run="run-1", stage="stage", home=".")


def _read_all(source: Any, limit: int = 1000) -> list[Any]:
    source.check()
    source.open(CONTEXT)
    items: list[Any] = []
    try:
        for partition in source.partitions():
            offset = source.start(partition)
            while offset is not None:
                got, offset = source.read(partition, offset, limit)
                items += got
    finally:
        source.close()
    return items


def _write_all(sink: Any, chunks: Sequence[list[Any]]) -> None:
    sink.check()
    sink.open(CONTEXT)
    try:
        for sequence, items in enumerate(chunks):
            sink.write(SinkChunk("run-1", "stage", "0", sequence, len(items), sink.prepare(items)))
            sink.flush()
        sink.complete()
    finally:
        sink.close()


@pytest.fixture(scope="session")
def context() -> ConnectorContext:
    return CONTEXT


@pytest.fixture(scope="session")
def read_all() -> Callable[..., list[Any]]:
    """Every item of a source, read with a limit."""
    return _read_all


@pytest.fixture(scope="session")
def write_all() -> Callable[..., None]:
    """Run a sink from check to close."""
    return _write_all
