"""How much the processor has worked: a figure that other programs of a shared machine hardly change."""

import contextlib

import psutil


def below(pid: int | None = None) -> float:
    """The seconds that all descendants of a process have used the processor, those that have ended included.

    Args:
        pid: The process, by default this one.
    """
    seconds = 0.0
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            seconds += sum(process.cpu_times()[:4])  # user and system: its own, and of its children that have ended
    return seconds
