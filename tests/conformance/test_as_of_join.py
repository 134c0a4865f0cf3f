"""as_of_join: each item with the newest one of another stage at its time."""

from __future__ import annotations

import pytest

from jetbridge import JobConfig, Pipeline, ProcessingGuarantee, StreamSource

TRADES = [(n % 4, n * 7) for n in range(300)]
QUOTES = [(n % 5, n * 11) for n in range(150)]


def grouped(stage):
    return stage.with_timestamps(lambda pair: pair[1]).group_by(lambda pair: pair[0])


def naive(trades, quotes, tolerance, how):
    found = []
    for trade in trades:
        mine = [q for q in quotes if q[0] == trade[0] and 0 <= trade[1] - q[1] <= (tolerance or 10**9)]
        if mine or how == "left":
            found.append((trade[0], (trade, max(mine, key=lambda quote: quote[1], default=None))))
    return found


@pytest.mark.parametrize("how", ["left", "inner"])
@pytest.mark.parametrize("tolerance", [None, 60])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_batches(jet, bag, tolerance, how):
    pipeline, results = Pipeline.create(), jet.list()
    trades, quotes = (
        grouped(pipeline.read_from(Pipeline.from_list(*each))) for each in (("trades", TRADES), ("quotes", QUOTES))
    )
    trades.as_of_join(quotes, tolerance, how).write_to(Pipeline.to_list(results.name))
    jet.run(pipeline)
    assert bag(results.get_all()) == bag(naive(TRADES, QUOTES, tolerance, how))


def test_nothing_on_one_side(jet, bag):
    pipeline, results = Pipeline.create(), jet.list()
    trades, quotes = (
        grouped(pipeline.read_from(Pipeline.from_list(*each))) for each in (("trades", TRADES), ("quotes", []))
    )
    trades.as_of_join(quotes).write_to(Pipeline.to_list(results.name))
    jet.run(pipeline)
    assert bag(results.get_all()) == bag([(trade[0], (trade, None)) for trade in TRADES])


def test_a_stream_waits_for_both_watermarks(jet, until):
    names, results, late = [jet.name("trades"), jet.name("quotes")], jet.list(), jet.list()
    pipeline = Pipeline.create()
    trades, quotes = (grouped(pipeline.read_from(StreamSource(name))) for name in names)
    joined = trades.as_of_join(quotes)
    joined.write_to(Pipeline.to_list(results.name))
    joined.late_items().write_to(Pipeline.to_list(late.name))
    config = JobConfig(processing_guarantee=ProcessingGuarantee.EXACTLY_ONCE, snapshot_interval_millis=500)
    jet.submit(pipeline, config)
    left, right = (jet.client.get_stream(name) for name in names)
    left.publish_all([("a", 10), ("a", 20), ("b", 20), ("a", 30), ("a", 15)])
    right.publish_all([("a", 5)])
    until(lambda: late.get_all() == [("a", 15)])
    right.publish_all([("a", 18), ("a", 20), ("a", 25)])
    until(lambda: results.size() >= 3)
    expected = [("a", (("a", 10), ("a", 5))), ("a", (("a", 20), ("a", 20))), ("b", (("b", 20), None))]
    assert sorted(results.get_all()) == expected
