"""A bounded job on one cluster: jetbridge and hand-written Beam in turns, without a guarantee and with the best."""

import time
from functools import partial
from pathlib import Path
from typing import Any

from jobs import JOBS, digest
from live import folder

from flink import on_jetbridge, processes
from flink.on_beam import Submitter
from flink.timing import Run
from flink.turns import Turn, in_turns
from jetbridge import Client
from jetbridge_flink.cluster import Cluster

WARM_UP_ITEMS = 1_000


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """A first run of each contender with a look at the memory, then the timed ones in turns.

    Args:
        spec: "runs": for each job, a and b, (title, contender, guarantee, items) of each; "interval" (milliseconds
            between checkpoints), "parallelism" and "repeat".

    Returns:
        "rows": for each job and title "items", "seconds" (a list of times), "peak" (bytes or None) and "digest".
    """
    interval = spec["interval"]
    rows = {}
    with folder.client(spec["parallelism"], "flink") as client:
        home = Path(client.settings.home)
        on_jetbridge.batch(client, "a", WARM_UP_ITEMS, "NONE", interval).result()  # starts the cluster
        with Cluster.lease(home, slots=1) as cluster:
            beam = Submitter(cluster, home, spec["parallelism"])
            for letter, runs in spec["runs"].items():
                rows[letter] = _job(client, beam, letter, runs, interval, spec["repeat"])
            beam.close()
    return {"end": time.monotonic(), "rows": rows}


def _job(
    client: Client, beam: Submitter, letter: str, runs: list[tuple[str, str, str, int]], interval: int, repeat: int
) -> dict[str, dict[str, Any]]:
    def once(contender: str, guarantee: str, items: int) -> Run:
        if contender == "jetbridge-flink":
            return on_jetbridge.batch(client, letter, items, guarantee, interval)
        return beam.batch(contender, letter, items, guarantee, interval)

    turns = {
        title: Turn(items, partial(once, contender, guarantee, items), partial(digest, JOBS[letter]))
        for title, contender, guarantee, items in runs
    }
    return in_turns(turns, repeat, processes.keeper_of(Path(client.settings.home)))
