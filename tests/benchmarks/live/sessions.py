"""Session windows with more state than memory should hold: every key has a session open until the last item."""

import time
from typing import Any

from jetbridge import Client, Pipeline, StreamSource, windows
from live import folder, work

ROUNDS = 3  # how often each key comes before its session ends
INTERVAL = 1_000  # milliseconds between snapshots


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Work off a backlog: each epoch touches all shards, and no session ends before the last item.

    Args:
        spec: "keys" and "parallelism".

    Returns:
        "items", "seconds" (from submit to the last result) and "end", until which memory counts.
    """
    keys = spec["keys"]
    items = keys * ROUNDS
    with folder.client(spec["parallelism"]) as client:
        # The numbers are milliseconds too; the last one is behind the end of all sessions.
        folder.publish(client, "numbers", (*range(items), 2 * items + _gap(keys)))
        sink = client.get_list("sessions")
        start = time.monotonic()
        job = client.get_jet().submit(_pipeline(keys), folder.config("EXACTLY_ONCE", INTERVAL))
        folder.until(lambda: sink.size() >= keys or job.is_terminal())
        end = time.monotonic()
        job.cancel()
        check(client, keys)
    return {"end": end, "items": items, "seconds": end - start}


def check(client: Client, keys: int) -> None:
    """Whether every key has one session, with the sum of its numbers.

    Raises:
        AssertionError: When one has not.
    """
    key_of = work.key_of(keys)
    expected = dict.fromkeys(range(keys), 0)
    for number in range(keys * ROUNDS):
        expected[key_of(number)] += number
    found = [(result.key, result.value) for result in client.get_list("sessions")]
    if len(found) != keys or dict(found) != expected:
        raise AssertionError(f"{len(found)} sessions of {keys} keys, or wrong sums")


def _pipeline(keys: int) -> Pipeline:
    pipeline = Pipeline.create()
    timed = pipeline.read_from(StreamSource("numbers")).with_timestamps(_itself)
    grouped = timed.group_by(work.key_of(keys)).window(windows.session(_gap(keys)))
    sums = grouped.aggregate(accumulator=work.add, initial=0, combiner=work.add)
    sums.write_to(Pipeline.to_list("sessions"))
    return pipeline


def _gap(keys: int) -> int:
    return 2 * keys * ROUNDS


def _itself(number: int) -> int:
    return number
