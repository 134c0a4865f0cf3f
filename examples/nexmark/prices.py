"""Queries of what winning bids come to: Q4 and Q6."""

from winners import Won, q9

from jetbridge import aggregations
from jetbridge.stages import GeneralStage

LAST = 10


def q4(events: GeneralStage) -> GeneralStage:
    """Average price for a category: the average of all winning bids so far, after each of them."""
    by_category = q9(events).group_by(lambda won: won.auction.category)
    return by_category.rolling_aggregate(aggregations.averaging(lambda won: won.bid.price))


def of_last(newest: list[tuple[int, int, int]], seller: int, won: Won) -> tuple[int, float]:
    """A seller with the average price of the ten newest sales, by the time at which the auctions ended."""
    newest.append((won.auction.expires, won.auction.id, won.bid.price))
    newest.sort()
    del newest[:-LAST]
    return seller, sum(price for _, _, price in newest) / len(newest)


def q6(events: GeneralStage) -> GeneralStage:
    """Average selling price by seller, of the last ten auctions that ended."""
    return q9(events).group_by(lambda won: won.auction.seller).map_stateful(list, of_last)
