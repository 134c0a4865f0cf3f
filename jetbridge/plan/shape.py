"""Plan nodes about where work is done, not what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jetbridge.plan.keyed import KeyedNode


@dataclass(frozen=True)
class RebalanceNode(KeyedNode):
    """Deals items to shards anew, evenly or by a key, so that the stages below work on all of them."""

    kind: ClassVar[str] = "rebalance"
    times: ClassVar[str] = "kept"
