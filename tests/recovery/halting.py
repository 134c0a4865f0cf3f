"""Processes that stand still."""

from __future__ import annotations

import time

import psutil


def halt(processes):
    """Stop processes, and wait until they are: on a busy machine one may go on for a moment, and hear what follows."""
    for process in processes:
        process.suspend()
    end = time.monotonic() + 30
    while any(process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE) for process in processes):
        assert time.monotonic() < end, f"not all have stopped: {processes}"
        time.sleep(0.002)
