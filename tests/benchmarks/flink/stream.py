"""Running sums by key, exactly once with a checkpoint each second: a backlog that is worked off."""

import time
from functools import partial
from pathlib import Path
from typing import Any

from live import folder, in_loop, work

from flink import on_jetbridge, processes
from flink.on_beam import Submitter
from flink.timing import Run
from flink.turns import Turn, in_turns
from jetbridge_flink.cluster import Cluster

WARM_UP_ITEMS = 1_000


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """A first run of each contender with a look at the memory, then the timed ones in turns.

    Args:
        spec: "runs": (title, contender, source, items, keys) of each; "interval" (milliseconds between checkpoints),
            "parallelism" and "repeat".

    Returns:
        "rows": for each title "items", "keys", "seconds" (a list of times), "peak" (bytes or None) and "digest";
        those of a plain loop, which is durable nowhere, among them.
    """
    interval = spec["interval"]
    with folder.client(spec["parallelism"], "flink") as client:
        home = Path(client.settings.home)
        on_jetbridge.rolling(client, "numbers", WARM_UP_ITEMS, 100, interval).result()  # starts the cluster
        keeper = processes.keeper_of(home)
        with Cluster.lease(home, slots=1) as cluster:
            beam = Submitter(cluster, home, spec["parallelism"])

            def once(contender: str, source: str, items: int, keys: int) -> Run:
                if contender == "loop":
                    return _loop(items, keys)
                if contender == "jetbridge-flink":
                    return on_jetbridge.rolling(client, source, items, keys, interval)
                return beam.rolling(contender, items, keys, interval)

            turns = {
                title: Turn(
                    items,
                    partial(once, contender, source, items, keys),
                    partial(_checked, title, items=items, keys=keys),
                    on_cluster=contender != "loop",
                )
                for title, contender, source, items, keys in spec["runs"]
            }
            rows = in_turns(turns, spec["repeat"], keeper)
            for title, *_, keys in spec["runs"]:
                rows[title]["keys"] = keys
            beam.close()
    return {"end": time.monotonic(), "rows": rows}


def _loop(items: int, keys: int) -> Run:
    start = time.monotonic()
    result = in_loop.Contender({"keys": keys}).run(items)
    end = time.monotonic()
    return Run(items, start, start, end, end, result)


def _checked(title: str, seen: work.Seen, items: int, keys: int) -> str:
    """A fingerprint of what came out.

    Raises:
        AssertionError: When it is not what comes out of a plain loop: each running sum, or for Beam, which makes them
            in an order of its own, their number and each key's last one.
    """
    loop = in_loop.Contender({"keys": keys}).run(items)()
    same = (seen.count, seen.last) == (loop.count, loop.last)
    assert same, f"{title}: other sums than a plain loop's, {seen.count} of {items}"
    assert title.startswith("beam") or seen.total == loop.total, f"{title}: other running sums than a plain loop's"
    return seen.digest()
