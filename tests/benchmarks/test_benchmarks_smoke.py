"""The benchmarks run, on next to no data: their results are compared with the plain loop's as in a real run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")


def benchmark(*arguments):
    return subprocess.run([sys.executable, RUN, *arguments], capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    ("jobs", "contenders"),
    [("a,g", "loop,jetbridge-2,beam,bytewax,polars"), ("b,c,d", "loop,jetbridge-1"), ("e,f", "loop,jetbridge-2")],
)
def test_jobs(jobs, contenders):
    done = benchmark("--jobs", jobs, "--contenders", contenders, "--scale", "0.0005", "--repeat", "1", "--json")
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    for job in jobs.split(","):
        took_part = {row["contender"] for row in measured[job]}
        optional = {"bytewax", "polars"}  # they are no part of what the tests need
        assert set(contenders.split(",")) - optional <= took_part
        for row in measured[job]:
            assert row["items"] >= 1_000
            assert row["best"] > 0
            assert row["whole"] > row["best"]


def test_extras_and_tables():
    done = benchmark("--jobs", "cold", "--repeat", "1", "--markdown")
    assert done.returncode == 0, done.stderr
    assert "| a second job, submit to COMPLETED |" in done.stdout


def test_an_unknown_job_is_refused():
    done = benchmark("--jobs", "a,x")
    assert done.returncode == 2
    assert "no such name: x; there are a, b, c, d, e, f, g, cold, flat" in done.stderr
