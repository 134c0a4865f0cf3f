"""From publish to sink: one process publishes at a steady rate, the job works, another process watches the sink."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jetbridge import Pipeline, StreamSource
from live import folder

HERE = Path(__file__).parent
WARM_UP_ITEMS = 1_000


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Run a job while items arrive.

    Args:
        spec: "kind": map or rolling, "guarantee", "interval" (milliseconds between snapshots), "rate" (items per
            second), "seconds", "keys" (of the rolling aggregate) and "parallelism".

    Returns:
        "median", "p99", "most" (seconds) and "rate" (what was really published each second).
    """
    items = int(spec["rate"] * spec["seconds"])
    with folder.client(spec["parallelism"], spec.get("runner", "direct")) as client:
        job = client.get_jet().submit(
            _pipeline(spec["kind"], spec["keys"]), folder.config(spec["guarantee"], spec["interval"])
        )
        warm_up = [(number - WARM_UP_ITEMS, 0.0) for number in range(WARM_UP_ITEMS)]
        folder.publish(client, "items", warm_up)
        folder.until(lambda: client.get_list("sink").size() >= WARM_UP_ITEMS)
        common = {"home": str(client.settings.home), "items": items, "rate": spec["rate"], "skip": WARM_UP_ITEMS}
        published, watched = _side_by_side(("publisher.py", "watcher.py"), common)
        end = time.monotonic()
        job.cancel()
    delays = sorted(watched["delays"])
    return {
        "end": end,
        "items": len(delays),
        "rate": items / published["seconds"],
        "median": statistics.median(delays),
        "p99": delays[int(len(delays) * 0.99)],
        "most": delays[-1],
    }


def _side_by_side(scripts: Sequence[str], spec: dict[str, Any]) -> list[dict[str, Any]]:
    """What scripts print that run at the same time, and begin when all of them are ready."""
    arguments = json.dumps(spec)
    with ExitStack() as stack:
        processes = []
        for script in scripts:
            process = subprocess.Popen(
                [sys.executable, HERE / script, arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.enter_context(process)
            stack.callback(process.kill)  # of one that has ended it does nothing
            processes.append(process)
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("begin\n")
            process.stdin.flush()
        return [json.loads(process.communicate(timeout=folder.PATIENCE)[0]) for process in processes]


def _pipeline(kind: str, keys: int) -> Pipeline:
    pipeline = Pipeline.create()
    stage = pipeline.read_from(StreamSource("items"))
    if kind == "map":
        stage = stage.map(_passed_on)
    else:
        stage = (
            stage.group_by(lambda item: item[0] % keys).rolling_aggregate(accumulator=_newest, initial=None).map(_value)
        )
    stage.write_to(Pipeline.to_list("sink"))
    return pipeline


def _passed_on(item: tuple[int, float]) -> tuple[int, float]:
    return item


def _newest(_: Any, item: tuple[int, float]) -> tuple[int, float]:
    return item


def _value(pair: tuple[int, tuple[int, float]]) -> tuple[int, float]:
    return pair[1]
