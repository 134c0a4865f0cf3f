"""One pipeline with each guarantee in turn, so that what disturbs the machine disturbs all alike."""

import time
from typing import Any

from contenders.jetbridge_pipeline import Range
from memory import watched

from jetbridge import Client, JobConfig, Pipeline
from live import cpu, folder, work


class Stream:
    """Running sums of a stream: the time is that until the last result is in the list."""

    def __init__(self, client: Client, items: int, keys: int) -> None:
        self.client, self.items = client, items
        self.key = work.key_of(keys)
        folder.publish(client, "numbers", range(items))

    def run(self, config: JobConfig) -> tuple[float, str]:
        """Seconds from submit to the last result, and a fingerprint of all results."""
        sums = self.client.get_list("sums")
        sums.clear()
        pipeline = folder.running_sums("numbers", "sums", self.key, work.add)
        start = time.monotonic()
        job = self.client.get_jet().submit(pipeline, config)
        folder.until(lambda: sums.size() >= self.items or job.is_terminal())
        seconds = time.monotonic() - start
        job.cancel()
        return seconds, work.seen(sums).digest()


class Batch:
    """A fold of numbers that keeps its state to their end: the time is that until COMPLETED."""

    def __init__(self, client: Client, items: int, keys: int) -> None:
        self.client, self.items = client, items
        self.key = work.key_of(keys)

    def run(self, config: JobConfig) -> tuple[float, str]:
        """Seconds from submit to COMPLETED, and a fingerprint of the result."""
        sums = self.client.get_map("sums")
        sums.clear()
        pipeline = Pipeline.create()
        grouped = pipeline.read_from(Range(self.items)).group_by(self.key)
        grouped.aggregate(accumulator=work.add, initial=0).set_name("sums").write_to(Pipeline.to_map("sums"))
        start = time.monotonic()
        self.client.get_jet().submit(pipeline, config).join()
        return time.monotonic() - start, work.seen(sums.items()).digest()


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """A first run of each variant with a look at the memory, then the timed ones in turns.

    Args:
        spec: "kind": stream or batch, "variants": (guarantee, milliseconds between snapshots) by name,
            "items", "keys", "parallelism" and "repeat".
    """
    kind = {"stream": Stream, "batch": Batch}[spec["kind"]]
    seconds: dict[str, list[float]] = {name: [] for name in spec["variants"]}
    work_seconds: dict[str, list[float]] = {name: [] for name in spec["variants"]}
    peaks: dict[str, int | None] = {}
    digests: dict[str, str] = {}
    with folder.client(spec["parallelism"]) as client:
        pipeline = kind(client, spec["items"], spec["keys"])
        for turn in range(spec["repeat"] + 1):
            for name, (guarantee, interval) in spec["variants"].items():
                config = folder.config(guarantee, interval)
                if turn:
                    used = cpu.below()
                    taken, digests[name] = pipeline.run(config)
                    seconds[name].append(taken)
                    work_seconds[name].append(cpu.below() - used)
                else:  # looking at the memory takes time of its own, so this run is not timed
                    with watched() as samples:
                        _, digests[name] = pipeline.run(config)
                    peaks[name] = samples.peak(time.monotonic())
                if len(set(digests.values())) != 1:
                    raise AssertionError(f"the results differ: {digests}")
    return {"end": time.monotonic(), "seconds": seconds, "cpu": work_seconds, "peaks": peaks}
