"""Hazelcast Jet's Python pipelines on Apache Beam.

::

    import jetbridge
    from jetbridge import Pipeline

    with jetbridge.connect() as client:
        pipeline = Pipeline.create()
        numbers = pipeline.read_from(Pipeline.from_list("numbers", [1, 2, 3]))
        numbers.map(lambda n: n * n).write_to(Pipeline.to_list("squares"))
        client.get_jet().submit(pipeline).join()
        print(client.get_list("squares").get_all())

Names are loaded when they are first used, so that ``import jetbridge`` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jetbridge import aggregations, connectors, sinks, sources
    from jetbridge.aggregations import AggregateOperation
    from jetbridge.client import Client, JetService
    from jetbridge.config import JobConfig, ProcessingGuarantee
    from jetbridge.connecting import connect
    from jetbridge.connectors.embedded import ListSource, StreamSource
    from jetbridge.errors import (
        ConfigError,
        ConnectionError,
        CorruptDataError,
        DataFolderError,
        DiskFullError,
        ItemError,
        JetbridgeError,
        JobAlreadyExistsError,
        JobCancelledError,
        JobError,
        JobFailedError,
        JobStateError,
        NotYetSupportedError,
        PipelineError,
        SerializationError,
        SinkError,
        SnapshotError,
        SourceError,
        StoreError,
        TimeoutException,
        UnknownTypeError,
        UnsupportedByRunnerError,
    )
    from jetbridge.job import Job, JobStatus, JobStatusEvent
    from jetbridge.keyed_stages import GroupedStage
    from jetbridge.metrics import JobMetrics, StageMetrics
    from jetbridge.pipeline import Pipeline
    from jetbridge.settings import Settings
    from jetbridge.snapshots import JobStateSnapshot
    from jetbridge.stages import BatchStage
    from jetbridge.store.values import register_type

    __version__: str

_MODULES = ("aggregations", "connectors", "errors", "sinks", "sources")
_HOMES = {
    "aggregations": ("AggregateOperation",),
    "client": ("Client", "JetService"),
    "config": ("JobConfig", "ProcessingGuarantee"),
    "connecting": ("connect",),
    "connectors.embedded": ("ListSource", "StreamSource"),
    "errors": (
        "ConfigError",
        "ConnectionError",
        "CorruptDataError",
        "DataFolderError",
        "DiskFullError",
        "ItemError",
        "JetbridgeError",
        "JobAlreadyExistsError",
        "JobCancelledError",
        "JobError",
        "JobFailedError",
        "JobStateError",
        "NotYetSupportedError",
        "PipelineError",
        "SerializationError",
        "SinkError",
        "SnapshotError",
        "SourceError",
        "StoreError",
        "TimeoutException",
        "UnknownTypeError",
        "UnsupportedByRunnerError",
    ),
    "job": ("Job", "JobStatus", "JobStatusEvent"),
    "keyed_stages": ("GroupedStage",),
    "metrics": ("JobMetrics", "StageMetrics"),
    "pipeline": ("Pipeline",),
    "settings": ("Settings",),
    "snapshots": ("JobStateSnapshot",),
    "stages": ("BatchStage",),
    "store.values": ("register_type",),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AggregateOperation",
    "BatchStage",
    "Client",
    "ConfigError",
    "ConnectionError",
    "CorruptDataError",
    "DataFolderError",
    "DiskFullError",
    "GroupedStage",
    "ItemError",
    "JetService",
    "JetbridgeError",
    "Job",
    "JobAlreadyExistsError",
    "JobCancelledError",
    "JobConfig",
    "JobError",
    "JobFailedError",
    "JobMetrics",
    "JobStateError",
    "JobStateSnapshot",
    "JobStatus",
    "JobStatusEvent",
    "ListSource",
    "NotYetSupportedError",
    "Pipeline",
    "PipelineError",
    "ProcessingGuarantee",
    "SerializationError",
    "Settings",
    "SinkError",
    "SnapshotError",
    "SourceError",
    "StageMetrics",
    "StoreError",
    "StreamSource",
    "TimeoutException",
    "UnknownTypeError",
    "UnsupportedByRunnerError",
    "__version__",
    "aggregations",
    "connect",
    "connectors",
    "errors",
    "register_type",
    "sinks",
    "sources",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"jetbridge.{name}")
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("jetbridge")
    elif name in _MODULE_OF:
        value = getattr(importlib.import_module(f"jetbridge.{_MODULE_OF[name]}"), name)
    else:
        raise AttributeError(f"module 'jetbridge' has no attribute {name!r}")
    globals()[name] = value  # the next time it is found at once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
