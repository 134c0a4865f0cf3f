"""The events of an online auction house, as the Nexmark benchmark describes them, the same for a seed.

Of 50 events one is a new person, three are new auctions, and the rest are bids.
Half of the bids go to an auction that is hot at the time, and half of the auctions
are of a hot seller. Times are milliseconds, ten between two events.
"""

import random
from collections.abc import Iterator

from model import Auction, Bid, Event, Person

FIRST, GAP = 1_000, 10
CATEGORIES = range(10, 15)
STATES = ["AZ", "CA", "ID", "OR", "WA", "WY"]
CITIES = ["Phoenix", "Los Angeles", "Boise", "Portland", "Seattle", "Cheyenne"]
NAMES = ["Ann", "Bob", "Cid", "Dee", "Eve", "Fay", "Gil", "Hal"]


def events(count: int, seed: int = 7) -> Iterator[Event]:
    """The first events of a seed, in the order of their times."""
    chance = random.Random(seed)
    for number in range(count):
        block, place = divmod(number, 50)
        time = number * GAP
        people, auctions = FIRST + block, FIRST + 3 * block + min(place, 4) - 2  # the newest of each
        if place == 0:
            home = chance.randrange(len(STATES))
            yield Person(people, chance.choice(NAMES), CITIES[home], STATES[home], time)
        elif place <= 3:
            seller = _hot(chance, people, 20)
            reserve, expires = _price(chance) // 4, time + chance.randrange(500, 10_000)
            yield Auction(auctions + 1, seller, chance.choice(CATEGORIES), reserve, time, expires)
        else:
            yield Bid(_hot(chance, auctions, 30), _hot(chance, people, 50), _price(chance), time)


def _hot(chance: random.Random, newest: int, recent: int) -> int:
    """Half of the times one that is hot for a while, else any of the recent ones."""
    if chance.random() < 0.5:
        return max(FIRST, newest // 10 * 10)
    return chance.randrange(max(FIRST, newest - recent), newest + 1)


def _price(chance: random.Random) -> int:
    return round(100 * 10 ** (6 * chance.random()))
