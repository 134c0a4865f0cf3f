"""How long jobs on Flink take to run: the first of a new data folder, with its cluster, and the next ones."""

import time
from collections.abc import Callable
from typing import Any

from live import folder, lifecycle, work

from jetbridge import Client, Job, JobStatus

ITEMS = 1_000
INTERVAL = 1_000  # milliseconds between checkpoints


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """A cluster's first job, a second one beside it, and the calls that steer jobs.

    Args:
        spec: "keys" of the state of the jobs that are steered, "calls" (how often each call is made; 0 for no
            calls) and "parallelism".

    Returns:
        "seconds": the times of each.
    """
    seconds: dict[str, list[float]] = {}
    start = time.monotonic()
    with folder.client(spec["parallelism"], "flink") as client:
        first = _started(client, "first", start, seconds, "first job of a new data folder, connect to")
        second = _started(client, "second", time.monotonic(), seconds, "second job, submit to")
        for job in (first, second):
            job.cancel()
        if spec["calls"]:
            seconds |= lifecycle.suspending(client, spec["keys"], spec["calls"], INTERVAL)
            seconds |= lifecycle.exporting(client, spec["keys"], spec["calls"], INTERVAL)
    return {"end": time.monotonic(), "seconds": seconds}


def _started(client: Client, name: str, start: float, seconds: dict[str, list[float]], title: str) -> Job:
    """Start a job on a stream that has some items already, and note when it ran and when it had done them."""
    folder.publish(client, name, range(ITEMS))
    sums = client.get_list(f"{name}-sums")
    pipeline = folder.running_sums(name, sums.name, work.key_of(100), work.add)
    job = client.get_jet().submit(pipeline, folder.config("EXACTLY_ONCE", INTERVAL))

    def until(condition: Callable[[], bool]) -> float:
        folder.until(lambda: condition() or job.is_terminal())
        assert not job.is_terminal(), f"{name} ended"
        return time.monotonic() - start

    seconds[f"{title} RUNNING"] = [until(lambda: job.status is JobStatus.RUNNING)]
    seconds[f"{title} its first results, exactly once"] = [until(lambda: sums.size() >= ITEMS)]
    return job
