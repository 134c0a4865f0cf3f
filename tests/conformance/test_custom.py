"""Kernels of the user's own, by the base class ``jetbridge.CustomKernel``."""

from __future__ import annotations

import pytest

from jetbridge import (
    CustomKernel,
    JobConfig,
    JobFailedError,
    Pipeline,
    PipelineError,
    ProcessingGuarantee,
    StreamSource,
    aggregations,
    windows,
)
from jetbridge.custom_conformance import check_kernel


class Payments(CustomKernel):
    """The pairs of an order and its payment, and the orders that were not paid within a minute."""

    gives_times = True
    drops_late = True

    def process(self, state, key, items, times):
        for item, time in zip(items, times, strict=True):
            if "order" in state and time > state["at"] + 60_000:
                yield from self.on_watermark(state, key, time)
            if item["kind"] == "order":
                state["order"], state["at"] = item["at"], time
            elif "order" in state:
                yield time, (key, state.pop("order"), item["at"])
                del state["at"]

    def due(self, state, key):
        return state["at"] + 60_001 if "order" in state else None

    def on_watermark(self, state, key, watermark):
        yield state.pop("at") + 60_000, (key, state.pop("order"), None)


def event(who, kind, at):
    return {"who": who, "kind": kind, "at": at}


EVENTS = [
    *(event("a", "order", 0), event("b", "order", 1_000), event("a", "payment", 30_000)),
    *(event("b", "payment", 70_000), event("c", "order", 80_000), event("c", "payment", 140_000)),
    event("a", "order", 150_000),
]
EXPECTED = [("a", 0, 30_000), ("b", 1_000, None), ("c", 80_000, 140_000), ("a", 150_000, None)]


def paid(stage):
    timed = stage.with_timestamps(lambda event: event["at"])
    return timed.group_by(lambda event: event["who"]).custom(Payments)


def test_the_check_passes_it():
    found = check_kernel(Payments, EVENTS, lambda event: event["who"], lambda event: event["at"])
    assert found["b"] == [(61_000, ("b", 1_000, None))]


def test_a_batch(jet, bag):
    assert bag(jet.collect(EVENTS, paid)) == bag(EXPECTED)


def test_the_times_of_its_results(jet):
    results = jet.collect(EVENTS, lambda s: paid(s).window(windows.tumbling(60_000)).aggregate(aggregations.to_list()))
    found = {window.start: sorted(map(repr, window.value)) for window in results}
    assert found == {
        0: [repr(EXPECTED[0])],
        60_000: [repr(EXPECTED[1])],
        120_000: [repr(EXPECTED[2])],
        180_000: [repr(EXPECTED[3])],
    }


def test_a_stream_is_told_of_the_watermark_and_goes_on_after_suspend_and_resume(jet, until, bag):
    stream, results, late = jet.client.get_stream(jet.name("stream")), jet.list(), jet.list()
    pipeline = Pipeline.create()
    stage = paid(pipeline.read_from(StreamSource(stream.name)))
    stage.write_to(Pipeline.to_list(results.name))
    stage.late_items().write_to(Pipeline.to_list(late.name))
    job = jet.submit(
        pipeline, JobConfig(processing_guarantee=ProcessingGuarantee.EXACTLY_ONCE, snapshot_interval_millis=500)
    )
    stream.publish_all(EVENTS[:3])
    until(lambda: results.size() == 1)
    job.suspend()
    job.resume()
    stream.publish_all([event("x", "payment", 61_001), event("b", "payment", 60_999)])
    until(lambda: results.size() == 2)
    until(lambda: late.size() == 1)
    assert late.get_all() == [event("b", "payment", 60_999)]
    stream.publish_all(EVENTS[3:6])
    until(lambda: results.size() == 3)
    assert bag(results.get_all()) == bag(EXPECTED[:3])


class Totals(CustomKernel):
    """The sum so far of each item, and that of all at the end."""

    def __init__(self, start=0):
        self.start = start

    def create(self):
        return {"total": self.start}

    def process(self, state, key, items, times):
        for item in items:
            state["total"] += 1 // item
            yield key, state["total"]

    def on_end(self, state, key):
        return [("end", state["total"])]


@pytest.mark.parametrize("shards", [1, 128])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_the_whole_stage_and_a_factory_with_arguments(jet):
    found = jet.collect([1] * 9_000, lambda s: s.custom(lambda: Totals(10)))
    assert found == [*((None, 10 + n) for n in range(1, 9_001)), ("end", 9_010)]


def test_a_kernel_that_raises_is_named(jet):
    pipeline = Pipeline.create()
    stage = pipeline.read_from(Pipeline.from_list("n", [0])).custom(Totals).set_name("totals")
    stage.write_to(Pipeline.to_list(jet.list().name))
    with pytest.raises(JobFailedError, match="custom 'totals' failed on item 0: ZeroDivisionError"):
        jet.run(pipeline)


def test_items_that_fail_are_left_out(jet):
    found = jet.collect([1, 0, 1], lambda s: s.custom(Totals).on_error("skip"))
    assert found == [(None, 1), (None, 2), ("end", 2)]


def test_what_makes_no_kernel_is_refused(says):
    stage = Pipeline.create().read_from(Pipeline.from_list("n", [1]))
    for bad, part in ((Totals(), "callable"), (dict, "CustomKernel"), (lambda: 1 // 0, "ZeroDivisionError")):
        with pytest.raises(PipelineError) as caught:
            stage.custom(bad)
        says(caught, "custom", "kernel_factory", part)
