"""What a worker pool writes down: its workers' logs, who lives, and how a process ended."""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_KEPT = 50  # files; each restart of a job starts workers anew
_LARGEST = 1 << 20  # bytes; a larger file is put aside when the next worker of that name starts


class WorkerLogs:
    """A folder of log files, one for each name of a worker.

    Args:
        folder: The folder; it is made when it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def choose(self, worker: str) -> Path:
        """The file for a worker that is about to start."""
        path = self._folder / f"worker-{re.sub(r'[^A-Za-z0-9_.-]', '_', worker)}.log"
        with contextlib.suppress(OSError):
            if path.exists() and path.stat().st_size > _LARGEST:
                path.replace(path.with_suffix(".old.log"))
            oldest_first = sorted(self._folder.glob("worker-*.log"), key=lambda p: p.stat().st_mtime)
            for old in oldest_first[: -_KEPT + 1]:
                old.unlink()
        return path

    def ended(self, log: Path) -> None:
        """A worker has ended: its file goes, too, if it is empty."""
        with contextlib.suppress(OSError):
            if not log.stat().st_size:
                log.unlink()


class Living:
    """The workers that live, kept in a file for the pool after this one.

    Args:
        path: The file: a JSON object, [name, control address] by process id.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._workers: dict[int, tuple[str, str]] = {}

    def take_over(self) -> list[tuple[str, str]]:
        """The workers, as (name, control address), that died together with the pool before this one."""
        try:
            return [(name, control) for name, control in json.loads(self._path.read_text()).values()]
        except (OSError, ValueError, TypeError, AttributeError):
            return []
        finally:
            self._write()

    def note(self, pid: int, name: str, control: str) -> None:
        """A worker starts."""
        self._workers[pid] = name, control
        self._write()

    def forget(self, pid: int) -> None:
        """A worker has ended, and nobody waits for it."""
        del self._workers[pid]
        self._write()

    def _write(self) -> None:
        aside = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):  # a full disk must not stop the workers
            aside.write_text(json.dumps(self._workers))
            os.replace(aside, self._path)
