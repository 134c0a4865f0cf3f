"""The jobs of the Flink benchmarks as one writes them in Beam's Python SDK, on the cluster that jetbridge started.

They are sent there as jetbridge's jobs are: the same small jar, the same pool of
workers, as many of them, and Flink's batch or streaming mode, whichever jetbridge
takes for such a job. With EXACTLY_ONCE the sink is told to wait for the
checkpoint that holds its rows, behind the shuffle that this takes.
"""

import itertools
import json
import os
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineRunner
from apache_beam.transforms import environments
from auctions.event_files import numbers
from auctions.hand_written_beam import read
from google.protobuf import json_format
from live import folder, work

from flink import beam_parts, on_jetbridge
from flink.beam_parts import SINK, Noted, Table, ToTable
from flink.timing import Moment, Run
from jetbridge_flink import ids
from jetbridge_flink.cluster import Cluster
from jetbridge_flink.jars import ENTRY_CLASS

KEY_GROUPS = 128
BUNDLES = {"beam": (1_000, 1_000), "beam-tuned": (50_000, 1_000)}  # most elements, most milliseconds; Beam's own first
SOURCES = {"beam": beam_parts.documented, "beam-tuned": beam_parts.tuned}
OVER = ("FAILED", "CANCELED", "FINISHED")

_numbers = itertools.count()


class Submitter:
    """Runs hand-written pipelines on a cluster.

    Args:
        cluster: The cluster.
        home: The data folder: tables of results are made there.
        parallelism: The parallelism of jobs, and the number of their workers.
    """

    def __init__(self, cluster: Cluster, home: Path, parallelism: int) -> None:
        self._cluster = cluster
        self._rest = cluster.rest()
        self._home = home
        self._parallelism = parallelism

    def close(self) -> None:
        """Close the connection."""
        self._rest.close()

    def batch(self, variant: str, letter: str, items: int, guarantee: str, interval: int) -> Run:
        """One of the bounded jobs, a or b; ``variant`` is "beam" or "beam-tuned"."""

        def build(pipeline: beam.Pipeline, first: str) -> Any:
            return beam_parts.worked(SOURCES[variant](pipeline, items, first), letter)

        run = self._run(variant, build, items, on_jetbridge.rows(letter, items), guarantee, interval)
        rows = run.result()
        run.result = lambda: [item for item, _ in rows] if letter == "a" else dict(rows)
        return run

    def rolling(self, variant: str, items: int, keys: int, interval: int) -> Run:
        """Running sums by key, exactly once: a result for each item."""

        def build(pipeline: beam.Pipeline, first: str) -> Any:
            return beam_parts.summed(SOURCES[variant](pipeline, items, first), keys)

        run = self._run(variant, build, items, items, "EXACTLY_ONCE", interval)
        rows = run.result()
        # Beam promises no order, and as the numbers are not negative, a key's last sum is its greatest.
        run.result = lambda: work.seen(sorted(rows))
        return run

    def query(self, variant: str, query: Callable[[Any], Any], path: str, items: int, expected: int) -> Run:
        """A query of Nexmark in Flink's batch mode; ``expected`` is how many rows it has."""

        def build(pipeline: beam.Pipeline, first: str) -> Any:
            events = pipeline | beam.Create([path]) | "first" >> beam.ParDo(Noted(first)).with_output_types(str)
            return query(events | "read" >> beam.FlatMap(read)) | "number" >> beam.Map(_number)

        run = self._run(variant, build, items, expected, "NONE", 0)
        rows = run.result()
        run.result = lambda: [number for number, _ in rows]
        return run

    def _run(
        self,
        variant: str,
        build: Callable[[beam.Pipeline, str], Any],
        items: int,
        expected: int,
        guarantee: str,
        interval: int,
    ) -> Run:
        name = f"{variant}-{next(_numbers)}"
        first, table = Moment(str(self._home / f"first-{name}")), Table(self._home / f"{name}.db")
        pipeline = beam.Pipeline(runner=_NoRunner(), options=PipelineOptions(flags=[]))
        results = build(pipeline, first.path)
        if guarantee == "EXACTLY_ONCE":
            results = results | beam.Reshuffle()
        _ = results | SINK >> beam.ParDo(ToTable(table.path))
        start = time.monotonic()
        job = self._submit(pipeline, name, guarantee, interval, BUNDLES[variant])
        folder.until(lambda: table.written()[0] >= expected or self._over(job), folder.RARELY)
        count, last = table.written()
        if guarantee == "NONE":
            folder.until(lambda: self._over(job))
        else:
            self._cancel(job)
        if count != expected:
            raise RuntimeError(f"{name} wrote {count} of {expected} rows: {self._rest.exceptions(job)[:1]}")
        end = time.monotonic()
        # A query that finds nothing has no last row: it was done when the job was.
        return Run(items, start, first.seconds(), last if count else end, end, table.rows)

    def _submit(
        self, pipeline: beam.Pipeline, name: str, guarantee: str, interval: int, bundle: tuple[int, int]
    ) -> str:
        about = {"path": sys.path, "cwd": os.getcwd(), "log": str(self._home / f"{name}.log")}
        environment = environments.ExternalEnvironment(
            self._cluster.worker_pool,
            params={"jetbridge": json.dumps(about)},
            capabilities=environments.python_sdk_capabilities(),
        )
        proto = pipeline.to_runner_api(default_environment=environment)
        if guarantee == "EXACTLY_ONCE":
            ids.require_stable_input(proto, SINK)
        options = json.dumps(self._options(name, guarantee, interval, bundle)).encode()
        jar = self._rest.upload_jar(self._cluster.job_jar(json_format.MessageToJson(proto).encode(), options))
        try:
            return self._rest.run_jar(jar, entry_class=ENTRY_CLASS, job_id=secrets.token_hex(16))
        finally:
            self._rest.delete_jar(jar)

    def _options(self, name: str, guarantee: str, interval: int, bundle: tuple[int, int]) -> dict[str, Any]:
        chosen: dict[str, Any] = {
            "job_name": name,
            "flink_master": "[auto]",
            "streaming": guarantee != "NONE",
            "parallelism": self._parallelism,
            "max_parallelism": KEY_GROUPS,
            "sdk_worker_parallelism": str(self._parallelism),
            "max_bundle_size": str(bundle[0]),
            "max_bundle_time_mills": str(bundle[1]),
            "finish_bundle_before_checkpointing": True,
            "shutdown_sources_after_idle_ms": str(2**63 - 1),
            "environment_cache_millis": "0",
        }
        if guarantee != "NONE":
            chosen |= {
                "checkpointing_interval": str(interval),
                "checkpointing_mode": guarantee,
                "min_pause_between_checkpoints": str(interval // 2),
            }
        return {f"beam:option:{option}:v1": value for option, value in chosen.items()}

    def _over(self, job: str) -> bool:
        view = self._rest.job(job)
        return view is None or view.state in OVER

    def _cancel(self, job: str) -> None:
        """End a job of the streaming mode, whose sources stay for ever."""
        if not self._over(job):
            self._rest.cancel(job)
            folder.until(lambda: self._over(job))


def _number(row: Any) -> int:
    return numbers([row])[0]


class _NoRunner(PipelineRunner):
    """Only to build a pipeline with: jobs are submitted over REST."""
