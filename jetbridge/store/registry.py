"""The jobs of a data folder: every process that opens it sees the same ones and can steer them."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jetbridge.errors import CorruptDataError, JobAlreadyExistsError, JobError, StoreError
from jetbridge.store import states, structures
from jetbridge.store.damage import damaged
from jetbridge.store.faults import mapped
from jetbridge.store.records import FIELDS, TERMINAL, JobRecord, from_body, to_body
from jetbridge.store.snapshot_reading import way_on

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from jetbridge.store.database import Database

_ROW = "SELECT id, name, status, body, crc FROM jobs "
_FOUND = "SELECT job.id, job.name, job.status, job.body, job.crc FROM jobs AS found LEFT JOIN jobs AS job USING (seq) "
"""In two steps, so that all is of the row: SQLite would take from an index what is there, which may be something else.
Where an index finds a row that is not in the table, all of it is NULL."""
_STATUSES = TERMINAL | {"NOT_RUNNING", "STARTING", "RUNNING", "SUSPENDED", "SUSPENDED_EXPORTING_SNAPSHOT", "COMPLETING"}
_ENDED = ", ".join(f"'{status}'" for status in sorted(TERMINAL))
_LOGGER = logging.getLogger("jetbridge")


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
            except sqlite3.IntegrityError:
                if tx.execute("SELECT 1 FROM jobs WHERE id = ?", (record.id,)).fetchone():
                    raise JobError(f"there is a job with the id {record.id!r} already") from None
                raise _name_taken(tx, record.name) from None
            tx.execute("INSERT INTO pipelines (job, payload, crc) VALUES (?, ?, ?)", (record.id, pipeline, crc))
            if also is not None:
                also(tx)

    def get(self, job_id: str) -> JobRecord | None:
        """The record of a job, None when there is no such job."""
        return self._one(_FOUND + "WHERE found.id = ?", "id", job_id)

    def get_in(self, tx: sqlite3.Connection, job_id: str) -> JobRecord:
        """The record of a job inside a transaction.

        Raises:
            JobError: When there is no such job.
        """
        return _load(tx, job_id)[0]

    def by_name(self, name: str) -> JobRecord | None:
        """The active job of a name, or else the newest that has ended; None when there is none."""
        newest = f"WHERE found.name = ? ORDER BY found.status IN ({_ENDED}), found.seq DESC LIMIT 1"
        return self._one(_FOUND + newest, "name", name)

    def all(self, name: str | None = None) -> list[JobRecord]:
        """All jobs, ended ones included, or all of a name; the newest first. Damaged ones are logged and left out."""
        where, arguments = ("", ()) if name is None else ("WHERE name = ? ", (name,))
        conn = self._db.reader()
        with self._faults(), structures.snapshot(conn):
            rows = conn.execute(f"{_ROW}{where}ORDER BY seq DESC", arguments).fetchall()
            if name is None:
                _check_that_none_is_missing(conn, self._db.home)
        found = []
        for row in rows:
            try:
                found.append(_read(conn, row)[0])
            except CorruptDataError as error:
                _LOGGER.warning("a job is left out: %s", error)
        return found

    def active(self) -> list[JobRecord]:
        """The jobs that have not ended, the newest first; damaged ones are left out, without a word."""
        conn = self._db.reader()
        with self._faults():
            rows = conn.execute(f"{_ROW}WHERE status NOT IN ({_ENDED}) ORDER BY seq DESC").fetchall()
        found = []
        for row in rows:
            with contextlib.suppress(CorruptDataError):
                found.append(_read(conn, row)[0])
        return found

    def statuses(self, job_ids: Collection[str]) -> dict[str, str]:
        """The statuses of some jobs: a quick look, for who looks often."""
        marks = ", ".join("?" * len(job_ids))
        conn = self._db.reader()
        with self._faults():
            rows = conn.execute(f"SELECT id, status FROM jobs WHERE id IN ({marks})", [*job_ids]).fetchall()
        for job_id, status in rows:
            if status not in _STATUSES:
                raise damaged(conn, job_id, f"its status is {status!r:.40}")
        if len(rows) < len(set(job_ids)):
            return {job_id: record.status for job_id in job_ids if (record := self.get(job_id)) is not None}
        return dict(rows)

    def pipeline(self, job_id: str) -> bytes:
        """The packed pipeline of a job that has not ended. It is code: unpack it only in one's own data folder.

        Raises:
            CorruptDataError: When it does not match its checksum.
            JobError: When there is no such job, or it has ended.
        """
        with self._faults():
            row = (
                self._db.reader().execute("SELECT payload, crc, job FROM pipelines WHERE job = ?", (job_id,)).fetchone()
            )
        if row is None:
            record = self.get(job_id)
            if record is not None and record.is_active:
                raise damaged(self._db.reader(), job_id, "its pipeline is missing")
            raise _no_job(job_id)
        payload: bytes = row[0]
        if type(payload) is not bytes or zlib.crc32(payload) != row[1] or row[2] != job_id:
            raise damaged(self._db.reader(), job_id, "its pipeline does not match its checksum")
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

    def _one(self, query: str, field: str, value: str) -> JobRecord | None:
        conn = self._db.reader()
        with self._faults():
            row = conn.execute(query, (value,)).fetchone()
            if row is None:
                with structures.snapshot(conn):
                    row = conn.execute(query, (value,)).fetchone()  # it may be there by now
                    if row is None:
                        _check_that_it_is_not_there(conn, self._db.home, field, value)
        return None if row is None else _read_found(conn, row, field, value)[0]

    def _faults(self) -> Any:
        return mapped(f"the jobs in {self._db.home}", self._db.home)


def _load(tx: sqlite3.Connection, job_id: str) -> tuple[JobRecord, dict[str, Any]]:
    row = tx.execute(_FOUND + "WHERE found.id = ?", (job_id,)).fetchone()
    if row is None:
        raise _no_job(job_id)
    return _read_found(tx, row, "id", job_id)


def _read_found(
    conn: sqlite3.Connection, row: tuple[Any, ...], field: str, value: str
) -> tuple[JobRecord, dict[str, Any]]:
    """The job that `_FOUND` has found by a field, if it is that one: in a damaged index a search may end anywhere."""
    if row[0] is None:
        raise damaged(conn, value, f"its {field} leads to no row")
    record, unknown = _read(conn, row)
    if getattr(record, field) != value:
        raise damaged(conn, value, f"another job is found by its {field}")
    return record, unknown


def _read(conn: sqlite3.Connection, row: tuple[Any, ...]) -> tuple[JobRecord, dict[str, Any]]:
    job_id, name, status, body, crc = row
    try:
        record, unknown = from_body(body, crc, job_id)
    except CorruptDataError as error:
        raise damaged(conn, job_id, "its record does not match its checksum") from error
    if (record.id, record.name, record.status) != (job_id, name, status):
        raise damaged(conn, job_id, "its record is not that of its row")
    return record, unknown


def _check_that_none_is_missing(conn: sqlite3.Connection, home: Path) -> None:
    """Raise when rows are lost: none is ever deleted, so there are as many as were made."""
    found, made = conn.execute(
        "SELECT (SELECT count(DISTINCT seq) FROM jobs NOT INDEXED), "
        "(SELECT seq FROM sqlite_sequence WHERE name = 'jobs')"
    ).fetchone()
    if found != (made or 0):
        raise CorruptDataError(
            f"the jobs in {home}: {found} of {made} are found; the data folder is damaged: restore it from a copy, "
            f"or use another one; in it you can {way_on(home)}"
        )


def _check_that_it_is_not_there(conn: sqlite3.Connection, home: Path, field: str, value: str) -> None:
    """Raise when a job is not found by a field although its row is there: then the field or its index is damaged."""
    _check_that_none_is_missing(conn, home)
    text = json.dumps({field: value}, separators=(",", ":"))[1:-1].encode()
    for row in conn.execute(f"{_ROW} NOT INDEXED WHERE instr(body, ?)", (text,)).fetchall():
        record, _ = _read(conn, row)
        if getattr(record, field) == value:
            raise damaged(conn, record.id, f"it is not found by its {field}")


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
    except sqlite3.IntegrityError:
        raise _name_taken(tx, record.name) from None
    if record.is_active and not changed.is_active:
        _forget(tx, record.id)
    return changed


def _forget(tx: sqlite3.Connection, job_id: str) -> None:
    """Remove what only a job that is not over needs."""
    states.clear(tx, job_id)
    tx.execute("DELETE FROM outbox WHERE job = ?", (job_id,))
    tx.execute("DELETE FROM pipelines WHERE job = ?", (job_id,))


def _name_taken(tx: sqlite3.Connection, name: str | None) -> JobAlreadyExistsError:
    row = tx.execute(
        "SELECT id, status FROM jobs WHERE name = ? AND status NOT IN ('COMPLETED', 'FAILED')", (name,)
    ).fetchone()
    job_id, status = row or ("(unknown)", "active")
    way = "resume it" if status == "SUSPENDED" else "wait for its end"
    return JobAlreadyExistsError(
        f"the name {name!r} is taken by job {job_id}, which is {status}: {way}, cancel it, use new_job_if_absent, "
        "or choose another name"
    )


def _no_job(job_id: str) -> JobError:
    return JobError(f"there is no job with the id {job_id!r} in this data folder")
