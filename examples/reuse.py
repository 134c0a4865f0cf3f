"""A part of a pipeline as a function: `stage.apply` uses it again."""

import jetbridge
from jetbridge import BatchStage, Pipeline


def cleaned(stage: BatchStage) -> BatchStage:
    """Names without blanks around them, in one spelling, each of them once."""
    return stage.map(str.strip).filter(bool).map(str.title).distinct()


pipeline = Pipeline.create()
for name, values in {"cities": [" berlin", "Oslo", "oslo "], "rivers": ["rhine", "", "Rhine", "elbe"]}.items():
    source = pipeline.read_from(Pipeline.from_list(f"raw-{name}", values))
    source.apply(cleaned).sort().write_to(Pipeline.to_list(name, clear=True))

with jetbridge.connect() as client:
    client.get_jet().submit(pipeline).join()
    print("cities:", client.get_list("cities").get_all())
    print("rivers:", client.get_list("rivers").get_all())
