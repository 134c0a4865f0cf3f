"""What is sent to Flink to start a job: the pipeline's proto, Beam's options, the workers' environment."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from jetbridge.beam.loading import load_beam
from jetbridge.config import ProcessingGuarantee
from jetbridge.jobs.console import levels

if TYPE_CHECKING:
    from jetbridge.plan.graph import Plan
    from jetbridge_flink.clusters import Workers
    from jetbridge_flink.work import JobSpec

KEY_GROUPS = 128
"""Flink's max parallelism; it may never change, or savepoints do not fit any more."""
BUNDLE_ELEMENTS = 1000
BUNDLE_MILLIS = 50
_FOREVER = 2**63 - 1


def options(spec: JobSpec, interval_millis: int, parallelism: int) -> dict[str, Any]:
    """Beam's pipeline options, as the job's jar holds them.

    Args:
        spec: The job.
        interval_millis: The time between two checkpoints.
        parallelism: The job's parallelism, and the number of its Python workers on each TaskManager.
    """
    chosen: dict[str, Any] = {
        "job_name": spec.job_name,
        "app_name": spec.job_name,
        "flink_master": "[auto]",
        "streaming": not spec.batch,
        "parallelism": parallelism,
        "max_parallelism": KEY_GROUPS,
        "sdk_worker_parallelism": str(parallelism),
        # Without both a bundle stays open until a thousand elements have come.
        "max_bundle_size": str(BUNDLE_ELEMENTS),
        "max_bundle_time_mills": str(BUNDLE_MILLIS),
        # Else the outputs of a bundle that a checkpoint closes lie in the checkpoint until another element comes.
        "finish_bundle_before_checkpointing": True,
        # Chaining hangs on the parallelism, and operators' ids on chaining.
        "operator_chaining": False,
        # A source that has ended must stay, or what its successors still hold can be lost.
        "shutdown_sources_after_idle_ms": str(_FOREVER),
        "environment_cache_millis": "0",
    }
    if spec.guarantee != ProcessingGuarantee.NONE.value:
        chosen |= {
            "checkpointing_interval": str(interval_millis),
            "checkpointing_mode": spec.guarantee,
            "min_pause_between_checkpoints": str(min(500, max(1, interval_millis // 2))),
            "externalized_checkpoints_enabled": True,
            "retain_externalized_checkpoints_on_cancellation": True,
        }
    return {f"beam:option:{option}:v1": value for option, value in chosen.items()}


def proto_json(plan: Plan, spec: JobSpec, workers: Workers, log: str) -> bytes:
    """The pipeline's proto as JSON.

    Args:
        plan: The job's plan.
        spec: What its DoFns carry.
        workers: Where its workers come from.
        log: The file to which the workers append what is printed and logged.
    """
    load_beam()  # late, because it takes a second
    from apache_beam.transforms import environments
    from google.protobuf import json_format

    from jetbridge_flink import worker_boot, worker_process
    from jetbridge_flink.hosting import pipeline_proto

    about: dict[str, Any] = {"cwd": os.getcwd(), "argv": sys.argv, "levels": levels(), "log": log}
    about["more" if workers.elsewhere else "path"] = [os.path.abspath(folder) for folder in sys.path]
    capabilities = environments.python_sdk_capabilities()
    environment: environments.Environment
    if workers.command:
        environment = environments.ProcessEnvironment(
            workers.command, env={worker_boot.VARIABLE: json.dumps(about)}, capabilities=capabilities
        )
    else:
        environment = environments.ExternalEnvironment(
            workers.pool, params={worker_process.PARAMETER: json.dumps(about)}, capabilities=capabilities
        )
    text: str = json_format.MessageToJson(pipeline_proto(plan, spec, environment))
    return text.encode()
