"""A kernel of one's own, for what no other stage does: items in the order of their times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jetbridge
from jetbridge import CustomKernel, Pipeline
from jetbridge.custom_conformance import check_kernel

if TYPE_CHECKING:
    from collections.abc import Iterable


class InOrder(CustomKernel):
    """Holds items until the watermark has passed them, as none before it comes any more."""

    gives_times = True
    drops_late = True

    def process(self, state: dict[Any, Any], key: Any, items: list[Any], times: list[int] | None) -> Iterable[Any]:
        """Hold items."""
        state.setdefault("held", []).extend(zip(times or (), items, strict=True))
        return ()

    def due(self, state: dict[Any, Any], key: Any) -> int | None:
        """Right behind the first of them."""
        return min(time for time, _ in state["held"]) + 1 if state else None

    def on_watermark(self, state: dict[Any, Any], key: Any, watermark: int) -> Iterable[Any]:
        """Give those before the watermark, and hold the rest."""
        held = sorted(state.pop("held"), key=lambda pair: pair[0])
        rest = [pair for pair in held if pair[0] >= watermark]
        if rest:
            state["held"] = rest
        return held[: len(held) - len(rest)]


readings = [("kitchen", 3, 21.5), ("kitchen", 1, 21.0), ("cellar", 2, 9.5), ("kitchen", 2, 21.2), ("cellar", 1, 9.4)]
found = check_kernel(InOrder, readings, key_fn=lambda item: item[0], time_fn=lambda item: item[1])
print("checked:", [time for time, _ in found["kitchen"]])

pipeline = Pipeline.create()
timed = pipeline.read_from(Pipeline.from_list("readings", readings)).with_timestamps(lambda item: item[1])
timed.group_by(lambda item: item[0]).custom(InOrder).write_to(Pipeline.to_list("ordered", clear=True))

with jetbridge.connect() as client:
    client.get_jet().submit(pipeline).join()
    for sensor in ("cellar", "kitchen"):
        print(f"{sensor}:", [value for name, _, value in client.get_list("ordered") if name == sensor])
