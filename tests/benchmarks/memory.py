"""Memory of a process and all its descendants: the sum of their proportional set sizes (PSS).

PSS divides a page that several processes share by their number, so that what
was forked is not counted twice, which RSS does. Linux only: elsewhere
/proc/PID/smaps_rollup does not exist and the peak is None.
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

INTERVAL = 0.1  # seconds


def tree_pss(*pids: int) -> int | None:
    """The PSS of process trees in bytes, or None where the system does not tell."""
    tree = set()
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(pid)
            tree |= {root.pid, *(child.pid for child in root.children(recursive=True))}
    sizes = [size for each in tree if (size := pss(each)) is not None]
    return sum(sizes) if sizes else None


def pss(pid: int) -> int | None:
    """The PSS of one process in bytes, or None if it is not to be had."""
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

    def take(self, *pids: int) -> None:
        """Look once at processes and all that descend from them."""
        now = time.monotonic()
        if (size := tree_pss(*pids)) is not None:
            self.seen.append((now, size))

    def peak(self, until: float) -> int | None:
        """The most that was seen until a moment."""
        return max((size for moment, size in self.seen if moment <= until), default=None)


@contextlib.contextmanager
def watched(*others: int) -> Iterator[Samples]:
    """Look at this process, others, and the descendants of all while the block runs."""
    samples, over = Samples(), threading.Event()

    def watch() -> None:
        while not over.wait(INTERVAL):
            samples.take(os.getpid(), *others)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()
