"""Windows against the naive model, however the host cuts, waits, stops, stores and reads back."""

from __future__ import annotations

import math
import operator

import pytest
from event_time import Item, TimedHost, histories, naive, node
from hypothesis import given
from hypothesis import strategies as st

from jetbridge import aggregations
from jetbridge.errors import ItemError
from jetbridge.kernels import sessions, windowed
from jetbridge.kernels.sessions import SessionKernel
from jetbridge.kernels.windowed import WindowKernel
from jetbridge.times import TimedItems
from jetbridge.windows import KeyedWindowResult, SessionWindow, SlidingWindow, WindowResult

CHUNK = 3  # results in a chunk, so that there are many


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    for module in (windowed, sessions):
        monkeypatch.setattr(module, "CHUNK_ITEMS", CHUNK)


def number(item):
    return item.number


def append(acc, item):
    acc.append(item.number)
    return acc


def extend(left, right):
    left += right
    return left


def count_each(acc, item):
    acc.setdefault(item.number % 3, []).append(item.number)
    return acc


def join_each(left, right):
    """A careless combiner: it keeps what it is given, and changes it the next time."""
    if not left:
        return right
    for key, numbers in right.items():
        if key in left:
            left[key] += numbers
        else:
            left[key] = numbers
    return left


class Invertible(aggregations.AggregateOperation):
    """A sum with an inverse."""

    deduct = staticmethod(operator.sub)


def invertible():
    return Invertible(create=int, accumulate=lambda acc, item: acc + item.number, combine=operator.add)


def numbers(items):
    return [item.number for item in items]


def total(items):
    return sum(numbers(items))


OPERATIONS = {
    "counting": (aggregations.counting, len, None),
    "summing": (lambda: aggregations.summing(number), total, None),
    "averaging": (lambda: aggregations.averaging(number), lambda items: total(items) / len(items), None),
    "combined": (lambda: aggregations.folding(lambda a, i: a + i.number, 0, operator.add), total, None),
    "invertible": (invertible, total, None),
    "max_by": (lambda: aggregations.max_by(number), lambda items: max(items, key=number), number),
    "in-place": (lambda: aggregations.folding(append, [], extend, tuple), lambda items: tuple(numbers(items)), sorted),
    "to_list": (aggregations.to_list, list, lambda items: sorted(numbers(items))),
    "careless": (
        lambda: aggregations.folding(count_each, {}, join_each),
        lambda items: {rest: [n for n in numbers(items) if n % 3 == rest] for rest in {n % 3 for n in numbers(items)}},
        lambda result: sorted((rest, sorted(ns)) for rest, ns in result.items()),
    ),
    "fold": (lambda: aggregations.folding(append, []), numbers, None),
    "fold-finished": (lambda: aggregations.folding(append, [], finisher=tuple), lambda i: tuple(numbers(i)), None),
}
"""Each operation, its model, and what makes results comparable whose order is not promised."""

WINDOWS = {
    "tumbling": SlidingWindow(10, 10),
    "tumbling-by-one": SlidingWindow(1, 1),
    "sliding": SlidingWindow(20, 5),
    "sliding-by-one": SlidingWindow(7, 1),
    "session": SessionWindow(10),
    "session-of-one": SessionWindow(1),
}


def kernel_of(window, *args, **fields):
    return (SessionKernel if isinstance(window, SessionWindow) else WindowKernel)(node(window, *args, **fields))


def decider(data):
    """Decisions that shrink to the first choice."""
    drawn = data.draw(st.lists(st.integers(0, 59), min_size=1, max_size=40))
    at = 0

    def decide(limit):
        nonlocal at
        at += 1
        return drawn[at % len(drawn)] % limit

    return decide


def found(kit, results):
    """Results by window and key."""
    by_window = {}
    for result in results:
        assert not result.is_early
        name = (result.start, result.end, kit.norm(result.key))
        assert name not in by_window, f"{name} came twice"
        by_window[name] = result.value
    return by_window


