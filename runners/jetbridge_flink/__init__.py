"""The Flink runner: jobs on Apache Flink, on a cluster that jetbridge starts on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jetbridge_flink.runner import FlinkRunner

__all__ = ["FlinkRunner"]


def __getattr__(name: str) -> object:
    # Late: the worker pool and the keeper import this package, and need no runner.
    if name == "FlinkRunner":
        from jetbridge_flink.runner import FlinkRunner

        return FlinkRunner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
