"""Starts contenders in processes of their own and measures them from outside."""

import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from auctions.event_files import events_file
from jobs import JOBS, Job
from memory import INTERVAL, Samples
from text import text_file

HERE = Path(__file__).parent
DEADLINE = 1_800.0  # seconds for one run


@dataclass(frozen=True)
class Contender:
    """Who takes part.

    Attributes:
        name: What it is called in the table.
        module: Its module in the folder ``contenders``.
        package: The package that it needs.
        parallelism: How many cores it is told to use.
        jobs: The names of the jobs that it can do.
    """

    name: str
    module: str
    package: str
    parallelism: int = 1
    jobs: tuple[str, ...] = tuple(JOBS)

    @property
    def installed(self) -> bool:
        """Whether its package is there."""
        return importlib.util.find_spec(self.package) is not None


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("loop", "plain_loop", "sys"),
        Contender("jetbridge-1", "jetbridge_pipeline", "jetbridge"),
        Contender("jetbridge-2", "jetbridge_pipeline", "jetbridge", parallelism=2),
        Contender("beam", "hand_written_beam", "apache_beam"),
        Contender("beam-tuned", "tuned_beam", "apache_beam", jobs=tuple("abcdef")),
        Contender("bytewax", "bytewax_flow", "bytewax"),
        Contender("polars", "polars_frame", "polars", jobs=tuple("abcefg")),
    )
}


@dataclass(frozen=True)
class Row:
    """What one contender did in one job.

    Attributes:
        job: The job's letter.
        contender: The contender's name.
        items: How many items it handled.
        best: The quickest run in seconds, without start-up.
        median: The median run in seconds.
        whole: The quickest whole process in seconds: start-up, a warm-up of 1,000 items, the job and the check.
        peak: The most memory until the job's end, in bytes, from a run that was not timed; None if unknown.
        digest: The fingerprint of the result, for the comparison.
    """

    job: str
    contender: str
    items: int
    best: float
    median: float
    whole: float
    peak: int | None
    digest: str

    @classmethod
    def of(cls, job: str, contender: str, runs: list[dict[str, Any]], peak: int | None) -> "Row":
        """What was measured in several runs."""
        seconds = [run["end"] - run["start"] for run in runs]
        return cls(
            job=job,
            contender=contender,
            items=runs[0]["items"],
            best=min(seconds),
            median=statistics.median(seconds),
            whole=min(run["whole"] for run in runs),
            peak=peak,
            digest=runs[0]["digest"],
        )

    @property
    def rate(self) -> float:
        """Items per second in the quickest run."""
        return self.items / self.best

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "rate": self.rate}


class RunFailed(Exception):
    """A contender's process did not end well."""


def measure(job: Job, contenders: Sequence[Contender], scale: float, repeat: int) -> list[Row]:
    """Let all contenders do one job, in turns, and compare their results.

    Raises:
        RunFailed: If a run fails or two contenders of a job have different results.
    """
    runs: dict[str, list[dict[str, Any]]] = {}
    peaks: dict[str, int | None] = {}
    sizes = {contender.name: _size(job, contender, scale) for contender in contenders}
    for turn in range(repeat + 1):
        for contender in contenders:
            measured = run_once(job, contender, sizes[contender.name], sample=turn == 0)
            if turn == 0:  # looking at the memory takes time of its own, so this run is not timed
                peaks[contender.name] = measured["peak"]
            else:
                runs.setdefault(contender.name, []).append(measured)
    rows = [Row.of(job.letter, name, measured, peaks[name]) for name, measured in runs.items()]
    _compare(job, rows, sizes)
    return rows


def _size(job: Job, contender: Contender, scale: float) -> int:
    """How much input a contender gets: Beam a part of it, as it would run for minutes."""
    share = job.beam_share if contender.name.startswith("beam") else 1
    return max(1_000, int(job.items * scale * share))


def _compare(job: Job, rows: list[Row], sizes: dict[str, int]) -> None:
    """Every result must be that of the plain loop on as many items."""
    expected = {sizes[row.contender]: row.digest for row in rows if row.contender == "loop"}
    for row in rows:
        size = sizes[row.contender]
        if size not in expected:
            expected[size] = run_once(job, CONTENDERS["loop"], size)["digest"]
        if row.digest != expected[size]:
            raise RunFailed(f"job {job.letter}: {row.contender} has another result than a plain loop: {row.digest}")


def run_once(job: Job, contender: Contender, size: int, *, sample: bool = False, text: str = "") -> dict[str, Any]:
    """One run in a process of its own.

    Args:
        job: What to do.
        contender: Who does it.
        size: The number of items, or of bytes of text.
        sample: Whether to look at the memory meanwhile.
        text: The text to read, instead of one of ``size`` bytes.

    Returns:
        What worker.py wrote, and "whole" (seconds) and "peak" (bytes or None).
    """
    made = text_file if job.on_text else events_file if job.on_events else None
    spec = {
        "job": job.letter,
        "module": f"{'auctions' if job.on_events else 'contenders'}.{contender.module}",
        "parallelism": contender.parallelism,
        "items": size,
        "text": text or (str(made(size)) if made else ""),
        "warm_up_text": str(made(10_000)) if made else "",
    }
    return run_script("worker.py", spec, sample=sample)


def run_script(
    script: str,
    spec: dict[str, Any],
    *,
    sample: bool = False,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
    deadline: float = DEADLINE,
) -> dict[str, Any]:
    """Run a script of this folder in a process of its own.

    Args:
        script: Its path from here. Its argument is the specification as JSON, with "out": the file that it
            writes its measurements to, as JSON with "end", the moment until which memory counts.
        spec: What it is to do.
        sample: Whether to look at the memory meanwhile.
        python: The Python to run it with.
        environment: Variables to add to the environment.
        deadline: How many seconds it may take.

    Returns:
        What it wrote, and "whole" (seconds) and "peak" (bytes or None).

    Raises:
        RunFailed: When it does not end well.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "measured.json"
        samples = Samples()
        command = [python, str(HERE / script), json.dumps({**spec, "out": str(out)})]
        whole = _run(command, folder, samples if sample else None, environment or {}, deadline)
        measured: dict[str, Any] = json.loads(out.read_text())
    return {**measured, "whole": whole, "peak": samples.peak(measured["end"])}


def _run(command: list[str], folder: str, samples: Samples | None, more: Mapping[str, str], deadline: float) -> float:
    """Run a command to its end; gives the seconds that it took."""
    log = Path(folder) / "log.txt"
    start = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=folder, env={**_environment(), **more})
        try:
            while samples is not None and process.poll() is None and time.monotonic() < start + deadline:
                samples.take(process.pid)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(INTERVAL)
            status = process.wait(max(1.0, start + deadline - time.monotonic()))
        except BaseException:
            _end_tree(process.pid)
            raise
    whole = time.monotonic() - start
    if status != 0:
        raise RunFailed(f"{command[1:]} ended with status {status}:\n{log.read_text(errors='replace')[-4_000:]}")
    return whole


def _environment() -> dict[str, str]:
    """The environment without settings of jetbridge, which would make a run another one."""
    return {name: value for name, value in os.environ.items() if not name.startswith("JETBRIDGE_")}


def _end_tree(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [*root.children(recursive=True), root]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
