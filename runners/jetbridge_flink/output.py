"""What a job's workers print and log, shown in the client as they append it to the job's log file."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from jetbridge.jobs.console import Console
from jetbridge.jobs.joblog import Parts

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from jetbridge.jobs.joblog import Part

_MOST = 1 << 20  # bytes that are shown at once


class Follower:
    """Shows what is new in a log file.

    Args:
        path: The file; what it holds already is not shown.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.touch(mode=0o600)
        self._file: BinaryIO | None = path.open("rb")
        self._file.seek(0, 2)
        self._parts = Parts()
        self._console = Console()

    def show(self) -> None:
        """Show what has come since the last time."""
        while self._file is not None and (data := self._file.read(_MOST)):
            self._pass_on(self._parts.found(data))

    def close(self) -> None:
        """Show the rest and close the file."""
        self.show()
        self._pass_on(self._parts.rest())
        if self._file is not None:
            self._file.close()
            self._file = None

    def _pass_on(self, parts: Iterable[Part]) -> None:
        for part in parts:
            if part.kind == "log":
                self._console.logged(part.name, part.level, part.data.decode(errors="replace"))
            else:
                self._console.printed(part.kind, part.data)
