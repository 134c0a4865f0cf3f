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
    from jetbridge import aggregations, connectors, services, sinks, sources, testing, windows
    from jetbridge.aggregations import AggregateOperation
    from jetbridge.client import Client, JetService
    from jetbridge.config import JobConfig, ProcessingGuarantee
    from jetbridge.connecting import connect
    from jetbridge.connectors.embedded import ListSource, StreamSource
    from jetbridge.errors import (
        ClusterError,
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
        KeyTypeError,
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
    from jetbridge.kernels.aside import FailedItem
    from jetbridge.kernels.custom import CustomKernel
    from jetbridge.keyed_stages import GroupedStage
    from jetbridge.metrics import JobMetrics, StageMetrics
    from jetbridge.pipeline import Pipeline
    from jetbridge.services import ServiceFactory
    from jetbridge.settings import Settings
    from jetbridge.snapshots import JobStateSnapshot
    from jetbridge.stages import BatchStage, StreamStage
    from jetbridge.store.values import register_type
    from jetbridge.windows import KeyedWindowResult, WindowResult

    __version__: str

_MODULES = ("aggregations", "connectors", "errors", "services", "sinks", "sources", "testing", "windows")
_HOMES = {
    "aggregations": ("AggregateOperation",),
    "client": ("Client", "JetService"),
    "config": ("JobConfig", "ProcessingGuarantee"),
    "connecting": ("connect",),
    "connectors.embedded": ("ListSource", "StreamSource"),
    "errors": (
        "ClusterError",
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
        "KeyTypeError",
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
    "kernels.aside": ("FailedItem",),
    "kernels.custom": ("CustomKernel",),
    "job": ("Job", "JobStatus", "JobStatusEvent"),
    "keyed_stages": ("GroupedStage",),
    "metrics": ("JobMetrics", "StageMetrics"),
    "pipeline": ("Pipeline",),
    "services": ("ServiceFactory",),
    "settings": ("Settings",),
    "snapshots": ("JobStateSnapshot",),
    "stages": ("BatchStage", "StreamStage"),
    "store.values": ("register_type",),
    "windows": ("KeyedWindowResult", "WindowResult"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AggregateOperation",
    "BatchStage",
    "Client",
    "ClusterError",
    "ConfigError",
    "ConnectionError",
    "CorruptDataError",
    "CustomKernel",
    "DataFolderError",
    "DiskFullError",
    "FailedItem",
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
    "KeyTypeError",
    "KeyedWindowResult",
    "ListSource",
    "Pipeline",
    "PipelineError",
    "ProcessingGuarantee",
    "SerializationError",
    "ServiceFactory",
    "Settings",
    "SinkError",
    "SnapshotError",
    "SourceError",
    "StageMetrics",
    "StoreError",
    "StreamSource",
    "StreamStage",
    "TimeoutException",
    "UnknownTypeError",
    "UnsupportedByRunnerError",
    "WindowResult",
    "__version__",
    "aggregations",
    "connect",
    "connectors",
    "errors",
    "register_type",
    "services",
    "sinks",
    "sources",
    "testing",
    "windows",
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
