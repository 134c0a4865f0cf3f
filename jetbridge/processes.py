"""Programs started on this machine: a port of their own, an end with whoever started them, and how they ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import sys
from typing import TYPE_CHECKING

from jetbridge.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable

LOOPBACK = "127.0.0.1"

_PORTS = range(20000, 32000)  # below those that systems give to outgoing connections
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def cores() -> int:
    """How many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))  # what taskset and containers leave
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def free_ports(count: int) -> list[int]:
    """Ports of this machine's loopback address that nobody listens on now.

    Example:
        >>> len(set(free_ports(2)))
        2

    Args:
        count: How many.

    Raises:
        ClusterError: When there are not as many.
    """
    found: list[int] = []
    for port in random.sample(_PORTS, 500):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind((LOOPBACK, port))
            found.append(port)
        if len(found) == count:
            return found
    raise ClusterError(f"no free ports were found between {_PORTS.start} and {_PORTS.stop} on {LOOPBACK}")


def dying_with(parent: int) -> Callable[[], None]:
    """What a child does first: on Linux, ask to be killed when its parent ends.

    Elsewhere what a killed parent leaves behind must be ended by the next one.

    Args:
        parent: The parent's process id.

    Returns:
        A function for `subprocess.Popen`'s ``preexec_fn``.
    """

    def prepare() -> None:
        os.setpgid(0, 0)  # what one of them does to its group is not done to the parent
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:  # it has just ended
                os._exit(1)

    return prepare


def fate(code: int) -> str:
    """How a process ended, in words that go on from its name.

    Example:
        >>> fate(3), fate(-9)
        ('ended with exit code 3', 'was killed by signal 9 (SIGKILL), as a system does that has run out of memory')

    Args:
        code: An exit code, or a signal's number below zero, as `subprocess` has them.
    """
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = f" ({signal.Signals(-code).name})"
    except ValueError:
        name = ""
    hint = ", as a system does that has run out of memory" if code == -signal.SIGKILL else ""
    return f"was killed by signal {-code}{name}{hint}"
