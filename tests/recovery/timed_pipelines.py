"""A stream pipeline with windows, joins, services and items that fail, and what it must give, computed item by item.

A module of its own, because workers import it too.
"""

from __future__ import annotations

from jetbridge import Pipeline, StreamSource, aggregations, windows
from jetbridge.services import non_shared_service, shared_service

LAG, LATE_BY, FAR = 100, 1_000, 10_000_000
TUMBLING, SIZE, STEP, GAP = 200, 300, 100, 40
NEAR, TOLERANCE = 50, 60
TABLE = 50


def event(number):
    """The event of a number, as ``(number, time)``: out of order within the lag, and one in 97 far too late."""
    block, place = divmod(number, 8)
    time = 10 * (8 * block + 7 - place)
    return (number, time - LATE_BY + 5) if is_late(number) else (number, time)


def is_late(number):
    return number % 97 == 96 and number > 150


def number_of(event):
    """Fails on some events that are in time."""
    number = event[0]
    if fails(number):
        raise ValueError(f"not {number}")
    return number


def fails(number):
    return number % 13 == 5 and not is_late(number)


def by_key(stage):
    return stage.group_by(lambda event: event[0] % 4)


def row(result):
    """A window's result as something that is easy to compare."""
    return result.start, result.end, getattr(result, "key", None), result.value


async def thrice(service, event):
    return service * event[0]


