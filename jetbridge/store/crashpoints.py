"""Named points at which a test may kill this very process, as a power cut or the kernel would.

The environment variable JETBRIDGE_CRASH_AT names one of them, ``commit:before``,
or one and the time at which it counts, ``snapshot:write:3``. The points are
``commit:before``, ``commit:inside``, ``commit:after``, ``snapshot:write`` (before
each part of the file), ``snapshot:fsync`` and ``snapshot:rename`` (before it, and
a second time after it).
"""

from __future__ import annotations

import os
import signal

VARIABLE = "JETBRIDGE_CRASH_AT"

_reached: dict[str, int] = {}


def reach(name: str) -> None:
    """Pass a named point: a process that is to crash there ends with SIGKILL.

    Example:
        >>> reach("commit:before")  # nobody asked for a crash
        >>> os.environ[VARIABLE] = "commit:before:3"
        >>> reach("commit:before")  # the first time of three
        >>> del os.environ[VARIABLE]

    Args:
        name: The point's name.
    """
    wanted = os.environ.get(VARIABLE)
    if not wanted or not wanted.startswith(name):
        return
    times = wanted[len(name) :]
    if times and not (times[0] == ":" and times[1:].isdigit()):
        return
    _reached[name] = _reached.get(name, 0) + 1
    if _reached[name] >= int(times[1:] or 1):
        os.kill(os.getpid(), signal.SIGKILL)
