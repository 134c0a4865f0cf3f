"""Calls on jobs that belong to another process, as rows that this one finds: it carries them out and answers."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetbridge.store.faults import mapped

if TYPE_CHECKING:
    from jetbridge.store.database import Database

OPEN, TAKEN, DONE = "OPEN", "TAKEN", "DONE"
_KEPT = 1000  # rows: callers remove theirs; those of callers that died go when so many newer ones are there


@dataclass(frozen=True)
class Command:
    """A call that waits to be carried out.

    Attributes:
        number: Its number.
        job: The job's id.
        kind: What is to be done.
        arguments: With what.
    """

    number: int
    job: str
    kind: str
    arguments: dict[str, Any]


def post(db: Database, job_id: str, kind: str, arguments: dict[str, Any]) -> int:
    """Ask for something; returns the command's number.

    Example:
        >>> import tempfile
        >>> from jetbridge.store import Database
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     db = Database.open(f"{parent}/data")
        ...     number = post(db, "a job", "suspend", {})
        ...     [command] = waiting(db)
        ...     print(command.kind, take(db, number), take(db, number))
        ...     answer(db, number, {"error": None})
        ...     print(look(db, number))
        ...     db.close()
        suspend True False
        ('DONE', {'error': None})
    """
    with db.transaction() as tx:
        number = tx.execute(
            "INSERT INTO commands (job, kind, args, state, created) VALUES (?, ?, ?, ?, ?)",
            (job_id, kind, json.dumps(arguments), OPEN, int(time.time() * 1000)),
        ).lastrowid
        assert number is not None
        tx.execute("DELETE FROM commands WHERE id <= ?", (number - _KEPT,))
    return number


def waiting(db: Database) -> list[Command]:
    """The commands that nobody has taken, oldest first."""
    with mapped(f"the commands in {db.home}", db.home):
        rows = (
            db.reader().execute("SELECT id, job, kind, args FROM commands WHERE state = 'OPEN' ORDER BY id").fetchall()
        )
    return [Command(number, job, kind, json.loads(arguments)) for number, job, kind, arguments in rows]


def take(db: Database, number: int) -> bool:
    """Say that one will carry it out; False when the caller has withdrawn it."""
    with db.transaction() as tx:
        return _changed(tx, "UPDATE commands SET state = 'TAKEN' WHERE id = ? AND state = 'OPEN'", number)


def answer(db: Database, number: int, result: dict[str, Any]) -> None:
    """Say what came of it."""
    with db.transaction() as tx:
        tx.execute("UPDATE commands SET state = 'DONE', result = ? WHERE id = ?", (json.dumps(result), number))


def look(db: Database, number: int) -> tuple[str, dict[str, Any] | None]:
    """A command's state and its result; what was removed counts as open."""
    with mapped(f"the commands in {db.home}", db.home):
        row = db.reader().execute("SELECT state, result FROM commands WHERE id = ?", (number,)).fetchone()
    return (OPEN, None) if row is None else (row[0], None if row[1] is None else json.loads(row[1]))


def withdraw(db: Database, number: int) -> bool:
    """Take back a command that nobody has taken yet; False when somebody has."""
    with db.transaction() as tx:
        return _changed(tx, "DELETE FROM commands WHERE id = ? AND state = 'OPEN'", number)


def remove(db: Database, number: int) -> None:
    """Remove a command, whatever came of it."""
    with db.transaction() as tx:
        tx.execute("DELETE FROM commands WHERE id = ?", (number,))


def _changed(tx: Any, statement: str, number: int) -> bool:
    return bool(tx.execute(statement, (number,)).rowcount)
