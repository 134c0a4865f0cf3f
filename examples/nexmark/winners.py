"""The query of the bids that win: Q9."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from model import Auction, Bid

from jetbridge import CustomKernel, register_type
from jetbridge.stages import GeneralStage


@register_type
class Won(NamedTuple):
    """An auction with the bid that won it."""

    auction: Auction
    bid: Bid


class Winning(CustomKernel):
    """Gives the bid that wins an auction when event time reaches its end; the first one of the highest."""

    gives_times = True

    def process(self, state: dict[str, Any], key: int, items: Any, times: Any) -> Iterator[tuple[int, Any]]:
        """Keep the best bid so far."""
        for event in items:
            if isinstance(event, Auction):
                state["auction"] = event
            elif "auction" in state and state["auction"].reserve <= event.price and self.beats(state, event):
                state["best"] = event
        return iter(())

    def beats(self, state: dict[str, Any], bid: Bid) -> bool:
        """Whether a bid is in time, and better than the best one."""
        best = state.get("best")
        return bid.time < state["auction"].expires and (
            best is None or (bid.price, -bid.time) > (best.price, -best.time)
        )

    def due(self, state: dict[str, Any], key: int) -> int | None:
        """When the auction ends."""
        return state["auction"].expires if "auction" in state else None

    def on_watermark(self, state: dict[str, Any], key: int, watermark: int) -> Iterator[tuple[int, Won]]:
        """Give the winner, and forget the auction."""
        auction, best = state.pop("auction"), state.pop("best", None)
        if best is not None:
            yield auction.expires, Won(auction, best)


def q9(events: GeneralStage) -> GeneralStage:
    """Winning bids: the highest bid of each auction that has ended, if it reaches the reserve."""
    of_auctions = events.filter(lambda event: isinstance(event, (Auction, Bid)))
    by_auction = of_auctions.group_by(lambda event: event.id if isinstance(event, Auction) else event.auction)
    return by_auction.custom(Winning).set_name("winning bids")
