"""Orders in a ringbuffer of a Hazelcast cluster, and their totals in one of its maps, exactly once."""

import operator
import time

import jetbridge.hazelcast  # first: it makes the next imports work
from jetbridge.hazelcast_members import Member

# isort: split
from hazelcast import HazelcastClient
from hazelcast.jet.job import JobConfig, ProcessingGuarantee
from hazelcast.jet.pipeline import Pipeline, StreamSource


def main() -> None:
    """Start a cluster for trying out, and a job that adds up what is ordered."""
    with Member() as member:
        client = HazelcastClient(cluster_members=[member.address])
        totals = client.get_map("totals")

        pipeline = Pipeline.create()
        orders = pipeline.read_from(StreamSource("orders")).map(lambda order: (order["item"], order["amount"]))
        orders.write_to(jetbridge.sinks.hazelcast_map("totals", merge=operator.add))
        config = JobConfig(name="totals", processing_guarantee=ProcessingGuarantee.EXACTLY_ONCE)
        job = client.get_jet().submit(pipeline, config)

        for item, amount in [("tea", 2), ("cup", 1), ("tea", 3)]:
            client.get_ringbuffer("orders").add({"item": item, "amount": amount}).result()
        while sum(totals.values().result()) < 6:
            time.sleep(0.05)
        print(sorted(totals.entry_set().result()))

        job.cancel()
        client.shutdown()


if __name__ == "__main__":
    main()
