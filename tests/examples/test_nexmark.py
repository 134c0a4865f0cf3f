"""The queries of the Nexmark benchmark, against SQL on the same events."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import duckdb
import pytest

import jetbridge

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
            database.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(kind._fields))})", rows)
        yield database


@pytest.fixture(scope="module")
def run(nexmark, tmp_path_factory):
    """Runs a query; gives its results."""
    clients = {}

    def run(query, runner="direct"):
        if runner not in clients:
            home = tmp_path_factory.mktemp(runner) / "home"
            clients[runner] = jetbridge.connect(runner=runner, home=home, parallelism=2)
        client = clients[runner]
        client.get_jet().submit(nexmark["run"].pipeline_of(query, COUNT)).join(timeout=120)
        return client.get_list(f"nexmark-{query}").get_all()

    yield run
    for client in clients.values():
        client.shutdown()


def flat(result):
    """A result as a row of a table."""
    return tuple(part for each in result for part in (each if isinstance(each, tuple) else (each,)))


@pytest.mark.parametrize(("query", "runner"), CASES)
def test_the_results_are_those_of_sql(run, sql, query, runner):
    expected = sql.execute(SQL[query]).fetchall()
    assert len(expected) > 5
    assert Counter(map(flat, run(query, runner))) == Counter(expected)


def test_every_event_passes(run, nexmark):
    every = list(nexmark["events"].events(COUNT))
    assert Counter(run("0")) == Counter(every)
    kinds = Counter(type(event).__name__ for event in every)
    assert kinds == {"Person": COUNT // 50, "Auction": 3 * COUNT // 50, "Bid": 46 * COUNT // 50}


def test_average_price_for_a_category(run, sql):
    """After each winning bid there is an average; the last ones are those of all."""
    found = run("4")
    won = sql.execute(f"SELECT category, price FROM ({WON})").fetchall()
    assert len(found) == len(won)
    expected = sql.execute(f"SELECT category, avg(price) FROM ({WON}) GROUP BY category").fetchall()
    assert dict(found) == pytest.approx(dict(expected), rel=1e-12)


def test_average_price_of_a_sellers_last_auctions(run, sql):
    newest = f"""
        SELECT seller, price FROM ({WON}) QUALIFY row_number() OVER
        (PARTITION BY seller ORDER BY expires DESC, id DESC) <= 10
    """
    expected = sql.execute(f"SELECT seller, avg(price) FROM ({newest}) GROUP BY seller").fetchall()
    assert dict(run("6")) == pytest.approx(dict(expected), rel=1e-12)


def test_a_log_of_all_events(run, nexmark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = run("10")
    assert len(rows) == COUNT
    lines = (tmp_path / "nexmark.jsonl").read_text().splitlines()
    assert Counter(map(str, rows)) == Counter(str(json.loads(line)) for line in lines)


def test_bids_by_the_clock(run, sql):
    """Which windows they fall into is up to the clock; each counts once."""
    counts = Counter()
    for bidder, count in run("12"):
        counts[bidder] += count
    assert counts == dict(sql.execute("SELECT bidder, count(*) FROM bids GROUP BY bidder").fetchall())


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
