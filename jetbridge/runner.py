"""What a runner is to jetbridge, and how one is found.

A runner is a package of its own that registers under the entry-point group
``jetbridge.runners``; jetbridge imports none of them by name. Its module may have a function
``prepare()`` beside the runner's class: it is called as soon as it is likely that
the runner will be used, before the settings are read, and starts in the
background what takes time.
"""

from __future__ import annotations

import contextlib
import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Protocol

from jetbridge.errors import ConfigError

if TYPE_CHECKING:
    from jetbridge.config import JobConfig
    from jetbridge.plan.graph import Plan
    from jetbridge.settings import Settings
    from jetbridge.store.database import Database
    from jetbridge.store.records import JobRecord

GROUP = "jetbridge.runners"


class Execution(Protocol):
    """A job that a runner carries out for this process."""

    @property
    def job_id(self) -> str:
        """The job's id."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing of the job runs any more and its output has been shown.

        The registry says then how it ended. The runner restarts workers that
        die, so the end is that of the job, not of one worker.

        Args:
            timeout: Seconds to wait at most; None for as long as it takes.

        Returns:
            Whether it has ended.
        """

    def kill(self) -> None:
        """End it at once, without a word to the registry, and without waiting."""

    def stop(self, by: str, cause: str) -> None:
        """Ask it to become SUSPENDED as soon as it can; returns at once.

        Args:
            by: For the record's ``suspended_by``.
            cause: For the record's ``cause``.
        """

    def suspend(self, by: str, cause: str) -> None:
        """As `stop`, and wait until nothing of it runs any more.

        A job with a guarantee commits a last time; if it does not do so in time, it
        stands at its last commit. The registry says what became of it: it may have
        ended meanwhile.
        """

    def detach(self) -> bool:
        """Let the job run on in a cluster without this process, which is about to end.

        Returns:
            False when it cannot do that, or has ended meanwhile; it is then what it was.
        """

    def export(self, name: str, *, last: bool = False) -> bool:
        """Have a named snapshot taken, and wait until it is durable.

        Args:
            name: Its name.
            last: Whether to stop the job right behind it.

        Returns:
            False when the job's execution ended before it could be taken.

        Raises:
            SnapshotError: When it could not be taken.
        """

    def metrics(self) -> dict[str, Any] | None:
        """The latest metrics; None when there are none yet."""


class Runner(Protocol):
    """Carries out jobs. It is made from the settings and the data folder's database.

    Attributes:
        name: Its name, as given to ``connect(runner=…)``.
    """

    name: str

    def __init__(self, settings: Settings, db: Database) -> None: ...

    def check(self, plan: Plan, config: JobConfig) -> None:
        """Refuse what this runner cannot honour; called before anything is started.

        Raises:
            UnsupportedByRunnerError: The message says what, and what to do.
        """

    def warm(self) -> None:
        """Prepare in the background for the first job; returns at once."""

    def attaches(self, record: JobRecord) -> bool:
        """Whether a job that runs on in a cluster (``record.remote_cluster``) does so in that of this runner."""

    def start(self, record: JobRecord, payload: bytes) -> Execution:
        """Start a job that is in the registry; returns at once.

        It goes on from its checkpoint, if the store has one. One that runs on in a cluster is
        not started but looked after.

        Args:
            record: The job as it is in the registry, with this process as its owner.
            payload: The packed pipeline.
        """

    def close(self) -> None:
        """Let go of everything; called when no job runs any more."""


def prepare(name: str) -> None:
    """Let a runner that will probably be used begin its preparations. Errors wait until it is used."""
    entry = _found().get(name)
    if entry is not None:
        with contextlib.suppress(Exception):
            module = importlib.import_module(entry.module)
            getattr(module, "prepare", lambda: None)()


def load_runner(name: str) -> type[Runner]:
    """The class of the runner that is registered under a name.

    Raises:
        ConfigError: When there is none, or it cannot be imported.
    """
    found = _found()
    if name not in found:
        raise ConfigError(
            f"there is no runner '{name}'; installed are: {', '.join(sorted(found)) or 'none'}. Runners are packages "
            f"that register under the entry-point group '{GROUP}'"
            + ("" if found else "; jetbridge's own need it to be installed (pip install), not only to be on the path")
        )
    try:
        runner: type[Runner] = found[name].load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"runner '{name}' ({found[name].value}) cannot be imported: {error}") from error
    return runner


def packages() -> set[str]:
    """The names of the packages that hold the runners."""
    return {entry.module.partition(".")[0] for entry in _found().values()}


def _found() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
