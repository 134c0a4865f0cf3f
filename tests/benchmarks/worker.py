"""One contender's run of one job, in a process of its own: started by launch.py, not by hand.

The first argument is the specification as JSON; what was measured is written
as JSON to the file that it names.
"""

import importlib
import json
import sys
import time
from pathlib import Path

from jobs import JOBS, Case, count_items, digest

WARM_UP_ITEMS = 1_000


def main() -> None:
    """Warm up, run the job with the clock on, and say what came out."""
    spec = json.loads(sys.argv[1])
    job = JOBS[spec["job"]]
    case = Case(spec["items"], spec["text"], spec["parallelism"])
    contender = importlib.import_module(spec["module"]).Contender(case.parallelism)
    # Start-up is excluded for all alike: everything is imported, connected and has run once.
    contender.run(job.letter, Case(WARM_UP_ITEMS, spec["warm_up_text"], case.parallelism))()
    start = time.monotonic()
    collect = contender.run(job.letter, case)
    end = time.monotonic()
    result = collect()
    measured = {
        "start": start,
        "end": end,
        "items": count_items(job, case, result),
        "digest": digest(job, result),
    }
    Path(spec["out"]).write_text(json.dumps(measured))
    contender.close()


if __name__ == "__main__":
    main()
