"""Queries of single events: Q0, Q1, Q2 and Q10."""

from model import Bid, Person

from jetbridge.stages import GeneralStage


def bids(events: GeneralStage) -> GeneralStage:
    """The bids among the events."""
    return events.filter(lambda event: isinstance(event, Bid))


def q0(events: GeneralStage) -> GeneralStage:
    """Pass through: every event as it is, which shows what the rest costs."""
    return events.map(lambda event: event)


def q1(events: GeneralStage) -> GeneralStage:
    """Currency: the price of each bid in euros, at 0.89 for a dollar, in whole cents."""
    return bids(events).map(lambda bid: bid._replace(price=bid.price * 89 // 100))


def q2(events: GeneralStage) -> GeneralStage:
    """Selection: the bids for some auctions."""
    return bids(events).filter(lambda bid: bid.auction % 123 == 0).map(lambda bid: (bid.auction, bid.price))


def q10(events: GeneralStage) -> GeneralStage:
    """Log: all events as rows for a file. `run` writes them with `jetbridge.sinks.json_lines`."""
    return events.map(lambda event: {"kind": type(event).__name__, **event._asdict()})


def people(events: GeneralStage) -> GeneralStage:
    """The persons among the events."""
    return events.filter(lambda event: isinstance(event, Person))
