"""A job's record in the registry, as the client writes it that owns the job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetbridge.connectors import intake
from jetbridge.store import runs
from jetbridge.store.registry import Registry

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from jetbridge.store.database import Database
    from jetbridge.store.records import JobRecord


class OwnRecord:
    """Writes the record until the job has another owner: then each call raises StaleOwnerError.

    Args:
        db: The data folder's database.
        record: The job as it was when this client became its owner.

    Attributes:
        registry: The jobs of the data folder.
        token: What tells this owner from others.
    """

    def __init__(self, db: Database, record: JobRecord) -> None:
        assert record.owner is not None, "a job is started by its owner"
        self._db = db
        self._first = record
        self._owner = record.owner
        self.registry = Registry(db)
        self.token: str = record.owner["token"]

    @property
    def now(self) -> JobRecord:
        """The record as it is now."""
        return self.registry.get(self._first.id) or self._first

    @property
    def engine(self) -> dict[str, Any]:
        """What it says of the job in the cluster."""
        return self.now.engine or {}

    def begin(self, **changes: Any) -> None:
        """Note a start: from now on only this one is in the cluster."""
        engine = self.now.engine
        if engine is not None:
            changes["engine"] = {**engine, "cluster": None}
        self.note(owner=self._owner, **changes)

    def note(self, **changes: Any) -> None:
        """Change fields."""
        self.registry.update(self._first.id, token=self.token, **changes)

    def change(self, changes: dict[str, Any], also: Callable[[sqlite3.Connection], object] | None = None) -> None:
        """Change fields durably, and something else with them, in one transaction."""
        with self._db.transaction(durable=True) as tx:
            if also is not None:
                also(tx)
            self.registry.update_in(tx, self._first.id, token=self.token, **changes)

    def leave(self, changes: dict[str, Any], also: Callable[[sqlite3.Connection], object] | None = None) -> None:
        """As `change`; the job belongs to nobody then."""
        self.change({**changes, "owner": None}, also)

    def begin_anew(self, run: str) -> str:
        """Forget a run, and begin another one.

        Returns:
            The new run's id.
        """
        with self._db.transaction() as tx:
            record = self.registry.get_in(tx, self._first.id)
            intake.clear(tx, run)
            changes = runs.begin(tx, self._db.home, record)
            self.registry.update_in(tx, record.id, token=self.token, engine=None, **changes)
        return str(changes["run"])
