"""Queries that bring persons and their auctions together: Q3 and Q8."""

from typing import Any

from filters import people
from model import Auction, Person

from jetbridge import windows
from jetbridge.stages import GeneralStage

NEAR = {"CA", "ID", "OR"}
CATEGORY, WINDOW = 10, 10_000


def auctions(events: GeneralStage) -> GeneralStage:
    """The auctions among the events."""
    return events.filter(lambda event: isinstance(event, Auction))


def met(state: dict[str, Any], key: int, event: Person | Auction) -> list[tuple[str, str, str, int]]:
    """A person and that person's auctions, whichever came first: what waits is in the state."""
    if isinstance(event, Person):
        state["person"] = event
        return [found(event, auction) for auction in state.pop("waiting", [])]
    if "person" in state:
        return [found(state["person"], event)]
    state.setdefault("waiting", []).append(event)
    return []


def found(person: Person, auction: Auction) -> tuple[str, str, str, int]:
    return person.name, person.city, person.state, auction.id


def q3(events: GeneralStage) -> GeneralStage:
    """Local items: who sells in one category in three states. A join without an end: persons are kept for ever."""
    near = people(events).filter(lambda person: person.state in NEAR)
    items = auctions(events).filter(lambda auction: auction.category == CATEGORY)
    both = near.merge(items).group_by(lambda event: event.id if isinstance(event, Person) else event.seller)
    return both.flat_map_stateful(dict, met)


def q8(events: GeneralStage) -> GeneralStage:
    """New users: persons who opened an auction in the window of ten seconds in which they came."""
    came = people(events).group_by(lambda person: person.id)
    opened = auctions(events).group_by(lambda auction: auction.seller)
    pairs = came.join_window(opened, windows.tumbling(WINDOW))
    return pairs.map(lambda pair: (pair.start, pair.key, pair.value[0].name, pair.value[1].id))
