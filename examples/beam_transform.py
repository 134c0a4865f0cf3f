"""Any Beam PTransform within a pipeline: here Beam's own estimate of quantiles."""

import apache_beam as beam

import jetbridge
from jetbridge import Pipeline

pipeline = Pipeline.create()
(
    pipeline.read_from(Pipeline.from_list("seconds", [float(n % 97) for n in range(10_000)]))
    .apply_beam(beam.ApproximateQuantiles.Globally(num_quantiles=5))
    .write_to(Pipeline.to_list("quartiles", clear=True))
)

with jetbridge.connect() as client:
    client.get_jet().submit(pipeline).join()
    print("min, quartiles, max:", client.get_list("quartiles")[0])
