"""A start of a job: from where it goes on, and what is sent to the cluster."""

from __future__ import annotations

import contextlib
import json
import secrets
from typing import TYPE_CHECKING, Any

from jetbridge.beam.loading import load_beam
from jetbridge.config import ProcessingGuarantee
from jetbridge.errors import JetbridgeError
from jetbridge.plan.matching import described
from jetbridge.store import states
from jetbridge_flink import standing, submission
from jetbridge_flink.jars import ENTRY_CLASS
from jetbridge_flink.scaling import Scaling
from jetbridge_flink.work import JobSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jetbridge.plan.graph import Plan
    from jetbridge.store.database import Database
    from jetbridge.store.records import JobRecord
    from jetbridge_flink.clusters import FlinkCluster
    from jetbridge_flink.rest import FlinkRest


_NONE = ProcessingGuarantee.NONE.value
_NO_RESTART = {"restart-strategy.type": "none"}
"""Without checkpoints Flink would read everything again, and what is written would stay."""
_RESTART = {
    "restart-strategy.type": "exponential-delay",
    "restart-strategy.exponential-delay.initial-backoff": "300 ms",
    "restart-strategy.exponential-delay.max-backoff": "5 s",
    "restart-strategy.exponential-delay.backoff-multiplier": "2.0",
    "restart-strategy.exponential-delay.reset-backoff-threshold": "1 min",
    "restart-strategy.exponential-delay.jitter-factor": "0.1",
}


def fits_batch(plan: Plan, guarantee: str) -> bool:
    """Whether a job that starts afresh needs nothing that only Flink's streaming mode has."""
    return not plan.unbounded and guarantee == _NONE


def restarts(guarantee: str) -> dict[str, str]:
    """Flink's options for what happens to a job that has failed, by the name of its processing guarantee."""
    return dict(_NO_RESTART if guarantee == _NONE else _RESTART)


def check(plan: Plan, guarantee: str) -> None:
    """Refuse a plan whose Beam transforms cannot be applied, by translating it.

    Args:
        plan: One whose transforms are copies: they may keep what they are applied to.
        guarantee: The name of the job's processing guarantee.

    Raises:
        PipelineError: When Beam cannot apply one.
    """
    load_beam()
    from apache_beam.transforms import environments

    from jetbridge_flink.hosting import pipeline_proto

    batch = fits_batch(plan, guarantee)
    spec = JobSpec("", "", "", "", "", guarantee, shards=1, unbounded=plan.unbounded, batch=batch)
    pipeline_proto(plan, spec, environments.EmbeddedPythonEnvironment.default())


class Launch:
    """One start of a job.

    Args:
        cluster: The cluster.
        rest: A client of its REST service.
        record: The job.
        plan: The job's plan.
        run: The run's id.
        shards: The number of shards of each stage with state.
        parallelism: The job's parallelism, as far as the cluster has slots.
        found: Whether the record tells of a start that is in the cluster already.

    Attributes:
        start: The start's id, which its workers must have to write anything.
        flink_id: The job's id in the cluster, new at each start, since a used one is refused.
        batch: Whether it was submitted for Flink's batch mode.
        parallelism: What the job has, as far as the cluster has slots.
        wanted: What it would have if there were room.
    """

    def __init__(
        self,
        cluster: FlinkCluster,
        rest: FlinkRest,
        record: JobRecord,
        plan: Plan,
        run: str,
        shards: int,
        parallelism: int,
        *,
        found: bool = False,
    ) -> None:
        self.batch = False
        self._cluster = cluster
        self._rest = rest
        self._record = record
        self._plan = plan
        self._run = run
        self._shards = shards
        self.wanted = min(parallelism, plan.parallelism or parallelism)
        engine = (record.engine or {}) if found else {}
        self.start: str = engine.get("start") or secrets.token_hex(8)
        self.flink_id: str = engine["ids"][-1] if found else secrets.token_hex(16)
        if engine.get("workers"):
            cluster.stand_by(engine["workers"])
        self.parallelism: int = engine.get("parallelism") or min(self.wanted, cluster.slots)

    def standing(self, db: Database, ids: Sequence[str]) -> Path | None:
        """The savepoint or checkpoint to go on from; None for the beginning.

        Args:
            db: The data folder's database.
            ids: The ids that the run had in the cluster since its last savepoint.

        Raises:
            SnapshotError: When the savepoint is damaged.
        """
        for flink_id in reversed(ids):
            found = standing.retained(self._cluster.checkpoints, flink_id)
            if found is not None:
                return found
        body = states.load(db.reader(), self._record.id)
        self.batch = body is None and fits_batch(self._plan, self._record.config["processing_guarantee"])
        return None if body is None else standing.verified(body)

    def scaling(self) -> Scaling:
        """What watches the cluster's TaskManagers for it."""
        enabled = self._record.config["auto_scaling_enabled"]
        return Scaling(self._rest, enabled=enabled, parallelism=self.parallelism, wanted=self.wanted)

    def noted(self, ids: Sequence[str]) -> dict[str, Any]:
        """What the job's record is to say of it before it is submitted.

        Args:
            ids: The ids that the run had in the cluster since its last savepoint, with this one.
        """
        workers = self._cluster.workers
        return {
            "start": self.start,
            "ids": ids,
            "plan": described(self._plan),
            "parallelism": self.parallelism,
            "runner": standing.ENGINE,
            "workers": None if workers.elsewhere else workers.pool,
            # What a batch job has done nobody can tell some time after its end, so it needs its client.
            "cluster": None if self.batch else self._cluster.address,
        }

    def submit(self, home: str, log: str, savepoint: Path | None) -> None:
        """Send the job to the cluster.

        Args:
            home: The data folder's path.
            log: The file to which its workers append what is printed and logged.
            savepoint: What `standing` gave.

        Raises:
            ClusterError: When the cluster does not take it.
        """
        config = self._record.config
        spec = JobSpec(
            home=home,
            job_id=self._record.id,
            job_name=self._record.name or self._record.id,
            run=self._run,
            start=self.start,
            guarantee=config["processing_guarantee"],
            shards=self._shards,
            unbounded=self._plan.unbounded,
            most_records=config["max_processor_accumulated_records"],
            batch=self.batch,
        )
        interval = config["snapshot_interval_millis"]
        options = submission.options(spec, interval, self.parallelism)
        proto = submission.proto_json(self._plan, spec, self._cluster.workers, log)
        jar = self._rest.upload_jar(self._cluster.job_jar(proto, json.dumps(options).encode()))
        try:
            self._rest.run_jar(
                jar,
                entry_class=ENTRY_CLASS,
                savepoint=None if savepoint is None else str(savepoint),
                allow_non_restored=savepoint is not None,  # a stage that is gone is no mistake: the plans were compared
                job_id=self.flink_id,
                configuration={**self._cluster.configuration, **restarts(spec.guarantee)},
            )
        finally:
            with contextlib.suppress(JetbridgeError):
                self._rest.delete_jar(jar)
