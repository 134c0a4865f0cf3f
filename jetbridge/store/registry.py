"""The jobs of a data folder: every process that opens it sees the same ones and can steer them."""

from __future__ import annotations

import sqlite3
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jetbridge.errors import CorruptDataError, JobAlreadyExistsError, JobError, StoreError
from jetbridge.store import states
from jetbridge.store.faults import mapped
from jetbridge.store.records import FIELDS, TERMINAL, JobRecord, from_body, to_body

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from jetbridge.store.database import Database

_ROW = "SELECT id, body, crc FROM jobs "


class StaleOwnerError(StoreError):
    """A job has passed to another owner: who still works for it must stop, and has written nothing."""


class Registry:
    """The jobs of a data folder.

    Example:
        >>> import tempfile
        >>> from jetbridge.store import Database
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     db = Database.open(f"{parent}/data")
        ...     jobs = Registry(db)
        ...     jobs.add(JobRecord(id="1", name="delays", status="NOT_RUNNING"), pipeline=b"...")
        ...     print(jobs.transition("1", {"NOT_RUNNING", "STARTING"}, "RUNNING", run="a"), jobs.get("1").status)
        ...     db.close()
        True RUNNING
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(
        self, record: JobRecord, pipeline: bytes, *, also: Callable[[sqlite3.Connection], object] | None = None
    ) -> None:
        """Add a new job, durably.

        Args:
            record: Its first record.
            pipeline: The packed pipeline, for restarts and resumes.
            also: What belongs to it, written in the same transaction.

        Raises:
            JobAlreadyExistsError: When an active job has the name, also when two processes race for it.
        """
        body = to_body(record)
        crc = zlib.crc32(pipeline)
        with self._db.transaction(durable=True) as tx:
            try:
                tx.execute(
                    "INSERT INTO jobs (id, name, status, body, crc) VALUES (?, ?, ?, ?, ?)",
                    (record.id, record.name, record.status, body, zlib.crc32(body)),
                )
            except sqlite3.IntegrityError as error:
                if tx.execute("SELECT 1 FROM jobs WHERE id = ?", (record.id,)).fetchone():
                    raise JobError(f"there is a job with the id {record.id!r} already") from error
                raise _name_taken(tx, record.name) from error
            tx.execute("INSERT INTO pipelines (job, payload, crc) VALUES (?, ?, ?)", (record.id, pipeline, crc))
            if also is not None:
                also(tx)

    def get(self, job_id: str) -> JobRecord | None:
        """The record of a job, None when there is no such job."""
        return self._one(_ROW + "WHERE id = ?", (job_id,))

    def by_name(self, name: str) -> JobRecord | None:
        """The active job of a name, or else the newest that has ended; None when there is none."""
        active = ", ".join(f"'{status}'" for status in sorted(TERMINAL))
        return self._one(_ROW + f"WHERE name = ? ORDER BY status IN ({active}), seq DESC LIMIT 1", (name,))

    def all(self, name: str | None = None) -> list[JobRecord]:
        """All jobs, ended ones included, or all of a name; the newest first."""
        where, arguments = ("", ()) if name is None else ("WHERE name = ? ", (name,))
        with self._faults():
            rows = self._db.reader().execute(f"{_ROW}{where}ORDER BY seq DESC", arguments).fetchall()
        return [from_body(body, crc, job_id)[0] for job_id, body, crc in rows]

    def statuses(self, job_ids: Collection[str]) -> dict[str, str]:
        """The statuses of some jobs: a quick look, for who looks often."""
        marks = ", ".join("?" * len(job_ids))
        with self._faults():
            rows = self._db.reader().execute(f"SELECT id, status FROM jobs WHERE id IN ({marks})", [*job_ids])
            return dict(rows.fetchall())

    def pipeline(self, job_id: str) -> bytes:
        """The packed pipeline of a job that has not ended. It is code: unpack it only in one's own data folder.

        Raises:
            CorruptDataError: When it does not match its checksum.
            JobError: When there is no such job, or it has ended.
        """
        with self._faults():
            row = self._db.reader().execute("SELECT payload, crc FROM pipelines WHERE job = ?", (job_id,)).fetchone()
        if row is None:
            raise _no_job(job_id)
        payload: bytes = row[0]
        if type(payload) is not bytes or zlib.crc32(payload) != row[1]:
            raise CorruptDataError(
                f"job {job_id!r}: its pipeline does not match its checksum; the data folder is damaged: submit it anew"
            )
        return payload

    def set_pipeline(self, job_id: str, pipeline: bytes, *, token: str | None = None, **changes: Any) -> JobRecord:
        """Replace a job's pipeline, and fields of its record with it, durably; see `update`."""
        with self._db.transaction(durable=True) as tx:
            record = self.update_in(tx, job_id, token=token, **changes)
            self.set_pipeline_in(tx, job_id, pipeline)
        return record

    def set_pipeline_in(self, tx: sqlite3.Connection, job_id: str, pipeline: bytes) -> None:
        """Replace a job's pipeline, inside a transaction."""
        crc = zlib.crc32(pipeline)
        tx.execute("UPDATE pipelines SET payload = ?, crc = ? WHERE job = ?", (pipeline, crc, job_id))

    def update(self, job_id: str, *, token: str | None = None, **changes: Any) -> JobRecord:
        """Change fields of a record.

        Args:
            job_id: The job.
            token: When given, the job's owner must still have it.
            **changes: Fields of `JobRecord` with their new values.

        Returns:
            The new record.

        Raises:
            StaleOwnerError: When the job has another owner or none; nothing is changed.
            JobError: When there is no such job.
        """
        with self._db.transaction() as tx:
            return self.update_in(tx, job_id, token=token, **changes)

    def update_in(self, tx: sqlite3.Connection, job_id: str, *, token: str | None = None, **changes: Any) -> JobRecord:
        """As `update`, inside a transaction: raises before it has changed anything."""
        record, unknown = _load(tx, job_id)
        if token is not None and (record.owner or {}).get("token") != token:
            raise StaleOwnerError(
                f"job {job_id!r} has passed to another owner (it is {record.status}); this one has stopped writing"
            )
        return _store(tx, record, unknown, changes)

    def transition(
        self,
        job_id: str,
        from_statuses: Collection[str],
        to: str,
        *,
        token: str | None = None,
        also: Callable[[sqlite3.Connection, JobRecord], dict[str, Any]] | None = None,
        **changes: Any,
    ) -> bool:
        """Change the status if it is one of those expected, and fields with it, in one step, durably.

        Args:
            job_id: The job.
            from_statuses: The statuses from which the change is meant.
            to: The new status.
            token: When given, the change is made only while the job's owner has it.
            also: Called with the changed record before it is written, in the same
                transaction; what it returns is changed too.
            **changes: Other fields with their new values.

        Returns:
            Whether it was changed.

        Raises:
            JobError: When there is no such job.
        """
        with self._db.transaction(durable=True) as tx:
            record, unknown = _load(tx, job_id)
            if record.status not in from_statuses:
                return False
            if token is not None and (record.owner or {}).get("token") != token:
                return False
            changes["status"] = to
            if also is not None:
                changes |= also(tx, replace(record, **changes))
            _store(tx, record, unknown, changes)
            return True

    def _one(self, query: str, arguments: tuple[Any, ...]) -> JobRecord | None:
        with self._faults():
            row = self._db.reader().execute(query, arguments).fetchone()
        return None if row is None else from_body(row[1], row[2], row[0])[0]

    def _faults(self) -> Any:
        return mapped(f"the jobs in {self._db.home}", self._db.home)