@pytest.mark.parametrize("shape", WINDOWS)
@given(
    name=st.sampled_from(list(OPERATIONS)),
    data=st.data(),
    lag=st.sampled_from([0, 0, 3, 25]),
    shards=st.sampled_from([1, 128]),
    live=st.booleans(),
)
def test_windows(kit, shape, name, data, lag, shards, live):
    make, model, comparable = OPERATIONS[name]
    items = data.draw(histories(kit.small_keys))
    host = TimedHost(kernel_of(WINDOWS[shape], make()), lag, shards, decider(data), live=live)
    host.run(data.draw(kit.cut(items)))
    windows, late = naive(WINDOWS[shape], items, lag, kit.norm, live=live)
    expected = {window: model(members) for window, members in windows.items()}
    results = found(kit, host.results)
    if comparable is not None:
        expected = {window: comparable(value) for window, value in expected.items()}
        results = {window: comparable(value) for window, value in results.items()}
    assert results == expected
    assert sorted(map(number, host.late)) == sorted(map(number, late))
    if not live:
        assert late == []
    assert host.failed == []


@pytest.mark.parametrize("shape", WINDOWS)
@given(name=st.sampled_from(["counting", "in-place", "fold"]), data=st.data(), lag=st.sampled_from([0, 25]))
def test_windows_without_a_key(kit, shape, name, data, lag):
    make, model, comparable = OPERATIONS[name]
    items = data.draw(histories(kit.small_keys))
    host = TimedHost(kernel_of(WINDOWS[shape], make(), None), lag, 128, decider(data)).run(data.draw(kit.cut(items)))
    assert set(host.states) <= {0}
    expected, late = naive(WINDOWS[shape], [item._replace(key=None) for item in items], lag, kit.norm)
    comparable = comparable or (lambda value: value)
    assert sorted((r.start, comparable(r.value)) for r in host.results) == sorted(
        (start, comparable(model(members))) for (start, _, _), members in expected.items()
    )
    assert all(type(result) is WindowResult for result in host.results)
    assert sorted(map(number, host.late)) == sorted(map(number, late))


@pytest.mark.parametrize("shape", ["tumbling", "sliding", "session"])
@given(data=st.data())
def test_keys_of_every_type(kit, shape, data):
    items = data.draw(histories(kit.keys, most=20))
    host = TimedHost(kernel_of(WINDOWS[shape], aggregations.counting()), 0, 128, decider(data))
    host.run(data.draw(kit.cut(items)))
    windows, _ = naive(WINDOWS[shape], items, 0, kit.norm)
    assert found(kit, host.results) == {window: len(members) for window, members in windows.items()}


@pytest.mark.parametrize("shape", ["tumbling", "sliding", "session"])
@given(data=st.data(), lag=st.sampled_from([0, 10]))
def test_results_come_in_the_order_of_time_and_windows_that_are_due_are_not_held_back(kit, shape, data, lag):
    """Each shard's results are in order, and after the watermark nothing is left that it passed."""
    items = data.draw(histories(kit.small_keys))
    kernel = kernel_of(WINDOWS[shape], aggregations.counting())
    host = TimedHost(kernel, lag, 1, lambda limit: 1 % limit)
    splitter = kernel.splitter(1)
    for item in items:
        splitter.add(host.stamp([item]))
        host.flush(splitter)
        host.advance(host.watermark, stops=False)
        due = kernel.due(host.state(0))
        assert due is None or due > host.watermark
    ends = [result.end for result in host.results]
    assert ends == sorted(ends)


BAD = {"fold": None, "combined": operator.add, "summing": None}


@pytest.mark.parametrize("shape", WINDOWS)
@given(name=st.sampled_from(list(BAD)), data=st.data(), lag=st.sampled_from([0, 25]))
def test_an_item_that_fails_is_put_aside_once_and_all_others_count(kit, shape, name, data, lag):
    from jetbridge.kernels.aside import CarefulSplitter

    def value(item):
        if item.number % 5 == 3:
            raise ValueError("bad")
        return item.number

    if name == "summing":
        operation = aggregations.summing(value)
    else:
        operation = aggregations.folding(lambda acc, item: acc + value(item), 0, BAD[name])
    items = data.draw(histories(kit.small_keys))
    kernel = kernel_of(WINDOWS[shape], operation)
    kernel.be_careful()
    host = TimedHost(kernel, lag, 128, decider(data))
    splitters, make = [], kernel.splitter

    def splitter(shards):
        splitters.append(CarefulSplitter("windows", make(shards)))
        return splitters[-1]

    kernel.splitter = splitter
    host.run(data.draw(kit.cut(items)))
    failed = [failure.item if hasattr(failure, "item") else failure for failure in host.failed]
    failed += [failure.item for each in splitters for failure in each.failed]
    windows, late = naive(WINDOWS[shape], items, lag, kit.norm)
    late = [item for item in late if name == "fold" or item in host.late]
    expected = sorted(n for item in items if (n := item.number) % 5 == 3 and item not in late)
    assert sorted(map(number, failed)) == expected
    good = {window: [item for item in members if item.number % 5 != 3] for window, members in windows.items()}
    if isinstance(WINDOWS[shape], SessionWindow) and name != "fold":
        return  # the sessions of the others may be smaller without it
    assert found(kit, host.results) == {window: total(members) for window, members in good.items() if members}


