"""One contender's run through a backlog of numbers."""

import importlib
import time
from typing import Any

WARM_UP_ITEMS = 1_000


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Warm up, work off the backlog with the clock on, and say what came out.

    Args:
        spec: "contender": a module of this package, "items", "keys", "interval" (milliseconds between snapshots)
            and "parallelism".
    """
    contender = importlib.import_module(f"live.{spec['contender']}").Contender(spec)
    try:
        # Start-up is excluded for all alike: everything is imported, connected and has run once.
        contender.prepare(WARM_UP_ITEMS)
        contender.run(WARM_UP_ITEMS)()
        contender.prepare(spec["items"])
        start = time.monotonic()
        result = contender.run(spec["items"])
        end = time.monotonic()
        return {"start": start, "end": end, "items": spec["items"], "digest": result().digest()}
    finally:
        contender.close()
