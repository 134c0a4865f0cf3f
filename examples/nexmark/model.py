"""What happens in an online auction house. Times are milliseconds, prices are cents."""

from typing import NamedTuple

from jetbridge import register_type


@register_type  # so that who reads results may have them back
class Person(NamedTuple):
    """Somebody who sells and bids."""

    id: int
    name: str
    city: str
    state: str
    time: int


@register_type
class Auction(NamedTuple):
    """Something that is sold until a time, if a bid reaches the reserve."""

    id: int
    seller: int
    category: int
    reserve: int
    time: int
    expires: int


@register_type
class Bid(NamedTuple):
    """What somebody offers."""

    auction: int
    bidder: int
    price: int
    time: int


Event = Person | Auction | Bid
