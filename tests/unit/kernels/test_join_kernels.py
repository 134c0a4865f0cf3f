"""Joins: whatever comes first, and wherever a host stops, the matches are those of the whole input."""

from __future__ import annotations

import random as rnd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge import aggregations, windows
from jetbridge.kernels.join_state import BLOCK
from jetbridge.kernels.joins import PRUNE, AsOfJoinKernel, IntervalJoinKernel, JoinWindowKernel
from jetbridge.kernels.rules import keyed_kernel
from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.plan.coaggregate import together
from jetbridge.plan.joins import AsOfJoinNode, IntervalJoinNode, JoinWindowNode
from jetbridge.times import BEGINNING

lags = st.tuples(st.integers(0, 20), st.integers(0, 20))


def key_of(item):
    return item.key


def node(kind, **fields):
    return kind(id=9, name="join", named=False, inputs=(0, 1), key_fn=key_of, key_fns=(key_of, key_of), **fields)


def on_time(events, before):
    """The items of each input that are not behind its watermark, and the late ones."""
    sides, late = ([], []), []
    for (port, item), mark in zip(events, before, strict=True):
        if item.time < mark:
            late.append((port, item))
        else:
            sides[port].append(item)
    return *sides, late


def shown(values):
    return sorted(map(repr, values))


@given(
    data=st.data(),
    random=st.randoms(use_true_random=False),
    lag=lags,
    live=st.booleans(),
    before=st.integers(0, 25),
    after=st.integers(0, 25),
    how=st.sampled_from(["inner", "left"]),
)
def test_interval_join(kit, ports, data, random, lag, live, before, after, how):
    events = data.draw(ports.histories())
    kernel = keyed_kernel(node(IntervalJoinNode, before=before, after=after, how=how))
    assert type(kernel) is IntervalJoinKernel
    out, late = ports.Host(kernel, 2, random, lag, live=live).run(events)
    lefts, rights, expected_late = on_time(events, ports.marks(events, lag, live=live))
    expected = []
    for left in lefts:
        mine = [
            right
            for right in rights
            if kit.norm(right.key) == kit.norm(left.key) and -before <= right.time - left.time <= after
        ]
        expected += [((left, right), max(left.time, right.time)) for right in mine]
        if how == "left" and not mine:
            expected.append(((left, None), left.time + after))
    assert shown((pair, time) for (_, pair), time in out) == shown(expected)
    assert all(kit.norm(key) == kit.norm(pair[0].key) for (key, pair), _ in out)
    assert shown(late) == shown(expected_late)


@given(
    data=st.data(),
    random=st.randoms(use_true_random=False),
    lag=lags,
    live=st.booleans(),
    tolerance=st.one_of(st.none(), st.integers(0, 40)),
    how=st.sampled_from(["inner", "left"]),
)
def test_as_of_join(kit, ports, data, random, lag, live, tolerance, how):
    events = data.draw(ports.histories(most=40))
    kernel = keyed_kernel(node(AsOfJoinNode, tolerance=tolerance, how=how))
    assert type(kernel) is AsOfJoinKernel
    out, late = ports.Host(kernel, 2, random, lag, live=live).run(events)
    lefts, rights, expected_late = on_time(events, ports.marks(events, lag, live=live))
    expected = []
    for left in lefts:
        mine = [
            right
            for right in rights
            if kit.norm(right.key) == kit.norm(left.key)
            and right.time <= left.time
            and (tolerance is None or right.time >= left.time - tolerance)
        ]
        newest = max(mine, key=lambda right: (right.time, right.number), default=None)
        if mine or how == "left":
            expected.append(((left, newest), left.time))
    assert shown((pair, time) for (_, pair), time in out) == shown(expected)
    assert shown(late) == shown(expected_late)


