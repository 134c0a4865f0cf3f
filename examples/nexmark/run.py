"""Runs a query of the Nexmark benchmark on generated events, and prints some of its results.

python examples/nexmark/run.py --query 5 --events 100000
JETBRIDGE_RUNNER=flink python examples/nexmark/run.py --query 8
"""

import argparse
import time

from bidding import counts, q5, q7, q11, q12
from events import events
from filters import q0, q1, q2, q10
from people import q3, q8
from prices import q4, q6
from winners import q9

import jetbridge
from jetbridge import Pipeline, sinks

QUERIES = {
    **{"0": q0, "1": q1, "2": q2, "3": q3, "4": q4, "5": q5, "6": q6, "7": q7, "8": q8, "9": q9, "10": q10},
    **{"11": q11, "12": q12, "counts": counts},
}


def pipeline_of(query: str, count: int, seed: int = 7) -> Pipeline:
    """The pipeline of a query: its results go to a list, and the events of the tenth to a file as well."""
    pipeline = Pipeline.create()
    source = pipeline.read_from(Pipeline.from_list("events", list(events(count, seed))))
    results = QUERIES[query](source.with_timestamps(lambda event: event.time))
    results.write_to(Pipeline.to_list(f"nexmark-{query}", clear=True))
    if query == "10":
        results.write_to(sinks.json_lines("nexmark.jsonl", overwrite=True))
    return pipeline


def main() -> None:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--query", choices=QUERIES, default="5")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    pipeline = pipeline_of(given.query, given.events, given.seed)
    with jetbridge.connect() as client:
        start = time.perf_counter()
        client.get_jet().submit(pipeline).join()
        results = client.get_list(f"nexmark-{given.query}")
        print(f"Q{given.query}: {len(results):,} results in {time.perf_counter() - start:.1f} s, such as")
        for result in results[:5]:
            print(" ", result)


if __name__ == "__main__":
    main()
