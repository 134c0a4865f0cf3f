"""The operators that random programs are put together of."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

from jetbridge import CustomKernel, Pipeline, aggregations, windows
from jetbridge.services import Lookup, non_shared_service, shared_service

TIMES = 200
"""Times are below it."""


def digest(value):
    """Any result as a small number, so that every stage can follow every other one."""
    return zlib.crc32(repr(value).encode()) % TIMES


def picky(n):
    """Fails on some numbers."""
    if n % 13 == 5:
        raise ValueError(f"not {n}")
    return n


def joined(text, n):
    return f"{text},{n}"[-40:]


def before(state, key, n):
    """The number with the one that came before it."""
    last, state["last"] = state.get("last"), n
    return digest((key, last, n))


def third(seen, n):
    seen.append(n)
    return len(seen) == 3


def gather(seen, key, n):
    seen.append(n)
    return [n] if n % 5 == 0 else []


def gathered(seen, key, at):
    return [digest((key, seen, at))]


async def awaited(three, n):
    return (n * three + 1) % TIMES


class Frames(CustomKernel):
    """How many items there are in each ten milliseconds, when those are over."""

    gives_times = True
    drops_late = True

    def process(self, state, key, items, times):
        for at in times:
            state[at // 10] = state.get(at // 10, 0) + 1
        return ()

    def due(self, state, key):
        return min(state) * 10 + 10 if state else None

    def on_watermark(self, state, key, watermark):
        for frame in sorted(state):
            if frame * 10 + 10 <= watermark:
                yield frame * 10 + 9, (key, frame, state.pop(frame))


class Squares(Lookup):
    kind = "squares"

    def get_many(self, keys):
        return [None if key == 3 else key * key for key in keys]


THREE, OWN_THREE = shared_service(lambda context: 3), non_shared_service(lambda context: 3)


@dataclass(frozen=True)
class Op:
    """An operator.

    Attributes:
        build: From a stage to the stage behind it, whose items are numbers below `TIMES`.
        ordered: Whether it needs the source's order.
        keeps: Whether it keeps the order.
        times: Whether what it gives has times: None as what it is given.
        timed: Whether it needs times.
        ends: Whether it needs the end of the input.
    """

    build: Any
    ordered: bool = False
    keeps: bool = False
    times: bool | None = None
    timed: bool = False
    ends: bool = False


def _window(window, key=None, operation=None):
    operation = operation or aggregations.summing(lambda n: n)
    grouped = (lambda s: s.group_by(key).window(window)) if key else (lambda s: s.window(window))
    return Op(lambda s: grouped(s).aggregate(operation).map(digest), timed=True, times=True)


def _with_late(stage):
    """The results of windows, and the items that were too late for them."""
    counted = stage.window(windows.tumbling(10)).aggregate(aggregations.counting())
    return counted.map(digest).merge(counted.late_items())


OPERATORS: dict[str, Op] = {
    "map": Op(lambda s: s.map(lambda n: (n * 3 + 1) % TIMES), keeps=True),
    "filter": Op(lambda s: s.filter(lambda n: n % 4), keeps=True),
    "flat_map": Op(lambda s: s.flat_map(lambda n: [n, TIMES - 1 - n][: n % 3]), keeps=True),
    "skip": Op(lambda s: s.map(picky).on_error("skip"), keeps=True),
    "distinct": Op(lambda s: s.distinct().without_timestamps(), times=False),
    "distinct by key": Op(lambda s: s.distinct(lambda n: n % 17), ordered=True),
    "rolling": Op(
        lambda s: s.group_by(lambda n: n % 5).rolling_aggregate(aggregations.summing(lambda n: n)).map(digest),
        ordered=True,
    ),
    "fold in order": Op(
        lambda s: s.group_by(lambda n: n % 3).aggregate(accumulator=joined, initial="").map(digest),
        ordered=True, times=False, ends=True,
    ),
    "counts": Op(
        lambda s: s.group_by(lambda n: n % 7).aggregate(aggregations.counting()).map(digest), times=False, ends=True
    ),
    "sum": Op(lambda s: s.aggregate(aggregations.summing(lambda n: n)).map(digest), times=False, ends=True),
    "sort": Op(lambda s: s.sort(key_fn=lambda n: (n % 5, n)), times=False, ends=True),
    "groups": Op(
        lambda s: s.group_by(lambda n: n % 11).collect().map(lambda p: digest((p[0], sorted(p[1])))),
        times=False, ends=True,
    ),
    "untimed": Op(lambda s: s.without_timestamps(), keeps=True, times=False),
    "tumbling": _window(windows.tumbling(10), key=lambda n: n % 3),
    "tumbling whole": _window(windows.tumbling(7)),
    "sliding": _window(windows.sliding(30, 10), key=lambda n: n % 2),
    "sliding whole": _window(windows.sliding(12, 3), operation=aggregations.counting()),
    "session": _window(windows.session(5), key=lambda n: n % 3),
    "session whole": _window(windows.session(3), operation=aggregations.counting()),
    "tumbling in order": Op(
        lambda s: s.window(windows.tumbling(20)).aggregate(accumulator=joined, initial="").map(digest),
        timed=True, times=True, ordered=True,
    ),
    "sliding in order": Op(
        lambda s: s.window(windows.sliding(20, 5)).aggregate(accumulator=joined, initial="").map(digest),
        timed=True, times=True, ordered=True,
    ),
    "session in order": Op(
        lambda s: s.group_by(lambda n: n % 2).window(windows.session(4)).aggregate(joined, initial="").map(digest),
        timed=True, times=True, ordered=True,
    ),
    "window distinct": Op(
        lambda s: s.window(windows.tumbling(10)).distinct().map(digest), timed=True, times=True
    ),
    "late items": Op(_with_late, timed=True, times=False),
    "dead letters": Op(lambda s: s.map(picky).on_error(Pipeline.to_list(f"bad-{len(s._pipeline._nodes)}")), keeps=True),
    "dead letters of a window": Op(
        lambda s: s.window(windows.sliding(20, 5)).aggregate(aggregations.summing(picky))
        .on_error(Pipeline.to_list(f"bad-{len(s._pipeline._nodes)}")).map(digest),
        timed=True, times=True,
    ),
    "map_stateful": Op(lambda s: s.group_by(lambda n: n % 4).map_stateful(dict, before), ordered=True),
    "filter_stateful": Op(
        lambda s: s.filter_stateful(list, third, delete_state_predicate=lambda seen: len(seen) == 3), ordered=True
    ),
    "flat_map_stateful": Op(
        lambda s: s.group_by(lambda n: n % 3).flat_map_stateful(list, gather, ttl=9, on_evict=gathered),
        ordered=True, timed=True,
    ),
    "custom": Op(lambda s: s.group_by(lambda n: n % 3).custom(Frames).map(digest), timed=True, times=True),
    "map_using_service": Op(lambda s: s.map_using_service(THREE, lambda three, n: n * three % TIMES), keeps=True),
    "filter_using_service": Op(lambda s: s.filter_using_service(OWN_THREE, lambda three, n: n % three), keeps=True),
    "flat_map_using_service": Op(
        lambda s: s.group_by(lambda n: n % 5).flat_map_using_service(THREE, lambda three, key, n: [key, n][: n % three])
    ),
    "map_using_service_batched": Op(
        lambda s: s.map_using_service_batched(THREE, lambda three, ns: [(n + three) % TIMES for n in ns]), keeps=True
    ),
    "map_using_service_async": Op(lambda s: s.map_using_service_async(THREE, awaited), keeps=True),
    "map_using_map": Op(
        lambda s: s.map_using_map(Squares("squares"), lambda n: n % 7, lambda n, found: digest((n, found))), keeps=True
    ),
    "rebalance": Op(lambda s: s.rebalance()),
    "peek": Op(lambda s: s.peek(should_log=lambda n: False), keeps=True),
}  # fmt: skip


def _keyed(stage):
    return stage.group_by(lambda n: n % 4)


def _windows2(window):
    return lambda a, b: (
        _keyed(a)
        .window(window)
        .aggregate2(aggregations.counting(), _keyed(b).window(window), aggregations.summing(lambda n: n))
        .map(digest)
    )


# Of two stages, whose items are numbers below `TIMES` as well.
BINARY: dict[str, Op] = {
    "merge": Op(lambda a, b: a.merge(b)),
    "aggregate2": Op(
        lambda a, b: _keyed(a)
        .aggregate2(aggregations.counting(), _keyed(b), aggregations.summing(lambda n: n)).map(digest),
        times=False, ends=True,
    ),
    "aggregate3": Op(
        lambda a, b: a.aggregate3(
            aggregations.counting(), b, aggregations.to_set().and_then(sorted), a, aggregations.min_by(lambda n: n)
        ).map(digest),
        times=False, ends=True,
    ),
    "aggregate2 in windows": Op(_windows2(windows.tumbling(10)), timed=True, times=True),
    "aggregate2 in sliding windows": Op(_windows2(windows.sliding(15, 5)), timed=True, times=True),
    "aggregate2 in sessions": Op(_windows2(windows.session(4)), timed=True, times=True),
    "join_window": Op(
        lambda a, b: _keyed(a).join_window(_keyed(b), windows.tumbling(5), how="outer").map(digest),
        timed=True, times=True,
    ),
    "join_window left": Op(
        lambda a, b: _keyed(a).join_window(_keyed(b), windows.session(3), how="left").map(digest),
        timed=True, times=True,
    ),
    "interval_join": Op(
        lambda a, b: _keyed(a).interval_join(_keyed(b), before=3, after=2).map(digest), timed=True, times=True
    ),
    "interval_join left": Op(
        lambda a, b: _keyed(a).interval_join(_keyed(b), before=0, after=4, how="left").map(digest),
        timed=True, times=True,
    ),
    "as_of_join": Op(
        lambda a, b: _keyed(a).as_of_join(_keyed(b), tolerance=6).map(digest), timed=True, times=True, ordered=True
    ),
    "hash_join": Op(
        lambda a, b: a.hash_join(b, (lambda n: n % 9, lambda n: n % 11), lambda n, match: digest((n, match))), ends=True
    ),
    "inner_hash_join": Op(
        lambda a, b: a.inner_hash_join(
            b, (lambda n: n % 9, lambda n: n % 11), lambda n, found: digest((n, sorted(found))), as_list=True
        ),
        ends=True,
    ),
}  # fmt: skip
