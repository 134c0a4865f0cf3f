"""State of one's own: the visits to a site, each until its visitor has done nothing for half an hour."""

from __future__ import annotations

from typing import Any

import jetbridge
from jetbridge import Pipeline

MINUTE = 60_000
CLICKS = [
    *(("anna", 0, "/"), ("anna", 2, "/tea"), ("ben", 5, "/"), ("anna", 20, "/cart"), ("ben", 33, "/tea")),
    *(("anna", 55, "/"), ("ben", 90, "/"), ("anna", 56, "/coffee")),
]


def click(visit: list[str], visitor: str, item: tuple[str, int, str]) -> list[Any]:
    """Nothing yet: the page is only remembered."""
    visit.append(item[2])
    return []


def over(visit: list[str], visitor: str, time: int) -> list[Any]:
    """The visit, when nothing was clicked for so long."""
    return [(time // MINUTE, visitor, " ".join(visit))]


pipeline = Pipeline.create()
clicks = pipeline.read_from(Pipeline.from_list("clicks", CLICKS)).with_timestamps(lambda item: item[1] * MINUTE)
visits = clicks.group_by(lambda item: item[0]).flat_map_stateful(list, click, ttl=30 * MINUTE, on_evict=over)
visits.sort().write_to(Pipeline.to_list("visits", clear=True))

with jetbridge.connect() as client:
    client.get_jet().submit(pipeline).join()
    for time, visitor, pages in client.get_list("visits"):
        print(f"{visitor} until minute {time}: {pages}")
