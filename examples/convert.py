"""Files to files: JSON lines in, Parquet out.

Usage: python examples/convert.py [glob of JSON lines files] [file.parquet]
"""

import json
import sys
from pathlib import Path

import jetbridge
from jetbridge import Pipeline, sinks, sources

if len(sys.argv) > 1:
    inputs = sys.argv[1]
else:
    inputs = "readings.jsonl"
    readings = [{"sensor": f"s{n % 3}", "celsius": 20 + n % 7} for n in range(1_000)]
    Path(inputs).write_text("".join(json.dumps(reading) + "\n" for reading in readings))
output = sys.argv[2] if len(sys.argv) > 2 else "readings.parquet"

pipeline = Pipeline.create()
(
    pipeline.read_from(sources.json_lines(inputs))
    .map(lambda reading: {**reading, "fahrenheit": reading["celsius"] * 9 / 5 + 32})
    .write_to(sinks.parquet(output, overwrite=True))
)

with jetbridge.connect() as client:
    job = client.get_jet().submit(pipeline)
    job.join()
    print(f"{job.get_metrics().emitted_count:,} rows in {output}")
