"""Fan-out and merge: one stage feeds several others, and several stages feed one."""

import jetbridge
from jetbridge import Pipeline

pipeline = Pipeline.create()
spring = pipeline.read_from(Pipeline.from_list("spring", [("tea", 120), ("coffee", 80), ("tea", 60)]))
autumn = pipeline.read_from(Pipeline.from_list("autumn", [("coffee", 200), ("cocoa", 90)]))
sales = spring.merge(autumn)

# Each use of a stage gets all of its items, and the sources are read only once.
totals = sales.group_by(lambda sale: sale[0]).aggregate(
    accumulator=lambda total, sale: total + sale[1],
    initial=0,
)
totals.write_to(Pipeline.to_map("totals"))
sales.filter(lambda sale: sale[1] >= 100).write_to(Pipeline.to_list("large", clear=True))
sales.map(lambda sale: sale[1]).aggregate(lambda most, amount: max(most, amount), initial=0).write_to(
    Pipeline.to_list("largest", clear=True)
)

with jetbridge.connect() as client:
    client.get_jet().submit(pipeline).join()
    print("totals: ", dict(sorted(client.get_map("totals").entry_set())))
    print("large:  ", sorted(client.get_list("large")))
    print("largest:", client.get_list("largest")[0])
    print(pipeline.to_mermaid())
