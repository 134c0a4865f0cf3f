"""Memory of a process and all its descendants: the sum of their proportional set sizes (PSS).

PSS divides a page that several processes share by their number, so that what
was forked is not counted twice, which RSS does. Linux only: elsewhere
/proc/PID/smaps_rollup does not exist and the peak is None.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

INTERVAL = 0.1  # seconds


def tree_pss(pid: int) -> int | None:
    """The PSS of a process tree in bytes, or None where the system does not tell."""
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return None
    sizes = [size for process in tree if (size := _pss(process.pid)) is not None]
    return sum(sizes) if sizes else None


def _pss(pid: int) -> int | None:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:  # it has ended meanwhile, or this is no Linux
        return None
    return None


@dataclass
class Samples:
    """What was seen, by the clock that all processes of a machine share (time.monotonic)."""

    seen: list[tuple[float, int]] = field(default_factory=list)

    def take(self, pid: int) -> None:
        """Look once."""
        now = time.monotonic()
        if (size := tree_pss(pid)) is not None:
            self.seen.append((now, size))

    def peak(self, until: float) -> int | None:
        """The most that was seen until a moment."""
        return max((size for moment, size in self.seen if moment <= until), default=None)
