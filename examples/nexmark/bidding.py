"""Queries of bids in windows: Q5, Q7, Q11 and Q12, and a plain count."""

from filters import bids

from jetbridge import aggregations, windows
from jetbridge.stages import GeneralStage

SIZE, STEP, GAP = 10_000, 2_000, 1_000


def counts(events: GeneralStage) -> GeneralStage:
    """How many bids each auction got in ten seconds: not a query of Nexmark's, but the plainest of windows."""
    by_auction = bids(events).group_by(lambda bid: bid.auction)
    counted = by_auction.window(windows.tumbling(SIZE)).aggregate(aggregations.counting())
    return counted.map(lambda window: (window.start, window.key, window.value))


def q5(events: GeneralStage) -> GeneralStage:
    """Hot items: the auction with most bids in the last ten seconds, every two; of several the one with the lowest id.

    The counts of a window all have the time of its last millisecond, so the next window holds just these.
    """
    by_auction = bids(events).group_by(lambda bid: bid.auction)
    counted = by_auction.window(windows.sliding(SIZE, STEP)).aggregate(aggregations.counting())
    hottest = aggregations.max_by(lambda window: (window.value, -window.key))
    best: GeneralStage = counted.window(windows.tumbling(STEP)).aggregate(hottest)
    return best.map(lambda window: (window.value.start, window.value.key, window.value.value))


def q7(events: GeneralStage) -> GeneralStage:
    """Highest bid: that of each ten seconds; of several the first."""
    highest = aggregations.max_by(lambda bid: (bid.price, -bid.time))
    best: GeneralStage = bids(events).window(windows.tumbling(SIZE)).aggregate(highest)
    return best.map(lambda window: (window.start, *window.value))


def q11(events: GeneralStage) -> GeneralStage:
    """User sessions: how many bids a person made before being silent for a second."""
    by_bidder = bids(events).group_by(lambda bid: bid.bidder)
    sessions = by_bidder.window(windows.session(GAP)).aggregate(aggregations.counting())
    return sessions.map(lambda session: (session.key, session.start, session.value))


def q12(events: GeneralStage) -> GeneralStage:
    """Bids of a person in ten seconds of the clock: the times of the events do not count, so each run differs."""
    by_bidder = bids(events).without_timestamps().with_ingestion_timestamps().group_by(lambda bid: bid.bidder)
    counted = by_bidder.window(windows.tumbling(SIZE)).aggregate(aggregations.counting())
    return counted.map(lambda window: (window.key, window.value))
