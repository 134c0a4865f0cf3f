"""The queries of the Nexmark benchmark, against SQL on the same events."""

from __future__ import annotations

import importlib
import json
import os
import random
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest

import jetbridge
from jetbridge import Pipeline, StreamSource, testing
from jetbridge.custom_conformance import check_kernel

FOLDER = Path(__file__).parents[2] / "examples" / "nexmark"
COUNT = 6_000
ON_FLINK = ("5", "8")
WON = """
    SELECT auction.*, bid.* FROM auctions auction JOIN bids bid ON bid.auction = auction.id
    WHERE bid.time >= auction.time AND bid.time < auction.expires AND bid.price >= auction.reserve
    QUALIFY row_number() OVER (PARTITION BY auction.id ORDER BY bid.price DESC, bid.time) = 1
"""
SQL = {
    "1": "SELECT auction, bidder, price * 89 // 100, time FROM bids",
    "2": "SELECT auction, price FROM bids WHERE auction % 123 = 0",
    "3": """
        SELECT p.name, p.city, p.state, a.id FROM people p JOIN auctions a ON a.seller = p.id
        WHERE p.state IN ('CA', 'ID', 'OR') AND a.category = 10
    """,
    "5": """
        WITH counted AS (
            SELECT start, auction, count(*) AS bids
            FROM bids, LATERAL (SELECT unnest(range(time // 2000 * 2000 - 8000, time + 1, 2000)) AS start)
            GROUP BY start, auction
        )
        SELECT start, auction, bids FROM counted
        QUALIFY row_number() OVER (PARTITION BY start ORDER BY bids DESC, auction) = 1
    """,
    "7": """
        SELECT time // 10000 * 10000, auction, bidder, price, time FROM bids
        QUALIFY row_number() OVER (PARTITION BY time // 10000 ORDER BY price DESC, time) = 1
    """,
    "8": """
        SELECT p.time // 10000 * 10000, p.id, p.name, a.id FROM people p JOIN auctions a
        ON a.seller = p.id AND a.time // 10000 = p.time // 10000
    """,
    "9": WON,
    "11": """
        WITH begun AS (
            SELECT bidder, time, coalesce(time - lag(time) OVER mine >= 1000, true) AS begins FROM bids
            WINDOW mine AS (PARTITION BY bidder ORDER BY time)
        ), numbered AS (
            SELECT bidder, time, sum(begins::int) OVER (PARTITION BY bidder ORDER BY time) AS session FROM begun
        )
        SELECT bidder, min(time), count(*) FROM numbered GROUP BY bidder, session
    """,
    "counts": "SELECT time // 10000 * 10000, auction, count(*) FROM bids GROUP BY ALL",
}
FULL = [pytest.param(query, "flink", marks=pytest.mark.full) for query in SQL if query not in ON_FLINK]
RUNNERS = ["direct", pytest.param("flink", marks=pytest.mark.full)]
LAG = 2_000  # milliseconds by which events of the stream come too late at most
CASES = [*((query, "direct") for query in SQL), *((query, "flink") for query in ON_FLINK), *FULL]


@pytest.fixture(scope="module")
def nexmark():
    """The modules of the example, which import each other by their bare names."""
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert not names & set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    yield {name: importlib.import_module(name) for name in names}
    sys.path.remove(str(FOLDER))
    for name in names:
        del sys.modules[name]


