"""The Direct runner: jobs on this machine, one worker process for each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from jetbridge.config import ProcessingGuarantee
from jetbridge.errors import NotYetSupportedError, UnsupportedByRunnerError
from jetbridge.store.registry import Registry
from jetbridge_direct.execution import DirectExecution
from jetbridge_direct.logs import show_messages
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
        """Refuse what one machine cannot do."""
        if config.max_processor_accumulated_records > 0:
            raise UnsupportedByRunnerError(
                "max_processor_accumulated_records: the Direct runner keeps state on disk and counts no records; "
                "leave it at -1"
            )
        # Two clusters that each believe to be the whole: a single process cannot be split, so that is honoured.
        _check_for_now(plan, config)

    def warm(self) -> None:
        """Start the fork server, which imports Beam in the background."""
        show_messages()
        self._server.get()

    def start(self, record: JobRecord, payload: bytes) -> DirectExecution:
        """Start a job."""
        spec: dict[str, Any] = {
            "home": str(self._db.home),
            "parallelism": self._settings.parallelism or cores(),
            "shards": self._settings.shards,
            "payload": payload,
        }
        return DirectExecution(
            record, spec, registry=Registry(self._db), server=self._server.get, logs=self._db.home / "logs"
        )

    def close(self) -> None:
        """Let go of the fork server."""
        self._server.leave()


def _check_for_now(plan: Plan, config: JobConfig) -> None:
    """What this version does not carry out yet, in one place."""
    wanted = {
        f"processing_guarantee={config.processing_guarantee}": config.processing_guarantee
        is not ProcessingGuarantee.NONE,
        "suspend_on_failure": config.suspend_on_failure,
        "initial_snapshot_name": config.initial_snapshot_name is not None,
        "a stream as a source": plan.unbounded,
    }
    for what, asked in wanted.items():
        if asked:
            raise NotYetSupportedError(f"{what} is not carried out by this version of jetbridge's Direct runner")


def cores() -> int:
    """How many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))  # what taskset and containers leave
    except AttributeError:  # macOS
        return os.cpu_count() or 1
