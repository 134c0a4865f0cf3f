"""What is measured of streams: what guarantees cost, the calls that steer jobs, latency, load, and windows."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from launch import Contender, Row, RunFailed, run_script

GUARANTEES = {
    "NONE": ("NONE", 10_000),
    "AT_LEAST_ONCE, 10 s": ("AT_LEAST_ONCE", 10_000),
    "AT_LEAST_ONCE, 1 s": ("AT_LEAST_ONCE", 1_000),
    "EXACTLY_ONCE, 10 s": ("EXACTLY_ONCE", 10_000),
    "EXACTLY_ONCE, 1 s": ("EXACTLY_ONCE", 1_000),
}
GUARANTEE_JOBS = {"stream": 8_000_000, "batch": 30_000_000}  # items
KEYS = 10_000
SUSTAINED_ITEMS = 3_000_000
SUSTAINED_INTERVAL = 1_000  # milliseconds between snapshots, for all contenders
SUSTAINED = {"loop": "in_loop", "jetbridge-1": "on_jetbridge", "jetbridge-2": "on_jetbridge", "bytewax": "on_bytewax"}
SUSPENDED_KEYS = 100_000
SESSION_KEYS = (100_000, 1_000_000)
SLIDING_ITEMS = 5_000_000
EXPORTED_KEYS = 1_000_000
LISTED_JOBS = 1_000
RATE = 10_000  # items per second
SECONDS = 20.0
RATE_KEYS = 1_000
LATENCIES = {
    "map, NONE": ("map", "NONE", 10_000),
    f"rolling aggregate of {RATE_KEYS:,} keys, EXACTLY_ONCE, 1 s": ("rolling", "EXACTLY_ONCE", 1_000),
}
PARALLELISM = 2  # of every job but the sustained ones, which say it in their name


@dataclass(frozen=True)
class Cost:
    """What one guarantee did to one job.

    Attributes:
        job: stream or batch.
        variant: The guarantee, and how often there was a snapshot.
        items: How many items went through.
        best: The quickest run in seconds, from submit to the last result.
        median: The median run in seconds.
        cost: How much longer it took than NONE, as a part of that: the median of the turns, each of which has a run
            of every variant right after another.
        cpu: The least processor time of a run in seconds, of all processes but the client.
        cpu_cost: How much more that is than with NONE, as a part of it.
        peak: The most memory of all processes in bytes, from a run that was not timed; None if unknown.
    """

    job: str
    variant: str
    items: int
    best: float
    median: float
    cost: float
    cpu: float
    cpu_cost: float
    peak: int | None


def guarantees(scale: float, repeat: int) -> list[Cost]:
    """The same jobs without a guarantee and with each, in turns."""
    costs = []
    for kind, full in GUARANTEE_JOBS.items():
        items = max(1_000, int(full * scale))
        spec = {"module": "guarantees", "kind": kind, "items": items, "keys": KEYS, "variants": GUARANTEES}
        measured = _run({**spec, "repeat": repeat})
        plain = measured["seconds"]["NONE"]
        for variant, seconds in measured["seconds"].items():
            ratios = [taken / without for taken, without in zip(seconds, plain, strict=True)]
            costs.append(
                Cost(
                    job=kind,
                    variant=variant,
                    items=items,
                    best=min(seconds),
                    median=statistics.median(seconds),
                    cost=statistics.median(ratios) - 1,
                    cpu=(used := min(measured["cpu"][variant])),
                    cpu_cost=used / min(measured["cpu"]["NONE"]) - 1,
                    peak=measured["peaks"][variant],
                )
            )
    return costs


def lifecycle(scale: float, repeat: int) -> dict[str, Any]:
    """The seconds of each call, and the most memory in a run that was not timed."""
    spec = {
        "module": "lifecycle",
        "suspended_keys": max(1_000, int(SUSPENDED_KEYS * scale)),
        "exported_keys": max(1_000, int(EXPORTED_KEYS * scale)),
        "jobs": max(10, int(LISTED_JOBS * scale)),
    }
    watched = _run({**spec, "jobs": 1, "repeat": 1}, sample=True)
    return {"seconds": _run({**spec, "repeat": repeat})["seconds"], "peak": watched["peak"]}


def latency(scale: float, repeat: int) -> list[dict[str, Any]]:
    """For each kind of job the run with the least median delay from publish to sink."""
    rows = []
    for title, (kind, guarantee, interval) in LATENCIES.items():
        spec = {"module": "latency", "kind": kind, "guarantee": guarantee, "interval": interval}
        spec |= {"rate": RATE, "keys": RATE_KEYS}
        seconds = max(1.0, SECONDS * scale)
        watched = _run({**spec, "seconds": min(seconds, 5.0)}, sample=True)
        runs = [_run({**spec, "seconds": seconds}) for _ in range(repeat)]
        best = min(runs, key=lambda run: run["median"])
        rows.append({**best, "title": title, "worst_p99": max(run["p99"] for run in runs), "peak": watched["peak"]})
    return rows


def sustained(contenders: Sequence[Contender], scale: float, repeat: int) -> list[Row]:
    """A backlog of numbers with a running sum for each key, kept exactly once: contenders in turns, results compared.

    Raises:
        RunFailed: When a run fails, or two contenders have different results.
    """
    able = [contender for contender in contenders if contender.name in SUSTAINED and contender.installed]
    runs: dict[str, list[dict[str, Any]]] = {contender.name: [] for contender in able}
    peaks: dict[str, int | None] = {}
    items = max(1_000, int(SUSTAINED_ITEMS * scale))
    for turn in range(repeat + 1):
        for contender in able:
            spec = {
                "module": "sustained",
                "contender": SUSTAINED[contender.name],
                "parallelism": contender.parallelism,
                "items": items,
                "keys": KEYS,
                "interval": SUSTAINED_INTERVAL,
            }
            measured = _run(spec, sample=turn == 0)
            if turn == 0:  # looking at the memory takes time of its own, so this run is not timed
                peaks[contender.name] = measured["peak"]
            else:
                runs[contender.name].append(measured)
    rows = [Row.of("sustained", name, measured, peaks[name]) for name, measured in runs.items()]
    if len({row.digest for row in rows}) > 1:
        raise RunFailed(f"sustained: the results differ: {', '.join(f'{row.contender} {row.digest}' for row in rows)}")
    return rows


def sessions(scale: float, repeat: int) -> list[dict[str, Any]]:
    """Session windows that are all open at once: the quickest run for each number of keys, and the most memory."""
    rows = []
    for full in SESSION_KEYS:
        spec = {"module": "sessions", "keys": max(1_000, int(full * scale))}
        peak = _run(spec, sample=True)["peak"]
        runs = [_run(spec) for _ in range(repeat)]
        seconds = [run["seconds"] for run in runs]
        best, items = min(seconds), runs[0]["items"]
        row = {"keys": spec["keys"], "items": items, "best": best, "median": statistics.median(seconds)}
        rows.append({**row, "rate": items / best, "peak": peak})
    return rows


def sliding(scale: float, repeat: int, runner: str) -> list[dict[str, Any]]:
    """Counts by key in tumbling windows and in sliding ones of sixty steps."""
    items = max(10_000, int(SLIDING_ITEMS * scale))
    runs = _run({"module": "sliding", "items": items, "repeat": repeat, "runner": runner})["runs"]
    rows = [
        {
            "windows": name,
            "items": items,
            "results": run["results"],
            "best": min(run["seconds"]),
            "median": statistics.median(run["seconds"]),
        }
        for name, run in runs.items()
    ]
    return [{**row, "ratio": row["best"] / rows[0]["best"]} for row in rows]


def _run(spec: dict[str, Any], *, sample: bool = False) -> dict[str, Any]:
    return run_script("live_worker.py", {"parallelism": PARALLELISM, **spec}, sample=sample)
