"""Publishes items at a steady rate, by the clock: started by latency.py.

An item is its number and the moment of its publish, on the clock that all
processes of a machine share (time.monotonic).
"""

import json
import sys
import time

import jetbridge

TICK = 0.01  # seconds; what is due in one is published together


def main() -> None:
    """Publish, and say how long it took."""
    spec = json.loads(sys.argv[1])
    items, rate = spec["items"], spec["rate"]
    with jetbridge.connect(home=spec["home"]) as client:
        stream = client.get_stream("items")
        stream.size()  # opens what there is to be opened
        print("ready", flush=True)
        sys.stdin.readline()
        start = time.monotonic()
        done = tick = 0
        while done < items:
            time.sleep(max(0.0, start + tick * TICK - time.monotonic()))
            now = time.monotonic()
            due = min(items, int((now - start) * rate) + 1)
            stream.publish_all([(number, now) for number in range(done, due)])
            done = max(done, due)
            tick = int((time.monotonic() - start) / TICK) + 1
        print(json.dumps({"seconds": time.monotonic() - start}))


if __name__ == "__main__":
    main()
