"""Windows of one step and of sixty: what it costs that they overlap."""

import time
from typing import Any

from contenders.jetbridge_pipeline import Range

from jetbridge import Client, Pipeline, aggregations, windows
from live import folder

SIZE, STEPS = 60_000, 60  # milliseconds
RATE = 10  # items for each millisecond
KEYS = 100
WINDOWS = {"tumbling": windows.tumbling(SIZE), "sliding": windows.sliding(SIZE, SIZE // STEPS)}
WARM_UP_ITEMS = 10_000


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Count by key in both kinds of windows, in turns.

    Args:
        spec: "items", "repeat", "runner" and "parallelism".

    Returns:
        "end", and "runs": for each kind of windows "seconds" (a list, from submit to COMPLETED) and "results".
    """
    items = spec["items"]
    runs: dict[str, dict[str, Any]] = {name: {"seconds": []} for name in WINDOWS}
    with folder.client(spec["parallelism"], spec["runner"]) as client:
        for name in WINDOWS:
            _count(client, name, WARM_UP_ITEMS)
        for _ in range(spec["repeat"]):
            for name, run in runs.items():
                start = time.monotonic()
                _count(client, name, items)
                run["seconds"].append(time.monotonic() - start)
                run["results"] = check(client, name, items)
    return {"end": time.monotonic(), "runs": runs}


def check(client: Client, name: str, items: int) -> int:
    """Whether the windows count each item as often as they should.

    Returns:
        How many results there are.

    Raises:
        AssertionError: When they do not.
    """
    results = client.get_list("counts").get_all()
    times = STEPS if name == "sliding" else 1
    if sum(result.value for result in results) != items * times:
        raise AssertionError(f"{name} windows do not hold each of {items} items {times} times")
    return len(results)


def _count(client: Client, name: str, items: int) -> None:
    pipeline = Pipeline.create()
    timed = pipeline.read_from(Range(items)).with_timestamps(_time)
    counts = timed.group_by(_key).window(WINDOWS[name]).aggregate(aggregations.counting())
    counts.write_to(Pipeline.to_list("counts", clear=True))
    client.get_jet().submit(pipeline).join(folder.PATIENCE)


def _time(number: int) -> int:
    return number // RATE


def _key(number: int) -> int:
    return number * 7919 % KEYS