@pytest.fixture(scope="module")
def sql(nexmark):
    """A database with the same events."""
    model = nexmark["model"]
    kinds = {"people": model.Person, "auctions": model.Auction, "bids": model.Bid}
    every = list(nexmark["events"].events(COUNT))
    with duckdb.connect() as database:
        for table, kind in kinds.items():
            rows = [event for event in every if isinstance(event, kind)]
            columns = ", ".join(
                f"{name} {'VARCHAR' if name in ('name', 'city', 'state') else 'BIGINT'}" for name in kind._fields
            )
            database.execute(f"CREATE TABLE {table} ({columns})")
            values = [list(column) for column in zip(*rows, strict=True)]  # row by row it takes ten seconds
            database.execute(f"INSERT INTO {table} SELECT {', '.join(['unnest(?)'] * len(values))}", values)
        yield database


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Gives the client of a runner."""
    clients = {}

    def client(runner):
        if runner not in clients:
            home = tmp_path_factory.mktemp(runner) / "home"
            clients[runner] = jetbridge.connect(runner=runner, home=home, parallelism=2)
        return clients[runner]

    yield client
    for each in clients.values():
        each.shutdown()


@pytest.fixture(scope="module")
def run(nexmark, client):
    """Runs a query; gives its results."""

    def run(query, runner):
        client(runner).get_jet().submit(nexmark["run"].pipeline_of(query, COUNT)).join(timeout=120)
        return client(runner).get_list(f"nexmark-{query}").get_all()

    return run


def flat(result):
    """A result as a row of a table."""
    return tuple(part for each in result for part in (each if isinstance(each, tuple) else (each,)))


@pytest.mark.parametrize(("query", "runner"), CASES)
def test_the_results_are_those_of_sql(run, sql, query, runner):
    expected = sql.execute(SQL[query]).fetchall()
    assert len(expected) > 5
    assert Counter(map(flat, run(query, runner))) == Counter(expected)


@pytest.mark.parametrize("runner", RUNNERS)
def test_every_event_passes(run, nexmark, runner):
    every = list(nexmark["events"].events(COUNT))
    assert Counter(run("0", runner)) == Counter(every)
    kinds = Counter(type(event).__name__ for event in every)
    assert kinds == {"Person": COUNT // 50, "Auction": 3 * COUNT // 50, "Bid": 46 * COUNT // 50}


@pytest.mark.parametrize("runner", RUNNERS)
def test_average_price_for_a_category(run, sql, runner):
    """After each winning bid there is an average; the last ones are those of all."""
    found = run("4", runner)
    won = sql.execute(f"SELECT category, price FROM ({WON})").fetchall()
    assert len(found) == len(won)
    expected = sql.execute(f"SELECT category, avg(price) FROM ({WON}) GROUP BY category").fetchall()
    assert dict(found) == pytest.approx(dict(expected), rel=1e-12)


@pytest.mark.parametrize("runner", RUNNERS)
def test_average_price_of_a_sellers_last_auctions(run, sql, runner):
    newest = f"""
        SELECT seller, price FROM ({WON}) QUALIFY row_number() OVER
        (PARTITION BY seller ORDER BY expires DESC, id DESC) <= 10
    """
    expected = sql.execute(f"SELECT seller, avg(price) FROM ({newest}) GROUP BY seller").fetchall()
    assert dict(run("6", runner)) == pytest.approx(dict(expected), rel=1e-12)


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_log_of_all_events(run, nexmark, tmp_path, monkeypatch, runner):
    monkeypatch.chdir(tmp_path)
    rows = run("10", runner)
    assert len(rows) == COUNT
    lines = (tmp_path / "nexmark.jsonl").read_text().splitlines()
    assert Counter(map(str, rows)) == Counter(str(json.loads(line)) for line in lines)


@pytest.mark.parametrize("runner", RUNNERS)
def test_bids_by_the_clock(run, sql, runner):
    """Which windows they fall into is up to the clock; each counts once."""
    counts = Counter()
    for bidder, count in run("12", runner):
        counts[bidder] += count
    assert counts == dict(sql.execute("SELECT bidder, count(*) FROM bids GROUP BY bidder").fetchall())


@pytest.fixture(scope="module")
def late_events(nexmark):
    """The same events, each up to two seconds too late."""
    chance = random.Random(1)
    every = sorted(nexmark["events"].events(COUNT), key=lambda event: event.time + chance.randrange(LAG))
    assert any(before.time > after.time for before, after in pairwise(every))
    return every


@pytest.mark.parametrize("chunk", [7, 4_096])
@pytest.mark.parametrize("query", SQL)
def test_kernels_on_events_that_are_out_of_order(nexmark, sql, late_events, query, chunk):
    """The same SQL holds however often the watermark is told; this needs no runner."""
    source = Pipeline.create().read_from(testing.scripted(late_events))
    results = nexmark["run"].QUERIES[query](source.with_timestamps(lambda event: event.time, allowed_lag=LAG))
    found = testing.run_kernels(results, chunk=chunk)
    assert Counter(map(flat, found)) == Counter(sql.execute(SQL[query]).fetchall())


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_stream_that_is_out_of_order(client, nexmark, sql, late_events, until, runner):
    """One job with all of them: watermarks close the windows."""
    client, pipeline = client(runner), Pipeline.create()
    stream, source = client.get_stream("house"), pipeline.read_from(StreamSource("house"))
    events = source.with_timestamps(lambda event: event.time, allowed_lag=LAG)
    expected = {query: Counter(sql.execute(text).fetchall()) for query, text in SQL.items()}
    for query in expected:
        nexmark["run"].QUERIES[query](events).write_to(Pipeline.to_list(f"stream-{query}"))
    job = client.get_jet().submit(pipeline)
    for start in range(0, COUNT, 500):
        stream.publish_all(late_events[start : start + 500])
    stream.publish(nexmark["model"].Person(0, "last", "", "", COUNT * 1_000))  # what was open before it closes
    results = {query: client.get_list(f"stream-{query}") for query in expected}
    until(lambda: job.is_terminal() or all(len(results[query]) >= each.total() for query, each in expected.items()))
    job.cancel()
    for query, rows in expected.items():
        assert Counter(map(flat, results[query])) == rows, query


def test_winners_are_the_same_however_items_and_watermarks_come(nexmark):
    events = [event for event in nexmark["events"].events(1_000) if not hasattr(event, "city")]
    winners = nexmark["winners"].Winning
    found = check_kernel(winners, events, lambda e: e.id if hasattr(e, "expires") else e.auction, lambda e: e.time)
    assert len(found) > 30


def test_the_command(tmp_path):
    done = subprocess.run(
        [sys.executable, FOLDER / "run.py", "--query", "7", "--events", "5000"],
        cwd=tmp_path,
        env={**os.environ, "JETBRIDGE_HOME": str(tmp_path / "home"), "JETBRIDGE_PARALLELISM": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("Q7: 5 results in ")
    assert len(done.stdout.splitlines()) == 6
