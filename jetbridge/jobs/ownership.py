"""Which process a job belongs to, and whether that one still lives.

An embedded job belongs to the process that submitted it. Whoever reads the job
checks this, so that a job whose owner was killed is not shown as running.
"""

from __future__ import annotations

import functools
import os
import secrets
import sys
from pathlib import Path
from typing import Any

import psutil


def claim(client: str = "") -> dict[str, Any]:
    """This process as a new owner of a job.

    Args:
        client: What tells the clients of this process apart.

    Returns:
        Its process id, what tells it from others that had that id, the client,
        and a token that each write to the job's record names.
    """
    pid = os.getpid()
    return {"pid": pid, "started": started(pid), "client": client, "token": secrets.token_hex(8)}


def is_alive(owner: dict[str, Any]) -> bool:
    """Whether an owner's process still runs.

    Example:
        >>> from jetbridge.jobs.ownership import claim, is_alive
        >>> is_alive(claim())
        True
        >>> is_alive(claim() | {"started": "another time"})
        False
    """
    return bool(started(owner["pid"]) == owner["started"])


def started(pid: int) -> str | None:
    """What tells a process from earlier ones of its id; None when no such process runs."""
    if sys.platform == "linux":
        # psutil's start time is that of the clock, which may be set; ticks since boot are not touched by that.
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        state, ticks = fields[0], fields[19]
        return None if state in "ZX" else f"{_boot()}:{ticks}"
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.Error:
        return None


@functools.cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"
