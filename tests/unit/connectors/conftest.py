"""Reading whole sources and running sinks the way a host does."""

from __future__ import annotations

import glob
import os
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from jetbridge import sinks, sources
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


def _make(path, kind):
    name, _, ending = kind.partition(".")
    return getattr(sinks, name)(f"{path}.{ending}" if ending else path)


def _row(sink, number):
    return f"row {number}" if sink.kind == "text" else {"n": number, "s": None if number % 3 else f"x{number}"}


def _chunk(sink, numbers):
    return SinkChunk("run-1", "stage", "0", 0, len(numbers), sink.prepare([_row(sink, n) for n in numbers]))


def _numbers(sink, path):
    """The numbers of the rows in a file that may hold none."""
    types = {"types": {"n": int, "s": str}} if sink.kind == "csv" and os.path.getsize(path) > 100 else {}
    rows = _read_all(getattr(sources, sink.kind)(path, **types))
    return [int(row.split()[1]) if sink.kind == "text" else row["n"] for row in rows]


def _visible(sink):
    paths = sorted(glob.glob(os.path.join(glob.escape(sink.path), "*")))
    return {path: _numbers(sink, path) for path in paths}


class Script:
    """A host that commits, crashes and goes on as it is told, and knows what must be there."""

    def __init__(self, sink, context):
        self.sink, self.context = sink, context
        self.target = pickle.loads(pickle.dumps(sink))
        self.target.open(context)
        self.committed, self.pending, self.next = [], [], 0
        self.kept = None
        self.commit()

    def commit(self):
        position = self.target.position()
        self.kept = pickle.loads(pickle.dumps(position))
        self.committed += self.pending
        self.pending = []
        self.target.committed(position)

    def write(self, count):
        numbers = list(range(self.next, self.next + count))
        self.next += count
        self.target.write(_chunk(self.sink, numbers))
        self.pending += numbers

    def crash(self):
        self.target.pause()  # whatever was buffered may or may not have reached the file; here it has
        self.pending = []
        self.target = pickle.loads(pickle.dumps(self.sink))
        self.target.reopen(self.context, self.kept)

    def run(self, ops, age):
        for name, count in ops:
            if name == "write":
                self.write(count)
            elif name == "commit":
                self.commit()
            elif name == "position":
                self.target.position()  # the commit that was to hold it fails
            elif name == "pause":
                self.commit()
                self.crash()
            elif name == "crash":
                self.crash()
            else:
                age()
            yield


@pytest.fixture(scope="session")
def make_sink():
    """A file sink at a path by its kind and extension, such as ``csv.gz``."""
    return _make


@pytest.fixture(scope="session")
def numbers_in():
    """The numbers of the rows in a file that a `Script` wrote."""
    return _numbers


@pytest.fixture(scope="session")
def parts_of():
    """The numbers of the rows in each visible part."""
    return _visible


@pytest.fixture(scope="session")
def make_script():
    """A `Script` of a sink and a context."""
    return Script
