"""How a run is timed: from its submit on, and from its first item to its last result."""

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Moment:
    """A moment that several processes may note and the first of them does, on the clock that they share."""

    def __init__(self, path: str) -> None:
        self.path = path

    def note(self) -> None:
        """Now, unless it was before."""
        with contextlib.suppress(FileExistsError):
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(file, str(time.monotonic()).encode())
            os.close(file)

    def seconds(self) -> float:
        """When it was."""
        return float(Path(self.path).read_text())


@dataclass
class Run:
    """One run of a job.

    Attributes:
        items: How many items it handled.
        start: When it was submitted.
        first: When its first item was read.
        last: When its last result was to be seen where it belongs.
        end: When the job had ended.
        result: Gives what came out.
    """

    items: int
    start: float
    first: float
    last: float
    end: float
    result: Callable[[], Any] = lambda: None

    def seconds(self) -> dict[str, float]:
        """The times that are told: net of start-up and end, and the whole."""
        return {"net": self.last - self.first, "whole": self.end - self.start, "begin": self.first - self.start}
