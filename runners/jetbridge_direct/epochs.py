"""Epochs: each is a Beam run of the translated pipeline, and ends in one commit.

The pipeline is translated once; every run gets the same proto. An epoch reads a
slice of each source, so memory stays bounded however large the input is.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms import environments

from jetbridge.beam.inspect import holds_back
from jetbridge.beam.loading import unconfigured
from jetbridge.beam.sampling import without_sampling
from jetbridge.beam.translate import new_pipeline, translate
from jetbridge.errors import UnsupportedByRunnerError
from jetbridge.plan.fuse import fuse
from jetbridge_direct.transforms import HOSTS, EpochHosting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apache_beam.portability.api import beam_runner_api_pb2 as api

    from jetbridge.plan.fuse import Segment
    from jetbridge.plan.graph import Plan
    from jetbridge_direct.host import JobHost

FIRST_SECONDS = 0.1
MOST_SECONDS = 0.8
"""How long an epoch reads: short at first, so that a small job's results and a large one's progress show early."""
STREAM_SECONDS = 0.05
MOST_STREAM_SECONDS = 0.4
"""Likewise for a stream, where items wait for the epoch before theirs; longer while it is behind."""


class Epochs:
    """Runs a job's epochs.

    Args:
        host: The job.

    Attributes:
        whole: Whether the job is one epoch, because a Beam transform of the
            user's groups, windows or keeps state: an epoch is a slice of the
            input, and such a transform must see all of it.
    """

    def __init__(self, host: JobHost) -> None:
        self._host = host
        self._options = _Options(flags=[])
        self._proto = _translated(host.plan, host.segments, host.run, self._options)
        self.whole = _must_see_all(host.plan, self._proto)
        self._first, self._most = FIRST_SECONDS, MOST_SECONDS
        if host.plan.unbounded:
            self._first, self._most = STREAM_SECONDS, MOST_STREAM_SECONDS
        self._seconds = self._first
        HOSTS[host.run] = host

    def run(self) -> float:
        """One epoch; afterwards the host holds what is to be committed.

        Returns:
            How long it took, in seconds.
        """
        started = time.monotonic()
        self._host.begin_epoch(float("inf") if self.whole else self._seconds)
        FnApiRunner().run_via_runner_api(self._proto, self._options)
        self._host.take_counts()
        taken = time.monotonic() - started
        ahead = not self._host.plan.unbounded or taken > self._seconds
        self._seconds = min(self._seconds * 2, self._most) if ahead else self._first
        return taken

    def close(self) -> None:
        """Forget the host."""
        HOSTS.pop(self._host.run, None)


def check(plan: Plan) -> None:
    """Refuse a plan whose Beam transforms cannot be run, by translating it.

    Args:
        plan: One whose transforms are copies: they may keep what they are applied to.

    Raises:
        PipelineError: When Beam cannot apply one.
        UnsupportedByRunnerError: When one must see all of a stream.
    """
    with unconfigured():
        _must_see_all(plan, _translated(plan, fuse(plan), "", _Options(flags=[])))


def _translated(plan: Plan, segments: Sequence[Segment], run: str, options: _Options) -> api.Pipeline:
    with new_pipeline(FnApiRunner(), options) as pipeline:
        translate(plan, segments, EpochHosting(run, wake=bool(plan.beam)), pipeline)
        return pipeline.to_runner_api(default_environment=environments.EmbeddedPythonEnvironment.default())


def _must_see_all(plan: Plan, proto: api.Pipeline) -> bool:
    """Whether a Beam transform of the user's must see all of the input; that of a stream is refused."""
    names = [f"'{node.name}'" for node in plan.beam if holds_back(proto, node)]
    if names and plan.unbounded:
        raise UnsupportedByRunnerError(
            f"apply_beam {', '.join(names)} groups, windows or keeps state, which the Direct runner cannot run on a "
            "stream: an epoch is a slice of the input. Use stages of jetbridge for that (group_by, window, distinct, "
            "rolling_aggregate, map_stateful), a batch pipeline, or the Flink runner"
        )
    return bool(names)


class _Options(PipelineOptions):
    """Options that are parsed once: Beam makes an argument parser for each look at them, dozens for one pipeline."""

    def view_as(self, cls: Any) -> Any:
        """A view, the same one for each class: all share the values anyway."""
        views = self.__dict__.setdefault("views", {})
        if cls not in views:
            views[cls] = super().view_as(cls)
        return views[cls]


def warm() -> None:
    """A tiny run, so that what Beam loads late is loaded before a job's process is forked."""

    class _One(beam.DoFn):
        def process(self, element: Any) -> Any:
            yield 1, b""

    without_sampling()
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(flags=[]))
    _ = pipeline | beam.Impulse() | beam.ParDo(_One()) | beam.GroupByKey() | "again" >> beam.ParDo(_One())
    pipeline.run().wait_until_finish()
