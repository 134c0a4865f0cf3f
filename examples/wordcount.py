"""Word count: the ten most frequent words of a text file.

Usage: python examples/wordcount.py [file or glob]
"""

import re
import sys
from pathlib import Path

import jetbridge
from jetbridge import Pipeline, aggregations, sources

text = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "LICENSE"

pipeline = Pipeline.create()
(
    pipeline.read_from(sources.text(text))
    .flat_map(lambda line: re.findall(r"[a-z]+", line.lower()))
    .group_by(lambda word: word)
    .aggregate(aggregations.counting())
    .sort(key_fn=lambda pair: (-pair[1], pair[0]))
    .write_to(Pipeline.to_list("words", clear=True))
)

with jetbridge.connect() as client:
    client.get_jet().submit(pipeline).join()
    for word, count in client.get_list("words")[:10]:
        print(f"{count:6} {word}")
