"""The benchmarks run, on next to no data: their results are compared with the plain loop's as in a real run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")
STREAMING = "loop,jetbridge-2,bytewax"


def benchmark(*arguments, timeout=300):
    return subprocess.run([sys.executable, RUN, *arguments], capture_output=True, text=True, timeout=timeout)


@pytest.mark.parametrize(
    ("jobs", "contenders"),
    [
        ("a,g", "loop,jetbridge-2,beam,bytewax,polars"),
        ("b,c,d", "loop,jetbridge-1"),
        ("e,f", "loop,jetbridge-2"),
        ("q1,q5,q8", "loop,jetbridge-2"),
        pytest.param("q5,q7,q8,counts", "loop,jetbridge-1,beam,bytewax", marks=pytest.mark.full),
    ],
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


def test_several_jobs_in_short():
    done = benchmark(
        "--jobs", "a,b", "--contenders", "loop,jetbridge-1", "--scale", "0.0005", "--repeat", "1", "--markdown"
    )
    assert done.returncode == 0, done.stderr
    tables, _, short = done.stdout.partition("**In short**")
    assert tables.count("| jetbridge-1 |") == 2
    headings, _, *rows = short.split("\n\n")[1].strip().splitlines()
    assert headings == "| job | contender | items | items/s | x Beam | x tuned Beam | x Bytewax | x loop | peak MB |"
    assert [row.split(" | ")[0] for row in rows] == ["| (a) map, filter, flat_map", "| (b) sum by key, 100 keys"]
    for row in rows:
        rate = row.split(" | ")[3].replace(",", "")
        assert f"| {row.split(' | ')[1]} |" in tables
        assert int(rate) > 0
        assert row.split(" | ")[4] == "-", "Beam took no part"


def measured_of(name):
    done = benchmark("--jobs", name, "--contenders", STREAMING, "--scale", "0.0005", "--repeat", "1", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)[name]


def test_what_guarantees_cost():
    costs = measured_of("guarantees")
    assert len({(cost["job"], cost["variant"]) for cost in costs}) == len(costs) == 10
    for cost in costs:
        assert cost["items"] >= 4_000
        assert cost["cost"] == 0 or cost["variant"] != "NONE"
        assert 0 < cost["best"] <= cost["median"]


def test_calls_to_jobs():
    calls = measured_of("lifecycle")["seconds"]
    titles = ["suspend, 1,000 keys", "resume, 1,000 keys", "export_snapshot, 1,000 keys", "listing 10 ended jobs"]
    assert list(calls) == titles
    assert all(len(seconds) == 1 and seconds[0] > 0 for seconds in calls.values())


def test_latency():
    for row in measured_of("latency"):
        assert row["items"] == 10_000
        assert 0 < row["median"] <= row["p99"] <= row["most"]


def test_a_sustained_stream():
    rows = measured_of("sustained")
    assert {row["contender"] for row in rows} | {"bytewax"} == set(STREAMING.split(","))
    assert len({row["digest"] for row in rows}) == 1
    for row in rows:
        assert row["items"] == 1_500
        assert row["whole"] > row["best"] > 0


def test_open_sessions():
    rows = measured_of("sessions")
    assert [(row["keys"], row["items"]) for row in rows] == [(1_000, 3_000)] * 2
    assert all(0 < row["best"] <= row["median"] for row in rows)


def test_sliding_windows():
    tumbling, sliding = measured_of("sliding")
    assert (tumbling["results"], sliding["results"]) == (100, 6_000)
    assert tumbling["ratio"] == 1
    assert 0 < sliding["best"] <= sliding["median"]


def test_extras_and_tables():
    done = benchmark("--jobs", "cold", "--repeat", "1", "--markdown")
    assert done.returncode == 0, done.stderr
    assert "| a second job, submit to COMPLETED |" in done.stdout
    assert "| jetbridge list |" in done.stdout


def test_an_unknown_job_is_refused():
    done = benchmark("--jobs", "a,x")
    assert done.returncode == 2
    assert "no such name: x; there are a, b, c, d, e, f, g, q1, q2, q5, q7, q8, counts, cold" in done.stderr


def test_maps_of_a_hazelcast_member():
    done = benchmark("--jobs", "hazelcast", "--scale", "0.002", "--repeat", "1", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["hazelcast"]
    assert [row["contender"] for row in rows] == ["by hand", "jetbridge-1", "jetbridge-2"]
    for row in rows:
        assert row["entries"] == 2_000
        assert 0 < row["best"] <= row["median"]
        assert row["ratio"] > 0


def on_flink(name, *arguments):
    done = benchmark("--jobs", name, "--scale", "0.0005", "--repeat", "1", "--json", *arguments, timeout=1200)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)[name]


@pytest.mark.full
def test_bounded_jobs_on_flink():
    """All but PyFlink, whose environment is some hundred megabytes to download."""
    contenders = ("jetbridge-flink", "beam", "beam-tuned")
    measured = on_flink("flink-batch", "--contenders", ",".join(("loop", *contenders)))
    guarantees = ("NONE", "EXACTLY_ONCE")
    titles = ["loop", *(f"{name}, {each}" for name in contenders for each in guarantees)]
    for letter in "ab":
        assert [row["title"] for row in measured[letter]] == titles
        for row in measured[letter]:
            assert row["items"] >= 1_000
            assert 0 < row["best"] <= row["whole"]


@pytest.mark.full
def test_streams_on_flink():
    measured = on_flink("flink-stream", "--contenders", "loop,jetbridge-flink,beam-tuned")
    for keys in ("100", "1000000"):
        titles = ["loop", "jetbridge-flink, stream", "jetbridge-flink, numbers", "beam-tuned"]
        assert [row["title"] for row in measured[keys]] == titles
        assert all(0 < row["best"] <= row["whole"] for row in measured[keys])


@pytest.mark.full
def test_auctions_on_flink():
    measured = on_flink("flink-auctions", "--contenders", "loop,jetbridge-flink,beam-tuned")
    assert set(measured) == {"q1", "q2", "q5", "q7", "q8", "counts"}
    for rows in measured.values():
        assert [row["contender"] for row in rows] == ["loop", "jetbridge-flink", "beam-tuned"]
        assert all(0 < row["best"] <= row["whole"] for row in rows)


@pytest.mark.full
def test_starts_and_calls_on_flink():
    seconds = on_flink("flink-start")
    assert len(seconds) == 7
    assert all(times and min(times) > 0 for times in seconds.values())


@pytest.mark.full
def test_latency_on_flink():
    rows = on_flink("flink-latency")
    assert len(rows) == 3
    for row in rows:
        assert row["items"] == 2_000
        assert 0 < row["median"] <= row["p99"] <= row["most"]


def test_sliding_windows_on_flink():
    assert [row["windows"] for row in on_flink("flink-sliding")] == ["tumbling", "sliding"]


@pytest.mark.full
def test_a_soak_on_flink():
    found = on_flink("flink-soak", "--seconds", "10")
    assert found["items"] > 10_000
    assert found["deaths"] == []
    assert {"client", "keeper", "jobmanager", "taskmanager", "worker_pool", "worker 1"} <= set(found["memory"])
    assert found["checkpoints"][-1][1] > 5


@pytest.mark.full
def test_pyflink_takes_part():
    """It needs a Python that PyFlink runs on, and a network."""
    names = ["loop", "pyflink-process", "pyflink-thread"]
    for job in ("flink-batch", "flink-auctions"):
        for rows in on_flink(job, "--contenders", ",".join(names)).values():
            assert [row["contender"] for row in rows] == names
