"""Contenders on one cluster in turns: a first run of each with a look at the memory, then the timed ones."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from memory import watched

from flink.timing import Run

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Turn:
    """What is run again and again.

    Attributes:
        items: How many items it handles.
        once: Runs it.
        digest: A fingerprint of its result.
        on_cluster: Whether it runs on the cluster, whose memory is looked at.
    """

    items: int
    once: Callable[[], Run]
    digest: Callable[[Any], str]
    on_cluster: bool = True


def in_turns(turns: Mapping[Name, Turn], repeat: int, keeper: int) -> dict[Name, dict[str, Any]]:
    """Run each once and then ``repeat`` times.

    Args:
        turns: What is run, by name.
        repeat: How many runs are timed.
        keeper: The process id of the cluster's keeper.

    Returns:
        For each name "items", "seconds" (a list of times), "peak" (bytes or None) and "digest".
    """
    rows: dict[Name, dict[str, Any]] = {}
    for number in range(repeat + 1):
        for name, turn in turns.items():
            if number:
                run = turn.once()
                rows[name]["seconds"].append(run.seconds())
            else:  # looking at the memory takes time of its own, so this run is not timed
                with watched(keeper) as samples:
                    run = turn.once()
                peak = samples.peak(run.end) if turn.on_cluster else None
                rows[name] = {"items": turn.items, "seconds": [], "peak": peak}
            rows[name]["digest"] = turn.digest(run.result())
    return rows
