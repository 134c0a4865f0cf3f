"""Co-aggregation: however the inputs come, the results are those of each input folded by itself."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge import aggregations, windows
from jetbridge.aggregations import folding
from jetbridge.errors import ItemError
from jetbridge.kernels.coaggregate import CoFoldKernel, CoSessionKernel, CoWindowKernel
from jetbridge.kernels.rules import keyed_kernel
from jetbridge.plan.coaggregate import CoAggregateNode, CoWindowNode, together
from jetbridge.times import BEGINNING, TimedItems

OPERATIONS = {
    "counting": aggregations.counting,
    "summing": lambda: aggregations.summing(lambda item: item.number),
    "to_list": aggregations.to_list,
    "max_by": lambda: aggregations.max_by(lambda item: item.number),
    "folding": lambda: folding(lambda acc, item: (*acc, item.number), initial=()),
    "finished": lambda: folding(lambda acc, item: [*acc, item], initial=[], finisher=len),
}
names = st.sampled_from(sorted(OPERATIONS))


def node(kind, operations, key_fn, **fields):
    key_fns = (key_fn,) * len(operations)
    return kind(
        id=9,
        name="both",
        named=False,
        inputs=tuple(range(len(operations))),
        key_fn=key_fn,
        key_fns=key_fns,
        operation=together(operations),
        operations=tuple(operations),
        **fields,
    )


def naive(operation, items):
    acc = operation.create()
    for item in items:
        acc = operation.accumulate(acc, item)
    return acc if operation.finish is None else operation.finish(acc)


def plain(value):
    """A result without the order that several inputs and shards do not have."""
    return sorted(value, key=repr) if type(value) is list else value


@pytest.mark.parametrize("keyed", [True, False])
@given(data=st.data(), random=st.randoms(use_true_random=False), chosen=st.lists(names, min_size=2, max_size=4))
def test_each_input_is_folded_by_itself(kit, ports, keyed, data, random, chosen):
    events = data.draw(ports.histories(len(chosen)))
    operations = [OPERATIONS[name]() for name in chosen]
    kernel = keyed_kernel(node(CoAggregateNode, operations, (lambda item: item.key) if keyed else None))
    assert type(kernel) is CoFoldKernel
    out, late = ports.Host(kernel, 3, random, [0] * len(chosen), live=False).run(events)
    groups = defaultdict(lambda: [[] for _ in chosen])
    for port, item in events:
        groups[kit.norm(item.key) if keyed else None][port].append(item)
    if not keyed:
        groups.setdefault(None, [[] for _ in chosen])
    expected = {
        key: tuple(naive(operation, items) for operation, items in zip(operations, sides, strict=True))
        for key, sides in groups.items()
    }
    got = {kit.norm(item[0]) if keyed else None: item[1] if keyed else item for item, _ in out}
    assert {key: repr(results) for key, results in got.items()} == {key: repr(r) for key, r in expected.items()}
    assert len(out) == len(expected)
    assert not late


def naive_windows(events, before, window):
    """Items by window and key, and the late ones."""
    found, late = {}, []
    for (port, item), mark in zip(events, before, strict=True):
        first = item.time // window.step * window.step + window.step
        ends = [end for end in range(first, item.time // window.step * window.step + window.size + 1, window.step)]
        ends = [end for end in ends if end > mark]
        if not ends:
            late.append((port, item))
        for end in ends:
            found.setdefault((end - window.size, end, item.key), []).append((port, item))
    return found, late


@given(
    data=st.data(),
    random=st.randoms(use_true_random=False),
    chosen=st.lists(names, min_size=2, max_size=3),
    window=st.sampled_from([windows.tumbling(10), windows.sliding(20, 5), windows.sliding(12, 6)]),
    lag=st.integers(0, 20),
    live=st.booleans(),
)
def test_windows(ports, data, random, chosen, window, lag, live):
    lags = [lag] * len(chosen)
    events = data.draw(ports.histories(len(chosen), keys=st.integers(0, 3)))
    operations = [OPERATIONS[name]() for name in chosen]
    kernel = keyed_kernel(node(CoWindowNode, operations, lambda item: item.key, window=window))
    assert type(kernel) is CoWindowKernel
    out, late = ports.Host(kernel, 3, random, lags, live=live).run(events)
    found, expected_late = naive_windows(events, ports.marks(events, lags, live=live), window)
    assert sorted(late) == sorted(expected_late)
    expected = {
        (start, end, key): tuple(
            plain(naive(operation, [item for at, item in items if at == port]))
            for port, operation in enumerate(operations)
        )
        for (start, end, key), items in found.items()
    }
    assert {(r.start, r.end, r.key): tuple(map(plain, r.value)) for r, _ in out} == expected
    assert len(out) == len(expected)
    assert all(time == result.end - 1 for result, time in out)


@given(data=st.data(), random=st.randoms(use_true_random=False), gap=st.integers(1, 20))
def test_a_session_is_one_of_all_inputs(ports, data, random, gap):
    events = data.draw(ports.histories(3, keys=st.integers(0, 3)))
    operations = [aggregations.counting(), OPERATIONS["folding"](), aggregations.to_list()]
    kernel = keyed_kernel(node(CoWindowNode, operations, lambda item: item.key, window=windows.session(gap)))
    assert type(kernel) is CoSessionKernel
    out, _ = ports.Host(kernel, 3, random, [0, 0, 0], live=False).run(events)
    expected = []
    for key in {item.key for _, item in events}:
        mine = sorted((e for e in events if e[1].key == key), key=lambda e: e[1].time)
        sessions = []
        for event in mine:
            if sessions and event[1].time < sessions[-1][-1][1].time + gap:
                sessions[-1].append(event)
            else:
                sessions.append([event])
        for session in sessions:
            sides = [[item for at, item in session if at == port] for port in range(3)]
            numbers = tuple(sorted(item.number for item in sides[1]))
            value = (len(sides[0]), numbers, sorted(sides[2], key=repr))
            expected.append((session[0][1].time, session[-1][1].time + gap, key, value))
    got = [(r.start, r.end, r.key, (r.value[0], r.value[1], sorted(r.value[2], key=repr))) for r, _ in out]
    assert sorted(got, key=repr) == sorted(expected, key=repr)


def test_a_whole_stage_gives_one_result_of_no_items(ports):
    import random

    kernel = keyed_kernel(node(CoAggregateNode, [aggregations.counting(), aggregations.averaging()], None))
    state = kernel.new_state()
    assert [item for chunk in kernel.on_end(state) for item in chunk] == [(0, None)]
    assert kernel.woken(5) == {0: b""}
    assert ports.Host(kernel, 2, random.Random(1), [None, None]).passed == BEGINNING


@pytest.mark.parametrize("window", [None, windows.tumbling(10), windows.session(10)])
def test_an_item_that_cannot_be_folded_is_left_out(ports, window):
    import random

    def strict(acc, item):
        if item.number == 2:
            raise ValueError("two")
        return acc + 1

    operations = [folding(strict, 0), folding(strict, 0)]
    kind, fields = (CoAggregateNode, {}) if window is None else (CoWindowNode, {"window": window})
    events = [(number % 2, ports.Event(0, 1, number)) for number in range(6)]
    kernel = keyed_kernel(node(kind, operations, lambda item: item.key, on_error="skip", **fields))
    out, _ = ports.Host(kernel, 1, random.Random(1), [0, 0], live=False).run(events)
    assert [(item[1] if window is None else item.value) for item, _ in out] == [(2, 3)]
    assert [item.number for item, _ in kernel.failed] == [2]
    failing = keyed_kernel(node(kind, operations, lambda item: item.key, **fields))
    with pytest.raises(ItemError, match="ValueError: two"):
        ports.Host(failing, 1, random.Random(1), [0, 0], live=False).run(events)


@pytest.mark.parametrize("other", [aggregations.counting(), folding(lambda acc, item: acc + 1, 0)])
def test_an_item_that_cannot_be_folded_is_put_aside_once_by_all_its_windows(ports, other):
    import random

    def strict(acc, item):
        if item.number == 2:
            raise ValueError("two")
        return acc + 1

    operations = [folding(strict, 0), other]
    events = [(number % 2, ports.Event(0, 1 + number, number)) for number in range(6)]
    fields = {"window": windows.sliding(30, 10), "on_error": "skip"}
    kernel = keyed_kernel(node(CoWindowNode, operations, lambda item: item.key, **fields))
    out, _ = ports.Host(kernel, 1, random.Random(1), [0, 0], live=False).run(events)
    assert [item.value for item, _ in out] == [(2, 3)] * 3
    assert [item.number for item, _ in kernel.failed] == [2]


@pytest.mark.parametrize("window", [None, windows.tumbling(10), windows.sliding(30, 10), windows.session(10)])
@pytest.mark.parametrize("other", [aggregations.counting(), folding(lambda acc, item: 1 / 0, 0)])
def test_a_key_whose_items_all_fail_has_no_result(ports, window, other):
    import random

    def strict(acc, item):
        raise ValueError(item.number)

    folded = other.combine is None
    operations = [folding(strict, 0), other]
    kind, fields = (CoAggregateNode, {}) if window is None else (CoWindowNode, {"window": window})
    events = [(number % 2 if folded else 0, ports.Event(0, 1 + number, number)) for number in range(4)]
    kernel = keyed_kernel(node(kind, operations, lambda item: item.key, on_error="skip", **fields))
    out, _ = ports.Host(kernel, 1, random.Random(1), [0, 0], live=False).run(events)
    assert out == []
    assert sorted(item.number for item, _ in kernel.failed) == [0, 1, 2, 3]


@pytest.mark.parametrize("window", [windows.tumbling(10), windows.session(10)])
def test_what_an_early_result_has_put_aside_is_not_met_again(ports, window):
    def strict(acc, item):
        if item:
            raise ValueError(item)
        return acc + 1

    operations = [folding(strict, 0), aggregations.counting()]
    fields = {"window": window, "on_error": "skip", "early": 1_000}
    kernel = keyed_kernel(node(CoWindowNode, operations, lambda item: "key", **fields))
    state, splitter = kernel.new_state(), kernel.splitter(1)
    items = TimedItems([0, 1, 0], [1, 2, 3])
    splitter.add(items)
    for _, payload in splitter.flush():
        assert not list(kernel.process(state, payload))
    found = [result.value for chunk in kernel.early(state) for result in chunk]
    assert (found, [item for item, _ in kernel.failed]) == ([(2, 0)], [1])
    found = [result.value for chunk in kernel.on_watermark(state, 1_000) for result in chunk]
    assert (found, [item for item, _ in kernel.failed]) == ([(2, 0)], [1])