def _load(tx: sqlite3.Connection, job_id: str) -> tuple[JobRecord, dict[str, Any]]:
    row = tx.execute("SELECT body, crc FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise _no_job(job_id)
    return from_body(row[0], row[1], job_id)


def _store(tx: sqlite3.Connection, record: JobRecord, unknown: dict[str, Any], changes: dict[str, Any]) -> JobRecord:
    if not changes.keys() <= FIELDS - {"id", "name"}:
        raise ValueError(
            f"a job's record has no such fields to change: {sorted(changes.keys() - FIELDS | {'id', 'name'})}"
        )
    changed = record.with_status(**changes)
    body = to_body(changed, unknown)
    try:
        tx.execute(
            "UPDATE jobs SET status = ?, body = ?, crc = ? WHERE id = ?",
            (changed.status, body, zlib.crc32(body), record.id),
        )
    except sqlite3.IntegrityError as error:
        raise _name_taken(tx, record.name) from error
    if record.is_active and not changed.is_active:
        _forget(tx, record.id)
    return changed


def _forget(tx: sqlite3.Connection, job_id: str) -> None:
    """Remove what only a job that is not over needs."""
    states.clear(tx, job_id)
    tx.execute("DELETE FROM outbox WHERE job = ?", (job_id,))
    tx.execute("DELETE FROM pipelines WHERE job = ?", (job_id,))


def _name_taken(tx: sqlite3.Connection, name: str | None) -> JobAlreadyExistsError:
    row = tx.execute("SELECT id FROM jobs WHERE name = ? AND status NOT IN ('COMPLETED', 'FAILED')", (name,)).fetchone()
    return JobAlreadyExistsError(
        f"the name {name!r} is taken by the active job {row[0] if row else '(unknown)'}; wait for its end, cancel it, "
        "use new_job_if_absent, or choose another name"
    )


def _no_job(job_id: str) -> JobError:
    return JobError(f"there is no job with the id {job_id!r} in this data folder")
