"""The processes of an embedded Flink cluster: their memory one by one, and their end."""

import contextlib
from pathlib import Path
from typing import Any

import psutil
from memory import pss

from jetbridge_flink.layout import Layout

ENDING = 60.0  # seconds that a cluster may take to end


def keeper_of(home: Path) -> int:
    """The process that all others of a data folder's cluster descend from."""
    return int(_status(home)["keeper"]["pid"])


def pids(home: Path) -> dict[str, int]:
    """The processes of a data folder's cluster by what they are.

    The pool of workers has forked its service first and the workers of the job after it.
    """
    status = _status(home)
    found = {"keeper": status["keeper"]["pid"]} | {name: each["pid"] for name, each in status["children"].items()}
    with contextlib.suppress(psutil.NoSuchProcess):
        forked = sorted(
            psutil.Process(found["worker_pool"]).children(), key=lambda child: (child.create_time(), child.pid)
        )
        names = ("worker_service", *(f"worker {number}" for number in range(1, len(forked))))
        found |= {name: child.pid for name, child in zip(names, forked, strict=False)}
    return found


def sizes(home: Path) -> dict[str, int]:
    """The PSS of each process in bytes."""
    return {name: size for name, pid in pids(home).items() if (size := pss(pid)) is not None}


def end_cluster(home: Path) -> None:
    """End a data folder's cluster, if it still runs: it would wait some seconds for its next client."""
    status = Layout(home).read_status()
    if status is None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        keeper = psutil.Process(status["keeper"]["pid"])
        tree = [keeper, *keeper.children(recursive=True)]
        keeper.terminate()
        psutil.wait_procs(tree, timeout=ENDING)


def deaths(home: Path) -> list[str]:
    """Which processes have died, and of what."""
    return [f"{death['name']} {death['fate']}" for death in _status(home).get("deaths", [])]


def _status(home: Path) -> dict[str, Any]:
    status = Layout(home).read_status()
    assert status is not None, f"{home} has no cluster"
    return status
