"""The smallest pipeline: a list in, a list out."""

import jetbridge
from jetbridge import Pipeline

with jetbridge.connect() as client:
    pipeline = Pipeline.create()
    numbers = Pipeline.from_list("numbers", [1, 2, 3, 4, 5])
    results = Pipeline.to_list("results", clear=True)

    pipeline.read_from(numbers).map(lambda x: x * 2).filter(lambda x: x > 4).write_to(results)

    client.get_jet().submit(pipeline).join()
    print(client.get_list("results").get_all())
