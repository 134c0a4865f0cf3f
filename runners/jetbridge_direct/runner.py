"""The Direct runner: jobs on this machine, one worker process for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetbridge.config import ProcessingGuarantee
from jetbridge.jobs.console import show_messages
from jetbridge.jobs.packing import with_copies
from jetbridge.processes import cores
from jetbridge_direct.execution import DirectExecution
from jetbridge_direct.server import WORKER_MODULE
from jetbridge_direct.sharing import shared

if TYPE_CHECKING:
    from jetbridge.config import JobConfig
    from jetbridge.plan.graph import Plan
    from jetbridge.settings import Settings
    from jetbridge.store.database import Database
    from jetbridge.store.records import JobRecord


class DirectRunner:
    """Runs jobs in processes of this machine; see `jetbridge.runner.Runner`.

    Args:
        settings: The settings.
        db: The data folder's database.
        worker_module: The module that the workers run.
    """

    name = "direct"

    def __init__(self, settings: Settings, db: Database, worker_module: str = WORKER_MODULE) -> None:
        self._settings = settings
        self._db = db
        self._server = shared(worker_module)
        self._server.enter()

    def check(self, plan: Plan, config: JobConfig) -> None:
        """Refuse the Beam transforms that cannot be run here; all else can."""
        if plan.beam:  # the user has imported Beam already, and nobody else waits for it
            from jetbridge_direct import epochs

            epochs.check(with_copies(plan))

    def warm(self) -> None:
        """Start the fork server, which imports Beam in the background."""
        show_messages()
        self._server.get()

    def attaches(self, record: JobRecord) -> bool:
        """No job runs on here without its client."""
        return False

    def start(self, record: JobRecord, payload: bytes) -> DirectExecution:
        """Start a job."""
        config = record.config
        spec: dict[str, Any] = {
            "home": str(self._db.home),
            "parallelism": self._settings.parallelism or cores(),
            "shards": record.shards or self._settings.shards,
            "payload": payload,
            "guarantee": ProcessingGuarantee(config["processing_guarantee"]),
            "snapshot_interval_millis": config["snapshot_interval_millis"],
            "limits": {"max_records": config["max_processor_accumulated_records"]},
            "suspend_on_failure": config["suspend_on_failure"],
            "arguments": config["arguments"],
        }
        return DirectExecution(record, spec, db=self._db, server=self._server.get)

    def close(self) -> None:
        """Let go of the fork server."""
        self._server.leave()