@pytest.mark.parametrize("shape", WINDOWS)
@given(name=st.sampled_from(list(OPERATIONS)), data=st.data(), lag=st.sampled_from([0, 25]))
def test_early_results_are_those_so_far_and_change_nothing(kit, shape, name, data, lag):
    make, model, comparable = OPERATIONS[name]
    comparable = comparable or (lambda value: value)
    items = data.draw(histories(kit.small_keys, most=15))
    kernel = kernel_of(WINDOWS[shape], make(), early=1)
    host = TimedHost(kernel, lag, 1, decider(data))
    seen = []
    for item in items:
        splitter = kernel.splitter(1)
        splitter.add(host.stamp([item]))
        late = list(splitter.late)
        host.flush(splitter)
        seen.append(item)
        host.early.clear()
        host.give_early()
        emitted = {(r.start, r.end, kit.norm(r.key)): repr(r.value) for r in host.results}
        windows, _ = naive(WINDOWS[shape], seen, lag, kit.norm)
        open_now = {w: repr(comparable(model(m))) for w, m in windows.items() if w not in emitted and item in m}
        early = {(r.start, r.end, kit.norm(r.key)): repr(comparable(r.value)) for r in host.early}
        assert early == open_now, "those that the item has changed"
        assert bool(early) != bool(late)
        if host.decide(2):
            host.advance(host.watermark - host.decide(30), stops=False)
    host.advance(2**62, stops=True)
    windows, _ = naive(WINDOWS[shape], items, lag, kit.norm)
    results = {window: comparable(value) for window, value in found(kit, host.results).items()}
    assert results == {window: comparable(model(members)) for window, members in windows.items()}


def test_results_that_are_changed_afterwards_change_no_other(kit):
    """Whoever gets a list may sort it, or append to it."""
    for shape in ("tumbling", "sliding", "session"):
        for make in (lambda: aggregations.folding(append, [], extend), lambda: aggregations.folding(append, [])):
            kernel = kernel_of(WINDOWS[shape], make(), early=1)
            host = TimedHost(kernel, 0, 1, lambda limit: 1 % limit)
            for n in range(40):
                splitter = kernel.splitter(1)
                splitter.add(host.stamp([Item("a", n, n)]))
                host.flush(splitter)
                host.give_early()
                host.advance(host.watermark, stops=False)
                for result in host.early + host.results:
                    result.value.clear()
                host.early.clear()
                done = [result for result in host.results if result.value]
                assert done == []
            splitter = kernel.splitter(1)
            splitter.add(host.stamp([Item("a", 40, 40)]))
            host.flush(splitter)
            host.results.clear()
            host.advance(2**62, stops=False)
            window, _ = naive(WINDOWS[shape], [Item("a", n, n) for n in range(41)], 0, kit.norm)
            expected = {name: numbers(members) for name, members in window.items()}
            assert host.results
            for result in host.results:
                assert sorted(result.value) == expected[result.start, result.end, "a"]


def test_a_window_holds_its_start_and_not_its_end():
    kernel = kernel_of(SlidingWindow(10, 10), aggregations.counting())
    host = TimedHost(kernel, 0, 1, lambda limit: 1 % limit).run([[[Item("a", at, at) for at in (-10, -1, 0, 9, 10)]]])
    assert host.results == [
        KeyedWindowResult(-10, 0, "a", 2),
        KeyedWindowResult(0, 10, "a", 2),
        KeyedWindowResult(10, 20, "a", 1),
    ]


def test_sessions_end_a_gap_behind_their_last_item_and_touching_ones_stay_apart():
    kernel = kernel_of(SessionWindow(10), aggregations.counting())
    host = TimedHost(kernel, 30, 1, lambda limit: 1 % limit)
    host.run([[[Item("a", at, at) for at in (0, 9, 19, 40, 28)]]])
    assert sorted(host.results) == [(0, 19, "a", 2, False), (19, 38, "a", 2, False), (40, 50, "a", 1, False)]


