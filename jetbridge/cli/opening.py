"""Opening the data folder: to look at it without starting anything, or to run jobs."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NoReturn

from jetbridge.cli.frame import NoSuchJob
from jetbridge.errors import JetbridgeError
from jetbridge.job import Job
from jetbridge.jobs.session import Session
from jetbridge.runner import load_runner
from jetbridge.settings import load_settings
from jetbridge.store.folder import DATABASE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jetbridge.config import JobConfig
    from jetbridge.plan.graph import Plan
    from jetbridge.settings import Settings
    from jetbridge.store.database import Database
    from jetbridge.store.records import JobRecord

_NAMED = 5


class NoDataFolder(NoSuchJob):
    """There is no data folder, so there are no jobs; looking for them does not make one."""


class Onlooker:
    """A runner that runs nothing: for commands that read, and those whose work another process does."""

    name = "none"

    def __init__(self, settings: Settings, db: Database) -> None: ...

    def check(self, plan: Plan, config: JobConfig) -> None:
        """Refuse everything."""
        self._refuse()

    def warm(self) -> None:
        """Prepare nothing."""

    def attaches(self, record: JobRecord) -> bool:
        """Look after nothing."""
        return False

    def start(self, record: JobRecord, payload: bytes) -> NoReturn:
        """Refuse to run a job."""
        self._refuse()

    def close(self) -> None:
        """Hold nothing."""

    @staticmethod
    def _refuse() -> NoReturn:
        raise JetbridgeError("this command runs no jobs")


def home_of(home: Path | None) -> Path:
    """The data folder by the option, or else by the settings."""
    return load_settings(home=home).home


@contextlib.contextmanager
def onlooking(home: Path | None) -> Iterator[Session]:
    """An open data folder, in which this process runs nothing.

    Raises:
        NoDataFolder: When there is none; it is not made.
    """
    settings = load_settings(home=home)
    # A path that is no folder is an error, and the session says so.
    if not settings.home.exists() or (settings.home.is_dir() and not (settings.home / DATABASE).exists()):
        raise NoDataFolder(
            f"there is no data folder at {settings.home}, so there are no jobs: "
            "name another one (--home, JETBRIDGE_HOME)"
        )
    session = Session(settings, Onlooker)
    try:
        yield session
    finally:
        session.finish()


@contextlib.contextmanager
def steering(home: Path | None, text: str) -> Iterator[tuple[Session, Job]]:
    """A job that is to be steered: by its owner or, when it runs on in a cluster, by a client of that cluster.

    Args:
        home: The data folder by the option.
        text: The job's id or name.

    Raises:
        NoDataFolder: When there is no data folder.
        NoSuchJob: When there is no such job.
    """
    with onlooking(home) as session:
        job = find(session, text)
        record = session.read(job.id)
        if record is None or not record.is_unattended:
            yield session, job
            return
    runner = str((record.engine or {})["runner"])
    settings = load_settings(home=home, runner=runner, flink_url=record.remote_cluster)
    session = Session(settings, load_runner(settings.runner))
    try:
        yield session, find(session, job.id)
    finally:
        session.finish()


def find(session: Session, text: str) -> Job:
    """The job of an id or, else, the active or newest job of a name.

    Raises:
        NoSuchJob: When there is none; the message names some that there are.
    """
    record = session.registry.get(text) or session.registry.by_name(text)
    if record is None:
        names = list(dict.fromkeys(each.name or each.id for each in session.registry.all()))
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        known = ", ".join(f"'{name}'" for name in names[:_NAMED]) + more if names else "there are none"
        raise NoSuchJob(f"there is no job '{text}' in {session.settings.home}; its jobs: {known}")
    return Job(session, session.settled(record))
