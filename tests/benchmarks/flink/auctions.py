"""Queries of Nexmark on one cluster: jetbridge and hand-written Beam in turns, in Flink's batch mode."""

import time
from functools import partial
from pathlib import Path
from typing import Any

from auctions import plain_loop
from auctions.event_files import events_file, numbers
from auctions.hand_written_beam import QUERIES
from auctions.jetbridge_pipeline import Events, built
from jobs import JOBS, Case, digest
from live import folder

from flink import processes
from flink.on_beam import Submitter
from flink.timing import Moment, Run
from flink.turns import Turn, in_turns
from jetbridge import Client
from jetbridge_flink.cluster import Cluster

WARM_UP_ITEMS = 4_000


class NotedEvents(Events):
    """A file of events that notes when its first item was read."""

    def __init__(self, path: str, items: int, first: str) -> None:
        super().__init__(path, items)
        self.first = first

    def read_range(self, partition: str, start: int, end: int | None) -> Any:
        Moment(self.first).note()
        return super().read_range(partition, start, end)


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """A first run of each contender with a look at the memory, then the timed ones in turns.

    Args:
        spec: "runs": for each query (contender, items) of each; "parallelism" and "repeat".

    Returns:
        "rows": for each query and contender "items", "seconds" (a list of times), "peak" (bytes or None), "digest".
    """
    rows: dict[str, dict[str, Any]] = {query: {} for query in spec["runs"]}
    with folder.client(spec["parallelism"], "flink") as client:
        home = Path(client.settings.home)
        on_jetbridge(client, "q1", WARM_UP_ITEMS)  # starts the cluster
        with Cluster.lease(home, slots=1) as cluster:
            beam = Submitter(cluster, home, spec["parallelism"])
            turns = {
                (query, contender): Turn(
                    items,
                    partial(once, client, beam, contender, query, items),
                    partial(digest, JOBS[query]),
                    on_cluster=contender != "loop",
                )
                for query, runs in spec["runs"].items()
                for contender, items in runs
            }
            for (query, contender), row in in_turns(turns, spec["repeat"], processes.keeper_of(home)).items():
                rows[query][contender] = row
            beam.close()
    return {"end": time.monotonic(), "rows": rows}


def once(client: Client, beam: Submitter, contender: str, query: str, items: int) -> Run:
    """One run."""
    if contender == "loop":
        return in_a_loop(query, items)
    if contender == "jetbridge-flink":
        return on_jetbridge(client, query, items)
    path = str(events_file(items))
    expected = len(in_a_loop(query, items).result())
    return beam.query(contender, QUERIES[query], path, items, expected)


def on_jetbridge(client: Client, query: str, items: int) -> Run:
    """A query of examples/nexmark as it is."""
    sink = f"{query}-{time.monotonic_ns()}"
    first = Moment(str(Path(client.settings.home) / f"first-{sink}"))
    pipeline = built(query, NotedEvents(str(events_file(items)), items, first.path), sink)
    start = time.monotonic()
    client.get_jet().submit(pipeline).join(folder.PATIENCE)
    end = time.monotonic()
    return Run(items, start, first.seconds(), end, end, lambda: numbers(client.get_list(sink).get_all()))


def in_a_loop(query: str, items: int) -> Run:
    """A query as a plain loop."""
    start = time.monotonic()
    result = plain_loop.Contender(1).run(query, Case(items, str(events_file(items))))
    end = time.monotonic()
    return Run(items, start, start, end, end, result)
