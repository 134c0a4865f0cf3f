"""The query of the bids that win: Q9. A bid that a stream brings before its auction waits for it."""

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
            else:
                state.setdefault("waiting", []).append(event)
        if "auction" in state:
            self._offer(state, state.pop("waiting", []))
        return iter(())

    def _offer(self, state: dict[str, Any], bids: list[Bid]) -> None:
        auction = state["auction"]
        valid = [bid for bid in bids if auction.time <= bid.time < auction.expires and bid.price >= auction.reserve]
        if valid:
            state["best"] = max([*valid, state.get("best", valid[0])], key=lambda bid: (bid.price, -bid.time))

    def due(self, state: dict[str, Any], key: int) -> int:
        """When the auction ends, or when none is expected that the oldest bid that waits could be for."""
        return int(state["auction"].expires if "auction" in state else min(bid.time for bid in state["waiting"]) + 1)

    def on_watermark(self, state: dict[str, Any], key: int, watermark: int) -> Iterator[tuple[int, Won]]:
        """Give the winner, and forget the auction."""
        auction, best = state.pop("auction", None), state.pop("best", None)
        if waiting := [bid for bid in state.pop("waiting", []) if bid.time >= watermark]:
            state["waiting"] = waiting
        if best is not None:
            yield auction.expires, Won(auction, best)


def q9(events: GeneralStage) -> GeneralStage:
    """Winning bids: the highest bid of each auction that has ended, if it reaches the reserve."""
    of_auctions = events.filter(lambda event: isinstance(event, (Auction, Bid)))
    by_auction = of_auctions.group_by(lambda event: event.id if isinstance(event, Auction) else event.auction)
    return by_auction.custom(Winning).set_name("winning bids")