@given(
    data=st.data(),
    random=st.randoms(use_true_random=False),
    lag=st.integers(0, 20),
    live=st.booleans(),
    window=st.sampled_from([windows.tumbling(10), windows.sliding(20, 10)]),
    how=st.sampled_from(["inner", "left", "right", "outer"]),
)
def test_join_window(ports, data, random, lag, live, window, how):
    events = data.draw(ports.histories(keys=st.integers(0, 2)))
    out, late = ports.Host(window_join(window, how), 2, random, (lag, lag), live=live).run(events)
    sides, expected_late = {}, []
    for (port, item), mark in zip(events, ports.marks(events, (lag, lag), live=live), strict=True):
        start = item.time // window.step * window.step
        ends = range(start + window.step, start + window.size + 1, window.step)
        for end in (open_ends := [end for end in ends if end > mark]):
            sides.setdefault((end - window.size, end, item.key), ([], []))[port].append(item)
        if not open_ends:
            expected_late.append((port, item))
    assert shown((r.start, r.end, r.key, r.value) for r, _ in out) == shown(
        (*place, pair) for place, both in sides.items() for pair in pairs(*both, how)
    )
    assert all(time == result.end - 1 for result, time in out)
    assert shown(late) == shown(expected_late)


def window_join(window, how):
    operations = (aggregations.to_list(), aggregations.to_list())
    kernel = keyed_kernel(
        node(JoinWindowNode, window=window, how=how, operations=operations, operation=together(operations))
    )
    assert type(kernel) is JoinWindowKernel
    return kernel


def pairs(lefts, rights, how):
    found = [(left, right) for left in lefts for right in rights]
    if not rights and how in ("left", "outer"):
        found += [(left, None) for left in lefts]
    if not lefts and how in ("right", "outer"):
        found += [(None, right) for right in rights]
    return found


@given(data=st.data(), random=st.randoms(use_true_random=False))
def test_join_of_sessions(ports, data, random):
    events = data.draw(ports.histories(keys=st.just(0)))
    out, _ = ports.Host(window_join(windows.session(5), "outer"), 1, random, (0, 0), live=False).run(events)
    sessions = []
    for port, item in sorted(events, key=lambda event: event[1].time):
        if not sessions or item.time >= sessions[-1][0] + 5:
            sessions.append([item.time, ([], [])])
        sessions[-1][0] = item.time
        sessions[-1][1][port].append(item)
    assert shown(r.value for r, _ in out) == shown(p for _, both in sessions for p in pairs(*both, "outer"))


def test_pairs_that_explode_are_given_bit_by_bit(ports):
    count = 150
    assert count * count > 5 * CHUNK_ITEMS
    events = [(number % 2, ports.Event(0, 1, number)) for number in range(2 * count)]
    for seed in range(5):
        kernel = window_join(windows.tumbling(10), "inner")
        out, _ = ports.Host(kernel, 1, rnd.Random(seed), (0, 0), live=False).run(events)
        assert len(out) == len({repr(result) for result, _ in out}) == count * count


@pytest.mark.parametrize("tolerance", [None, 500])
def test_the_newest_alone_is_kept(ports, tolerance):
    """Thousands of items of one key that nothing asks for leave no more than some behind the watermark."""
    kernel = keyed_kernel(node(AsOfJoinNode, tolerance=tolerance, how="left"))
    host = ports.Host(kernel, 1, rnd.Random(1), (0, 0))
    most = 0
    for number in range(4_000):
        for port in (0, 1):
            host._feed(port, [ports.Event("other" if port == 0 else "key", number, number)])
        if number % 50 == 0:
            host._flush()
            host._advance(host._mark())
            most = max(most, kernel.records(host.states[0]))
    assert host.passed > BEGINNING
    assert most < 4 * PRUNE + 100


def test_what_no_item_can_match_any_more_is_dropped(ports):
    kernel = keyed_kernel(node(IntervalJoinNode, before=100, after=100, how="inner"))
    host = ports.Host(kernel, 4, rnd.Random(1), (0, 0))
    most = 0
    for number in range(3_000):
        host._feed(number % 2, [ports.Event(number, number, number)])
        if number % 40 == 0:
            host._flush()
            host._advance(host._mark())
            most = max(most, sum(map(kernel.records, host.states.values())))
    assert most < 100 + 50 + 2 * 40 + BLOCK
