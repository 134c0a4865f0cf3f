"""What a job is to a Flink worker: its plan out of the data folder, its kernels, and how its failures travel.

Beam pickles DoFns and makes as many as it likes, so what belongs to the process
is reached through `work`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetbridge.connectors.base import ConnectorContext
from jetbridge.errors import DataFolderError
from jetbridge.jobs.packing import unpack
from jetbridge.kernels.failure import as_record
from jetbridge.kernels.segment import SegmentKernel
from jetbridge.kernels.services import Services
from jetbridge.plan.fuse import fuse
from jetbridge.store.database import Database
from jetbridge.store.folder import DATABASE
from jetbridge.store.registry import Registry
from jetbridge_flink.failures import mark

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetbridge.connectors.base import Source
    from jetbridge.kernels.sizing import Sizing
    from jetbridge.plan.base import Node


@dataclass(frozen=True)
class JobSpec:
    """What every DoFn of a job carries.

    Attributes:
        home: The data folder's path.
        job_id: The job's id.
        job_name: Its name, or its id.
        run: The run's id.
        start: The id of this start of the run, new at each resume.
        guarantee: The name of the processing guarantee.
        shards: The number of shards of each stage with state.
        unbounded: Whether the job is a stream.
        most_records: How many entries a stage's state may have in a worker; -1 for any number.
        batch: Whether Flink runs it in its batch mode: see `jetbridge_flink.batch`.
    """

    home: str
    job_id: str
    job_name: str
    run: str
    start: str
    guarantee: str
    shards: int
    unbounded: bool
    most_records: int = -1
    batch: bool = False

    @property
    def exactly_once(self) -> bool:
        """Whether rows are written once, when their checkpoint is complete."""
        return self.guarantee == "EXACTLY_ONCE"


class MarkedError(Exception):
    """A failure with its record in its text, so that Flink's supervisor can read it."""


class Work:
    """A job in this process."""

    def __init__(self, spec: JobSpec) -> None:
        self.spec = spec
        self.db = _database(spec)
        self.registry = Registry(self.db)
        self.plan = unpack(self.registry.pipeline(spec.job_id)).plan
        record = self.registry.get(spec.job_id)
        self._arguments = {} if record is None else record.config.get("arguments", {})
        self.nodes = {node.id: node for node in self.plan.nodes}
        self.segments = {segment.root.id: segment for segment in fuse(self.plan)}
        self.sinks = {node.name: node for node in self.plan.sinks}
        self.services = Services(self.context)
        self._opened: dict[int, Source] = {}
        self._sizings: dict[int, dict[int, Sizing]] = {}
        threading.excepthook = _quiet
        self._lock = threading.Lock()

    def kernel(self, node_id: int) -> SegmentKernel:
        """A new kernel of a segment, for one DoFn."""
        logger = f"jetbridge.{self.spec.job_name}"
        sizings = self._sizings.setdefault(node_id, {})
        return SegmentKernel(self.segments[node_id], self.spec.shards, logger, self.services, sizings)

    def source(self, node: Any) -> Source:
        """A source, opened in this process."""
        with self._lock:
            if node.id not in self._opened:
                node.source.open(self.context(node.name))
                self._opened[node.id] = node.source
            source: Source = self._opened[node.id]
            return source

    def context(self, stage: str) -> ConnectorContext:
        """What a connector of a stage may know."""
        spec = self.spec
        return ConnectorContext(
            job_id=spec.job_id,
            job_name=spec.job_name,
            run=spec.run,
            stage=stage,
            home=spec.home,
            unbounded=spec.unbounded,
            exactly_once=spec.exactly_once,
            arguments=self._arguments,
        )


def _database(spec: JobSpec) -> Database:
    """The data folder's database: that of the client, and no other one of the same path on another machine.

    Raises:
        DataFolderError: When it is not here.
    """
    home = Path(spec.home)
    where = f"the worker on {socket.gethostname()} (user {os.geteuid()})"
    try:
        there = (home / DATABASE).is_file()
    except OSError:  # a folder above it cannot be entered
        there = False
    if not there:
        raise DataFolderError(f"{where} finds no data folder at {home}: {_ONE_MACHINE}")
    db = Database.open(home)
    if Registry(db).get(spec.job_id) is None:
        db.close()
        raise DataFolderError(f"{where} finds another data folder at {home}, without job {spec.job_id}: {_ONE_MACHINE}")
    return db


_ONE_MACHINE = (
    "the data folder serves one machine, so the TaskManagers and their workers must run where the client does, as a "
    "user who can open it; in containers, mount it under its own path"
)


def _quiet(args: threading.ExceptHookArgs) -> None:
    """Threads of Beam end with an error when Flink hangs up; that is no news for a user."""
    if type(args.exc_value).__module__.partition(".")[0] != "grpc":
        threading.__excepthook__(args)


_works: dict[tuple[str, str], Work] = {}
_lock = threading.Lock()


def work(spec: JobSpec) -> Work:
    """The job of a spec in this process."""
    key = (spec.job_id, spec.start)
    with _lock:
        if key not in _works:
            _works[key] = Work(spec)
        return _works[key]


def close() -> None:
    """The end of this process: destroy the services of its jobs."""
    with _lock:
        works = list(_works.values())
    for each in works:
        each.services.close()


def _is_close(error: GeneratorExit) -> bool:
    """Whether it is the close of a generator of ours, where it then arises, and not raised by a user's function."""
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None:
        frames = frames.tb_next
    name = "" if frames is None else frames.tb_frame.f_globals.get("__name__", "")
    return name.partition(".")[0] in ("jetbridge", "jetbridge_flink")


@contextlib.contextmanager
def marking(node: Node | None = None) -> Iterator[None]:
    """Let a failure carry its record, so that it can be told from a lost machine."""
    try:
        yield
    except MarkedError:
        raise
    except GeneratorExit as error:
        if _is_close(error):
            raise
        raise MarkedError(mark(as_record(error, None if node is None else node.name))) from error
    except BaseException as error:  # a user's function may raise anything, and Beam knows only what is an Exception
        raise MarkedError(mark(as_record(error, None if node is None else node.name))) from error
