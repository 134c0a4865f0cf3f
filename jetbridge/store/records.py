"""What the registry keeps about a job, and its form on disk: JSON, so that every version can read every record."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from jetbridge.errors import CorruptDataError, SerializationError
from jetbridge.store import values

TERMINAL = frozenset({"COMPLETED", "FAILED"})
_AT_WORK = frozenset({"STARTING", "RUNNING", "COMPLETING"})
HISTORY = 16  # changes of the status that a record remembers
_TAG = "$jetbridge.value"


@dataclass(frozen=True)
class JobRecord:
    """What the registry knows about one job.

    Attributes:
        id: The job's id.
        status: The name of a JobStatus.
        name: The job's name, if it has one.
        config: The JobConfig as a dict of plain values.
        submission_time: Milliseconds since the epoch.
        start_time: When the present run started, or None.
        end_time: When the job ended, or None.
        run: The id of the present run, or None.
        owner: The process that the job belongs to: its pid, when that started, and its token.
        error: Why it failed: type, message, stage, item, traceback.
        cause: Why it is suspended.
        suspended_by: Who suspended it: "user", "client" (the end of its client, or one that could not load its code),
            "restart" (in the middle of one) or "failure"; None while it is not suspended, and where nobody said.
        user_cancelled: Whether a user ended it.
        metrics: The metrics as of the last commit.
        commits: How many commits the run has made.
        unbounded: Whether a source is a stream, so that it never ends by itself.
        staged: Whether a sink stages what it writes, so that its end has to tidy up.
        shards: Into how many shards its keys are split, for its whole life; None in records of the first version.
        ran: Milliseconds that it ran before its last resume.
        engine: What its runner must find again, such as the id that a cluster knows the job by.
        changes: How often its status has changed.
        history: The last of these changes, each as the new status and whether a user asked for it.
    """

    id: str
    status: str
    name: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    submission_time: int = 0
    start_time: int | None = None
    end_time: int | None = None
    run: str | None = None
    owner: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    cause: str | None = None
    suspended_by: str | None = None
    user_cancelled: bool = False
    metrics: dict[str, Any] | None = None
    commits: int = 0
    unbounded: bool = False
    staged: bool = False
    shards: int | None = None
    ran: int = 0
    engine: dict[str, Any] | None = None
    # How it came to be what it is does not make two records different.
    changes: int = field(default=0, compare=False)
    history: list[list[Any]] = field(default_factory=list, compare=False)

    def with_status(self, **changes: Any) -> JobRecord:
        """The record with changed fields, and with the change of the status in its history."""
        changed = replace(self, **changes)
        if changed.status == self.status:
            return changed
        if changed.status in TERMINAL:
            changed = replace(changed, cause=None, suspended_by=None)
        asked = {
            "NOT_RUNNING": True,
            # After a snapshot of a suspended job it is what it was.
            "SUSPENDED": changed.suspended_by in ("user", "restart") and self.status != "SUSPENDED_EXPORTING_SNAPSHOT",
            "FAILED": changed.user_cancelled,
        }.get(changed.status, False)
        history = [*self.history[1 - HISTORY :], [changed.status, asked]]
        return replace(changed, changes=self.changes + 1, history=history)

    @property
    def is_active(self) -> bool:
        """Whether the job has not ended, so that its name is taken."""
        return self.status not in TERMINAL

    @property
    def stands_in_cluster(self) -> bool:
        """Whether a cluster may have a newer checkpoint of the job than the data folder: it ran there since."""
        return bool((self.engine or {}).get("ids"))

    @property
    def remote_cluster(self) -> str | None:
        """The address of the cluster in which the job runs on without a client; None when it needs its client."""
        engine = self.engine or {}
        return engine.get("cluster") if self.status in _AT_WORK and self.stands_in_cluster else None

    @property
    def is_unattended(self) -> bool:
        """Whether it runs on in a cluster, and no client looks after it."""
        return self.owner is None and self.remote_cluster is not None


FIELDS = frozenset(entry.name for entry in fields(JobRecord))


def to_body(record: JobRecord, unknown: dict[str, Any] | None = None) -> bytes:
    """The stored form of a record.

    Args:
        record: The record.
        unknown: Fields that a later version wrote; they are kept.

    Raises:
        SerializationError: When its config, metrics or error hold what cannot be stored.
    """
    try:
        return json.dumps({**(unknown or {}), **asdict(record)}, default=_tagged, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise SerializationError(f"the record of job {record.id} cannot be stored: {error}") from error


def from_body(body: bytes, crc: int, job_id: str) -> tuple[JobRecord, dict[str, Any]]:
    """The record in its stored form, and the fields that this version does not know.

    Raises:
        CorruptDataError: When it does not match its checksum.
    """
    if type(body) is not bytes or zlib.crc32(body) != crc:
        raise CorruptDataError(
            f"job {job_id!r}: its record does not match its checksum; the data folder is damaged: "
            "restore it from a copy"
        )
    parsed = json.loads(body, object_hook=_untagged)
    unknown = {name: parsed.pop(name) for name in list(parsed) if name not in FIELDS}
    return JobRecord(**parsed), unknown


def _tagged(value: Any) -> dict[str, str]:
    return {_TAG: base64.b64encode(values.encode(value)).decode()}


def _untagged(parsed: dict[str, Any]) -> Any:
    if parsed.keys() != {_TAG}:
        return parsed
    try:
        return values.decode(base64.b64decode(parsed[_TAG]))
    except SerializationError:
        # A job must be listed also where the classes of its arguments are not known.
        return parsed
