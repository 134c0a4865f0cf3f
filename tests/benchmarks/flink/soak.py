"""A stream that takes checkpoints all the time, for minutes: does the memory of any process grow?"""

import os
import threading
import time
from itertools import islice
from pathlib import Path
from typing import Any

from live import folder, work
from memory import pss

from flink import processes
from jetbridge import Client, Job, Pipeline, StreamSource

TICK = 0.05  # seconds; what is due in one is published together
LOOKS = 300  # at the memory, in all


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Publish at a steady rate, look at every process from time to time, and check the totals at the end.

    Args:
        spec: "seconds", "rate" (items per second), "keys", "interval" (milliseconds between checkpoints) and
            "parallelism".

    Returns:
        "looks": (seconds since the start, bytes by process) of each look, "checkpoints": (seconds, how many, bytes of
        the last, its milliseconds) at each, "items" (how many were published) and "deaths" (of processes).
    """
    key = work.key_of(spec["keys"])
    pipeline = Pipeline.create()
    grouped = pipeline.read_from(StreamSource("numbers")).group_by(key)
    sums = grouped.rolling_aggregate(accumulator=work.add, initial=0).set_name("sums")
    sums.write_to(Pipeline.to_map("sums"))
    with folder.client(spec["parallelism"], "flink") as client:
        job = client.get_jet().submit(pipeline, folder.config("EXACTLY_ONCE", spec["interval"]))
        totals = client.get_map("sums")
        folder.publish(client, "numbers", range(spec["keys"]))  # all state is there before the first look
        folder.until(lambda: totals.size() == spec["keys"] or job.is_terminal())
        watcher = _Watcher(client, job, spec["seconds"] / LOOKS)
        watcher.start()
        published = _publish(client, job, spec)
        watcher.stop()
        expected: dict[int, int] = {}
        for x in range(published):
            k = key(x)
            expected[k] = work.add(expected.get(k, 0), x)
        total = sum(expected.values())
        folder.until(lambda: sum(totals.values()) == total or job.is_terminal())
        assert dict(totals.entry_set()) == expected, "the totals are wrong"
        job.cancel()
        deaths = processes.deaths(Path(client.settings.home))
    looks, checkpoints = watcher.looks, watcher.checkpoints
    return {"end": time.monotonic(), "looks": looks, "checkpoints": checkpoints, "items": published, "deaths": deaths}


def _publish(client: Client, job: Job, spec: dict[str, Any]) -> int:
    """Publish on from the last key, at a steady rate; gives how many items there are then."""
    stream, done = client.get_stream("numbers"), spec["keys"]
    numbers = iter(range(done, 2**62))
    start = time.monotonic()
    while (now := time.monotonic() - start) < spec["seconds"]:
        due = spec["keys"] + int(now * spec["rate"]) - done
        stream.publish_all(list(islice(numbers, due)))
        done += due
        assert not job.is_terminal(), f"the job ended with status {job.status}"
        time.sleep(TICK)
    return done


class _Watcher(threading.Thread):
    """Looks at the memory and the checkpoints until it is stopped."""

    def __init__(self, client: Client, job: Job, interval: float) -> None:
        super().__init__(name="watcher", daemon=True)
        self.looks: list[tuple[float, dict[str, int]]] = []
        self.checkpoints: list[tuple[float, int, int | None, int | None]] = []
        self._home, self._job, self._interval = Path(client.settings.home), job, max(0.2, interval)
        self._over = threading.Event()

    def run(self) -> None:
        """Look."""
        start = time.monotonic()
        while not self._over.wait(self._interval):
            now = time.monotonic() - start
            own = pss(os.getpid())
            self.looks.append((now, {**({} if own is None else {"client": own}), **processes.sizes(self._home)}))
            taken = self._job.get_metrics().snapshots
            self.checkpoints.append((now, taken.count, taken.last_size, taken.last_duration_millis))

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()
