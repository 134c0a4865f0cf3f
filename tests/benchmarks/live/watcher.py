"""Watches a job's sink, and notes for each item when it was first to be seen there: started by latency.py."""

import json
import sys
import time

import jetbridge

POLL = 0.002  # seconds
PATIENCE = 60.0  # seconds without anything new


def main() -> None:
    """Watch until all items are there, and print their delays in seconds."""
    spec = json.loads(sys.argv[1])
    delays = []
    numbers = bytearray(spec["items"])
    with jetbridge.connect(home=spec["home"]) as client:
        sink = client.get_list("sink")
        sink.size()  # opens what there is to be opened
        print("ready", flush=True)
        sys.stdin.readline()
        seen, changed = spec["skip"], time.monotonic()
        while seen < spec["items"] + spec["skip"]:
            size, now = sink.size(), time.monotonic()
            if size == seen:
                if now > changed + PATIENCE:
                    raise TimeoutError(f"nothing new in the sink after {seen} items")
                time.sleep(POLL)
                continue
            for number, published in sink[seen:size]:
                delays.append(now - published)
                numbers[number] += 1
            seen, changed = size, now
    if numbers != b"\1" * spec["items"]:
        raise AssertionError("some items are missing in the sink, or there twice")
    print(json.dumps({"delays": delays}))


if __name__ == "__main__":
    main()
