"""Joins: prices looked up in a table, clicks with the ad shown before them, and both counted side by side."""

import jetbridge
from jetbridge import Pipeline, aggregations

SHOWN = [("ann", "shoes", 1_000), ("bob", "tea", 2_000), ("ann", "tea", 9_000)]
CLICKS = [("ann", 3_000), ("ann", 9_500), ("bob", 99_000)]
PRICES = {"shoes": 80, "tea": 4}

pipeline = Pipeline.create()
shown = pipeline.read_from(Pipeline.from_list("shown", SHOWN)).with_timestamps(lambda ad: ad[2])
clicks = pipeline.read_from(Pipeline.from_list("clicks", CLICKS)).with_timestamps(lambda click: click[1])
prices = pipeline.read_from(Pipeline.from_list("prices", PRICES.items()))

# The newest ad that a person had seen, at most ten seconds before the click.
ads, clicked = shown.group_by(lambda ad: ad[0]), clicks.group_by(lambda click: click[0])
seen = clicked.as_of_join(ads, tolerance=10_000, how="inner").map(lambda pair: pair[1][1])

# What it costs: a table is read to its end first.
priced = seen.hash_join(prices, lambda ad: ad[1], lambda ad, price: (*ad[:2], price))
priced.write_to(Pipeline.to_list("priced", clear=True))

# How many ads and clicks there were of each person.
counts = ads.aggregate2(aggregations.counting(), clicked, aggregations.counting())
counts.write_to(Pipeline.to_map("counts"))

with jetbridge.connect() as client:
    client.get_jet().submit(pipeline).join()
    print("clicked:", sorted(client.get_list("priced")))
    print("ads and clicks:", dict(sorted(client.get_map("counts").entry_set())))