def timed(to):
    """The pipeline; it reads the stream ``to``, and its lists begin so."""
    pipeline = Pipeline.create()

    def keep(stage, name):
        stage.write_to(Pipeline.to_list(to + name)).set_name(f"{name} list")

    events = pipeline.read_from(StreamSource(to)).set_name("events").with_timestamps(lambda e: e[1], allowed_lag=LAG)
    keep(events.map(number_of).set_name("numbers").on_error(Pipeline.to_list(to + "bad")), "numbers")

    tumbling = by_key(events).window(windows.tumbling(TUMBLING)).aggregate(aggregations.counting())
    keep(tumbling.set_name("tumbling").map(row), "tumbling")
    keep(tumbling.late_items().map(lambda e: e[0]), "late")
    sliding = by_key(events).window(windows.sliding(SIZE, STEP))
    keep(sliding.aggregate(aggregations.summing(lambda e: e[0])).set_name("sliding").map(row), "sliding")
    whole = events.window(windows.sliding(SIZE, STEP))
    keep(whole.aggregate(lambda seen, e: (*seen, e[0]), initial=()).set_name("in order").map(row), "in order")
    sessions = events.group_by(lambda e: e[0] // 8 % 5).window(windows.session(GAP))
    keep(
        sessions.aggregate(aggregations.mapping(lambda e: e[0], aggregations.to_list()))
        .set_name("session")
        .map(sorted_row),
        "session",
    )
    firsts = events.window(windows.tumbling(2 * TUMBLING)).distinct(lambda e: e[0] % 11).set_name("firsts")
    keep(firsts.map(lambda found: (found.start, found.value[0] % 11)), "firsts")
    careful = by_key(events).window(windows.tumbling(TUMBLING)).aggregate(aggregations.summing(number_of))
    bad = Pipeline.to_list(to + "bad sums")
    keep(careful.set_name("careful").on_error(bad).map(row), "careful")

    evens, thirds = (by_key(events.filter(lambda e, of=of: e[0] % of == 0)) for of in (2, 3))
    both = evens.window(windows.tumbling(TUMBLING)).aggregate2(
        aggregations.counting(),
        thirds.window(windows.tumbling(TUMBLING)),
        aggregations.summing(lambda e: e[0]),
    )
    keep(both.set_name("both").map(row), "both")
    keep(evens.join_window(thirds, windows.tumbling(TUMBLING), how="outer").set_name("pairs").map(row), "pairs")
    keep(evens.interval_join(thirds, before=NEAR, after=NEAR, how="left").set_name("near"), "near")
    keep(evens.as_of_join(thirds, tolerance=TOLERANCE).set_name("newest"), "newest")

    shared, own = shared_service(lambda context: 3), non_shared_service(lambda context: 3)
    served = events.map_using_service(own, lambda three, e: three * e[0]).set_name("served")
    keep(served.filter_using_service(shared, lambda three, n: n // three % 5 == 0).set_name("kept"), "served")
    keep(
        events.map_using_service_batched(own, lambda three, es: [three * e[0] for e in es]).set_name("batches"), "batch"
    )
    keep(events.map_using_service_async(shared, thrice).set_name("async"), "async")
    several = by_key(events).flat_map_using_service(shared, lambda three, key, e: [(key, e[0])] * (e[0] % three))
    keep(several.set_name("several"), "several")
    squares = events.map_using_map("squares", lambda e: e[0] % TABLE, lambda e, square: (e[0], square))
    keep(squares.set_name("squares"), "squares")
    return pipeline


def sorted_row(result):
    return result.start, result.end, result.key, sorted(result.value)


def timed_expected(count):
    """What the lists must hold when so many events were published, and then one from the far future."""
    assert count % 6 in (1, 5), "the last one must be of neither side of the joins"
    assert not fails(count)
    every = [event(number) for number in range(count)]
    there = [e for e in every if not is_late(e[0])]
    evens, thirds = ([e for e in there if e[0] % of == 0] for of in (2, 3))
    last = [(count, FAR)]  # it only ends the windows of the others; operators that do not wait give it as well
    passed = [*every, *last]
    return {
        "numbers": [n for n, _ in passed if not fails(n)],
        "bad": [("numbers", (n, t)) for n, t in passed if fails(n)],
        "tumbling": frames(there, TUMBLING, TUMBLING, 4, len),
        "late": [n for n, _ in every if is_late(n)],
        "sliding": frames(there, SIZE, STEP, 4, lambda es: sum(n for n, _ in es)),
        "in order": frames(there, SIZE, STEP, None, lambda es: tuple(n for n, _ in es)),
        "session": sessions_of(there),
        "firsts": sorted({(t // (2 * TUMBLING) * 2 * TUMBLING, n % 11) for n, t in there}),
        "careful": frames(
            [e for e in there if not fails(e[0])], TUMBLING, TUMBLING, 4, lambda es: sum(n for n, _ in es)
        ),
        "bad sums": [("careful", e) for e in there if fails(e[0])],
        "both": joined_frames(evens, thirds, lambda left, right: [(len(left), sum(n for n, _ in right))]),
        "pairs": joined_frames(
            evens, thirds, lambda left, right: [(a, b) for a in left or [None] for b in right or [None]]
        ),
        "near": [(e[0] % 4, (e, near)) for e in evens for near in around(e, thirds) or [None]],
        "newest": [(e[0] % 4, (e, newest(e, thirds))) for e in evens],
        "served": [3 * n for n, _ in passed if n % 5 == 0],
        "batch": [3 * n for n, _ in passed],
        "async": [3 * n for n, _ in passed],
        "several": [(n % 4, n) for n, _ in passed for _ in range(n % 3)],
        "squares": [(n, (n % TABLE) ** 2) for n, _ in passed],
    }


def frames(events, size, step, keys, fold):
    """All windows of some length, for each key that has anything in it."""
    found = []
    times = [t for _, t in events]
    for start in range((min(times) - size) // step * step, max(times) + 1, step):
        inside = [(n, t) for n, t in events if start <= t < start + size]
        for key in range(keys or 1):
            if mine := [e for e in inside if keys is None or e[0] % keys == key]:
                found.append((start, start + size, None if keys is None else key, fold(mine)))
    return found


def joined_frames(left, right, join):
    """The same of two inputs by four keys."""
    found = []
    for start in range(-TUMBLING, max(t for _, t in (*left, *right)) + 1, TUMBLING):
        for key in range(4):
            sides = [
                [e for e in side if start <= e[1] < start + TUMBLING and e[0] % 4 == key] for side in (left, right)
            ]
            if any(sides):
                found += [(start, start + TUMBLING, key, value) for value in join(*sides)]
    return found


def sessions_of(events):
    """The sessions of five keys."""
    found = []
    for key in range(5):
        mine = sorted((t, n) for n, t in events if n // 8 % 5 == key)
        session = []
        for t, n in [*mine, (FAR, None)]:
            if session and t >= session[-1][0] + GAP:
                found.append((session[0][0], session[-1][0] + GAP, key, sorted(m for _, m in session)))
                session = []
            session.append((t, n))
    return found


def around(event, others):
    return [other for other in others if other[0] % 4 == event[0] % 4 and abs(other[1] - event[1]) <= NEAR]


def newest(event, others):
    mine = [other for other in others if other[0] % 4 == event[0] % 4 and 0 <= event[1] - other[1] <= TOLERANCE]
    return max(mine, key=lambda other: other[1], default=None)


def timed_outputs(client, to, names):
    """What the lists hold."""
    found = {name: client.get_list(to + name).get_all() for name in names}
    for name in ("bad", "bad sums"):
        found[name] = [(failed.stage, failed.item) for failed in found[name]]
    return found


def comparable(found):
    """The outputs in an order that is the same in every run."""
    return {name: sorted(map(repr, items)) for name, items in found.items()}