def test_an_accumulator_combiner_or_finisher_that_raises_is_named():
    def bad(*_):
        raise ValueError("on purpose")

    for window in (SlidingWindow(20, 5), SlidingWindow(10, 10), SessionWindow(10)):
        for what in ("accumulate", "combine", "finish"):
            functions = {"create": int, "accumulate": lambda a, i: a + 1, "combine": operator.add, what: bad}
            kernel = kernel_of(window, aggregations.AggregateOperation(**functions))
            host = TimedHost(kernel, 0, 1, lambda limit: 1 % limit)
            with pytest.raises(ItemError, match="on purpose") as caught:
                host.run([[[Item("a", 1, 0)]], [[Item("a", 1, 1), Item("a", 7, 2)]]])
            assert caught.value.stage == "windows"


@pytest.mark.parametrize("shape", ["tumbling", "sliding", "session"])
@pytest.mark.parametrize(("key", "words"), [([1], ["hashable", "list"]), ((1, {}), ["hashable"]), (1j, ["complex"])])
def test_a_key_that_is_none_is_named_with_the_item(shape, key, words):
    for make, _, _ in OPERATIONS.values():
        for times in ([0, 0], [100, 0]):
            kernel = kernel_of(WINDOWS[shape], make())
            host = TimedHost(kernel, 1_000, 128, lambda limit: 1 % limit)
            with pytest.raises(ItemError) as caught:
                host.run([[[Item("a", times[0], 0), Item(key, times[1], 1)]]])
            assert all(word in str(caught.value) for word in words), str(caught.value)
            assert isinstance(key, tuple) or "got tuple" not in str(caught.value), "a frame is no part of the key"


def test_a_chunk_with_thousands_of_windows_and_one_with_few(kit):
    for window in (SlidingWindow(1_000, 1_000), SlidingWindow(5_000, 1_000), SessionWindow(500)):
        for step in (1, 700):
            items = [Item(n % 7, n * step, n) for n in range(1_024)]
            for make, model, comparable in (OPERATIONS["counting"], OPERATIONS["in-place"], OPERATIONS["fold"]):
                host = TimedHost(kernel_of(window, make()), 0, 128, lambda limit: 1 % limit).run([[items]])
                windows, _ = naive(window, items, 0, kit.norm)
                comparable = comparable or (lambda value: value)
                got = {w: comparable(value) for w, value in found(kit, host.results).items()}
                assert got == {w: comparable(model(members)) for w, members in windows.items()}


def test_nan_is_one_key():
    for window in WINDOWS.values():
        kernel = kernel_of(window, aggregations.counting(), early=1)
        items = [Item(float("nan"), 3, 0), Item(math.nan, 3, 1), Item((1, float("nan")), 3, 2)]
        host = TimedHost(kernel, 0, 1, lambda limit: 0).run([[items], [items]])
        starts = {result.start for result in host.results}
        assert [result.value for result in host.results if result.key != (1, math.nan)].count(4) >= len(starts)


def test_times_of_results_and_of_bare_ones():
    kernel = kernel_of(SlidingWindow(10, 5), aggregations.counting(), bare=True)
    state = kernel.new_state()
    splitter = kernel.splitter(1)
    splitter.add(TimedItems([Item("a", 3, 0)], [3]))
    for _, payload in splitter.flush():
        list(kernel.process(state, payload))
    chunks = list(kernel.on_end(state))
    assert [(list(chunk), chunk.times) for chunk in chunks] == [
        ([WindowResult(-5, 5, 1), WindowResult(0, 10, 1)], [4, 9]),
    ]


def test_many_sessions_of_a_key_are_ended_one_after_another(kit):
    """However many a key has, it is looked for once: at the end of a batch all are still open."""
    keys, each = 5, 60
    kernel = kernel_of(SessionWindow(10), aggregations.counting(), key_fn=lambda item: item[0])
    chunk = TimedItems((key, n) for n in range(each) for key in range(keys))
    chunk.times = [n * 20 for _, n in chunk]
    splitter, state = kernel.splitter(1), kernel.new_state()
    splitter.add(chunk)
    for _, payload in splitter.flush():
        assert not list(kernel.process(state, payload))
    assert kernel.records(state) == keys * each
    assert (state.next_end(), len(state.ends)) == ((10, 0), keys)
    results = [result for chunk in kernel.on_end(state) for result in chunk]
    assert [result.end for result in results] == sorted(result.end for result in results)
    assert found(kit, results) == {(n * 20, n * 20 + 10, key): 1 for n in range(each) for key in range(keys)}
    assert not state.ends
