"""How long the calls take that steer jobs with much state, and the listing of many jobs."""

import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import jetbridge
from jetbridge import Client, JobConfig, JobStatus, Pipeline
from live import folder, work

INTERVAL = 10_000  # milliseconds between snapshots
AT_ONCE = 8  # jobs that run at a time, of those to be listed
BUSY_ITEMS = 20_000  # what is published right before a call, so that the job is at work


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Do each call ``repeat`` times.

    Args:
        spec: "suspended_keys" and "exported_keys" of the jobs' state, "jobs" to be listed, "parallelism" and "repeat".

    Returns:
        "seconds": the times of each call.
    """
    seconds: dict[str, list[float]] = {}
    with folder.client(spec["parallelism"]) as client:
        seconds |= suspending(client, spec["suspended_keys"], spec["repeat"])
        seconds |= exporting(client, spec["exported_keys"], spec["repeat"])
    with folder.client(spec["parallelism"]) as client:
        seconds |= listing(client, spec["jobs"], spec["repeat"])
    return {"end": time.monotonic(), "seconds": seconds}


class Counting:
    """A job that counts how often it has seen each number of a stream: one key of state for each."""

    def __init__(self, client: Client, name: str, keys: int, interval: int = INTERVAL) -> None:
        self.client, self.keys, self.name = client, keys, name
        self.published = 0
        self.counts = client.get_list(f"{name}-counts")
        self.pipeline = folder.running_sums(name, self.counts.name, _itself, _one_more)
        self.job = client.get_jet().submit(self.pipeline, folder.config("EXACTLY_ONCE", interval))
        self.publish(keys)
        self.catch_up()

    def publish(self, items: int) -> None:
        """Publish the next numbers; after the last key comes the first again."""
        folder.publish(self.client, self.name, (n % self.keys for n in range(self.published, self.published + items)))
        self.published += items

    def catch_up(self) -> None:
        """Wait until all that was published is counted."""
        folder.until(lambda: self.counts.size() >= self.published)

    def check(self) -> None:
        """Whether every number was counted exactly as often as it was published."""
        found = work.seen(self.counts)
        rounds, rest = divmod(self.published, self.keys)
        expected = {key: rounds + (key < rest) for key in range(min(self.keys, self.published))}
        if found.count != self.published or found.last != expected:
            raise AssertionError(f"{found.count} results for {self.published} items, or wrong counts")


def suspending(client: Client, keys: int, repeat: int, interval: int = INTERVAL) -> dict[str, list[float]]:
    """Suspend and resume a job that is at work."""
    counting = Counting(client, "suspended", keys, interval)
    seconds: dict[str, list[float]] = {"suspend": [], "resume": []}
    for _ in range(repeat):
        counting.publish(min(keys, BUSY_ITEMS))
        seconds["suspend"].append(_timed(counting.job.suspend))
        assert counting.job.status is JobStatus.SUSPENDED
        seconds["resume"].append(_timed(counting.job.resume))
        assert counting.job.status is JobStatus.RUNNING
        counting.publish(keys)  # all state is needed again
        counting.catch_up()
    counting.job.cancel()
    counting.check()
    return {f"{call}, {keys:,} keys": times for call, times in seconds.items()}


def exporting(client: Client, keys: int, repeat: int, interval: int = INTERVAL) -> dict[str, list[float]]:
    """Export a snapshot of a job that is at work, and start another job from the last one."""
    counting = Counting(client, "exported", keys, interval)
    seconds = []
    for turn in range(repeat):
        counting.publish(min(keys, BUSY_ITEMS))
        seconds.append(_timed(lambda name=f"snapshot-{turn}": counting.job.export_snapshot(name)))
    counting.catch_up()
    counting.job.export_snapshot("last")
    counting.job.cancel()
    counting.check()
    config = JobConfig(initial_snapshot_name="last")
    job = client.get_jet().submit(counting.pipeline, config)
    counting.publish(keys)
    counting.catch_up()
    job.cancel()
    counting.check()
    return {f"export_snapshot, {keys:,} keys": seconds}


def listing(client: Client, jobs: int, repeat: int) -> dict[str, list[float]]:
    """Let many small jobs run to their end, and list them from another client."""
    jet = client.get_jet()
    names = iter(f"job-{number}" for number in range(jobs))
    while batch := [jet.submit(_tiny(), JobConfig(name=name)) for name in islice(names, AT_ONCE)]:
        for job in batch:
            job.join()

    def listed() -> None:
        found = [(job.name, job.status) for job in other.get_jet().get_jobs()]
        assert len(found) == jobs
        assert all(status is JobStatus.COMPLETED for _, status in found)

    with jetbridge.connect(home=client.settings.home) as other:
        return {f"listing {jobs:,} ended jobs": [_timed(listed) for _ in range(repeat)]}


def _tiny() -> Pipeline:
    pipeline = Pipeline.create()
    pipeline.read_from(Pipeline.from_list("numbers", [1, 2, 3])).write_to(Pipeline.to_list("tiny", clear=True))
    return pipeline


def _itself(x: int) -> int:
    return x


def _one_more(count: int, x: int) -> int:
    return count + 1


def _timed(call: Callable[[], object]) -> float:
    start = time.monotonic()
    call()
    return time.monotonic() - start
