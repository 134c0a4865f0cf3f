"""What is measured of jetbridge alone: the first result, a second job, and memory as the input grows."""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from jobs import JOBS
from launch import CONTENDERS, run_once
from text import repeated, text_file

TINY = """
import time
import jetbridge
from jetbridge import Pipeline

with jetbridge.connect() as client:
    for _ in range({times}):
        start = time.monotonic()
        pipeline = Pipeline.create()
        source = Pipeline.from_list("numbers", [1, 2, 3, 4, 5])
        sink = Pipeline.to_list("results", clear=True)
        pipeline.read_from(source).map(lambda x: x * 2).filter(lambda x: x > 4).write_to(sink)
        client.get_jet().submit(pipeline).join()
        seconds = time.monotonic() - start
    assert client.get_list("results").get_all() == [6, 8, 10]
    print("submit to COMPLETED:", seconds)
"""

BARE_BEAM = """
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([]))
pipeline | beam.Create([1, 2, 3, 4, 5]) | beam.Map(lambda x: x * 2) | beam.Filter(lambda x: x > 4) | beam.Map(print)
pipeline.run().wait_until_finish()
"""

LISTING = """
from jetbridge.cli import app

app(["list"])
"""


def first_and_second(repeat: int) -> list[tuple[str, float, float]]:
    """Best and median seconds of a cold script, a bare Beam script, a second job in one process, and the command."""
    cold = [_script(TINY.format(times=1))[0] for _ in range(repeat)]
    beam = [_script(BARE_BEAM)[0] for _ in range(repeat)]
    second = [_seconds(_script(TINY.format(times=2))[1]) for _ in range(repeat)]
    listed = [_script(LISTING)[0] for _ in range(repeat)]
    measured = {
        "python script.py, tiny pipeline": cold,
        "the same written in bare Beam": beam,
        "a second job, submit to COMPLETED": second,
        "jetbridge list": listed,
    }
    return [(title, min(seconds), statistics.median(seconds)) for title, seconds in measured.items()]


def flatness(scale: float) -> list[tuple[str, int, int, int | None]]:
    """Peak memory of the jobs a and g on the input and on ten times as much: (job, cores, factor, bytes)."""
    rows = []
    for letter in "ag":
        job = JOBS[letter]
        size = max(1_000, int(job.items * scale))
        for name in ("jetbridge-1", "jetbridge-2"):
            for factor in (1, 10):
                text = repeated(text_file(size), factor) if job.on_text else ""
                measured = run_once(job, CONTENDERS[name], size * factor, sample=True, text=text)
                rows.append((letter, CONTENDERS[name].parallelism, factor, measured["peak"]))
    return rows


def _script(source: str) -> tuple[float, str]:
    """Run a script in an empty folder; gives the seconds of the whole process and its output."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        script.write_text(source)
        start = time.monotonic()
        done = subprocess.run([sys.executable, script], cwd=folder, capture_output=True, text=True, check=True)
        return time.monotonic() - start, done.stdout


def _seconds(output: str) -> float:
    found = re.search(r"COMPLETED: ([\d.e-]+)", output)
    assert found, output
    return float(found[1])
