"""Kernels of the user's get what the base class promises, and the check finds what is wrong with one."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge import CustomKernel
from jetbridge.custom_conformance import check_kernel
from jetbridge.errors import ItemError
from jetbridge.kernels.custom import CustomKeyedKernel
from jetbridge.plan.stateful import CustomNode
from jetbridge.store import values
from jetbridge.times import END, Behind, TimedItems


def first(item):
    return item[0]


class Ordered(CustomKernel):
    """The items of a key in the order of their times, when the watermark has passed them."""

    gives_times = True
    drops_late = True

    def process(self, state, key, items, times):
        state.setdefault("held", []).extend(zip(times, items, strict=True))
        return ()

    def due(self, state, key):
        return min(time for time, _ in state["held"]) + 1 if state.get("held") else None

    def on_watermark(self, state, key, watermark):
        held = sorted(state.pop("held"))
        rest = [pair for pair in held if pair[0] >= watermark]
        if rest:
            state["held"] = rest
        return [pair for pair in held if pair[0] < watermark]


class Pairs(CustomKernel):
    """Every two items of a key, and what is left at the end."""

    def process(self, state, key, items, times):
        for item in items:
            if "first" in state:
                yield state.pop("first"), item
            else:
                state["first"] = item

    def on_end(self, state, key):
        return [(state["first"], None)] if state else []


def kernel_of(kernel, key_fn=first):
    made = kernel()
    fields = {"gives_times": made.gives_times, "late": made.drops_late}
    return CustomKeyedKernel(CustomNode(0, "own", True, (), key_fn=key_fn, kernel=kernel, **fields))


def fed(kernel, state, items, times=None, shards=1):
    splitter = kernel.splitter(shards)
    splitter.add(list(items) if times is None else TimedItems(items, list(times)))
    out = []
    for _, payload in splitter.flush():
        out += [item for chunk in kernel.process(state, payload) for item in chunk]
    return out


@given(data=st.data(), shards=st.sampled_from([1, 128]))
def test_pairs(kit, data, shards):
    keys = data.draw(st.lists(kit.small_keys, max_size=30))
    items = list(zip(keys, range(len(keys)), strict=True))
    out = kit.Host(kernel_of(Pairs), shards).run(data.draw(kit.cut(items)), data.draw(st.sampled_from([None, 1])))
    expected = []
    for _, group in kit.by_key(items, first).values():
        numbers = [number for _, number in group]
        expected += itertools.zip_longest(numbers[::2], numbers[1::2])
    assert sorted((left[1], right and right[1]) for left, right in out) == sorted(expected, key=lambda pair: pair[0])


@given(data=st.data())
def test_what_is_due_comes_with_the_watermark_and_from_stored_state_too(kit, data):
    keys = data.draw(st.lists(kit.small_keys, max_size=20))
    times = data.draw(st.lists(st.integers(0, 50), min_size=len(keys), max_size=len(keys)))
    kernel = kernel_of(Ordered)
    state, out = kernel.new_state(), []
    fed(kernel, state, zip(keys, range(len(keys)), strict=True), times)
    for watermark in sorted(data.draw(st.lists(st.integers(0, 60), max_size=4))):
        due = kernel.due(state)
        held = [time for entry in state.values() for time, _ in entry["held"]]
        assert due == min((time + 1 for time in held), default=None)
        for chunk in kernel.on_watermark(state, watermark):
            out += zip(chunk.times, chunk, strict=True)
        assert {time for time, _ in out} == {time for time in times if time < watermark}
        changes = values.decode(values.encode(kernel.entries(state)))
        state = kernel.new_state()
        kernel.add(state, *changes)
    for chunk in kernel.on_end(state):
        out += zip(chunk.times, chunk, strict=True)
    for key, (_, group) in kit.by_key([(key, n) for n, key in enumerate(keys)], first).items():
        mine = [(time, number) for time, (its, number) in out if kit.norm(its) == key]
        assert mine == sorted((times[number], number) for _, number in group)


def test_a_key_whose_dict_is_empty_is_forgotten():
    kernel = kernel_of(Pairs)
    state = kernel.new_state()
    assert fed(kernel, state, [("a", 1), ("b", 2), ("a", 3)]) == [(("a", 1), ("a", 3))]
    assert dict(state) == {"b": {"first": ("b", 2)}}
    assert kernel.changes(state, list(kernel.last)) == (["b"], [{"first": ("b", 2)}], ["a"])


def test_the_whole_stage_is_the_key_none():
    class Keys(CustomKernel):
        def process(self, state, key, items, times):
            return [(key, items, times)]

    assert fed(kernel_of(Keys, None), kernel_of(Keys, None).new_state(), [1, 2]) == [(None, [1, 2], None)]
    assert fed(kernel_of(Keys, None), kernel_of(Keys, None).new_state(), [1, 2], [5, 6]) == [(None, [1, 2], [5, 6])]


@pytest.mark.parametrize("drops", [True, False])
def test_late_items(drops):
    class Times(CustomKernel):
        drops_late = drops

        def process(self, state, key, items, times):
            assert set(map(type, times)) == {int}, "what lies behind is a plain number to a kernel"
            return times

    kernel = kernel_of(Times)
    splitter = kernel.splitter(1)
    splitter.add(TimedItems([("a", 1), ("a", 2)], [Behind(3, 4), 5]))
    assert splitter.late == ([("a", 1)] if drops else [])
    [(_, payload)] = splitter.flush()
    assert [time for chunk in kernel.process(kernel.new_state(), payload) for time in chunk] == [3, 5][drops:]


class Failing(CustomKernel):
    def __init__(self, **faults):
        self.faults = faults

    def process(self, state, key, items, times):
        state["seen"] = state.get("seen", 0) + len(items)
        for item in items:
            yield 1 // item[1]

    def due(self, state, key):
        return self.faults.get("due")

    def on_watermark(self, state, key, watermark):
        return self.faults["step"]()

    def create(self):
        return self.faults.get("create", dict)()


def test_what_fails_is_named():
    kernel = kernel_of(Failing)
    with pytest.raises(ItemError, match="custom 'own' failed on item") as caught:
        fed(kernel, kernel.new_state(), [("a", 0)])
    assert caught.value.item == "('a', 0)"
    with pytest.raises(ItemError, match="custom 'own' failed while processing items of key 'a': ZeroDivisionError"):
        fed(kernel, kernel.new_state(), [("a", 1), ("a", 0)])


def test_with_care_the_items_that_fail_are_left_out():
    kernel = kernel_of(Failing)
    kernel.be_careful()
    state = kernel.new_state()
    assert fed(kernel, state, [("a", 1), ("a", 0), ("b", 0), ("a", 1)]) == [1, 1]
    assert [item for item, _ in kernel.failed] == [("a", 0), ("b", 0)]


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"create": lambda: 3}, "creating the state of key 'a': TypeError: create must return a dict; got 3"),
        ({"create": lambda: 1 // 0}, "creating the state of key 'a': ZeroDivisionError"),
        ({"due": 5, "step": lambda: []}, "moving on of key 'a': RuntimeError: on_watermark was called at 9"),
        ({"due": 5, "step": lambda: 1 // 0}, "the watermark of key 'a': ZeroDivisionError"),
    ],
    ids=["no dict", "create", "does not move on", "on_watermark"],
)
def test_a_kernel_that_breaks_its_promises(faults, message):
    kernel = kernel_of(lambda: Failing(**faults))
    state = kernel.new_state()

    def both():
        fed(kernel, state, [("a", 1)])
        list(kernel.on_watermark(state, 9))

    with pytest.raises(ItemError, match=message):
        both()


def test_with_care_a_key_whose_watermark_fails_is_left_out():
    kernel = kernel_of(lambda: Failing(due=5, step=lambda: 1 // 0))
    kernel.be_careful()
    state = kernel.new_state()
    fed(kernel, state, [("a", 1)])
    assert list(kernel.on_watermark(state, 9)) == []
    assert [item for item, _ in kernel.failed] == [("a", {})]
    assert dict(state) == {}


def test_results_without_the_times_that_were_promised():
    class Bare(CustomKernel):
        gives_times = True

        def process(self, state, key, items, times):
            return items

    kernel = kernel_of(Bare)
    with pytest.raises(ItemError, match=r"gives \(time, result\); got \('a', 1\)"):
        fed(kernel, kernel.new_state(), [("a", 1)], [1])


def test_the_end_is_the_last_watermark():
    class Told(CustomKernel):
        def process(self, state, key, items, times):
            state["at"] = 7
            return ()

        def due(self, state, key):
            return state.get("at")

        def on_watermark(self, state, key, watermark):
            return [(state.pop("at"), watermark)]

    kernel = kernel_of(Told)
    state = kernel.new_state()
    fed(kernel, state, [("a", 1)])
    assert list(kernel.on_end(state)) == [[(7, END)]]
    assert dict(state) == {}


EVENTS = [("a", 5), ("b", 3), ("a", 9), ("a", 1), ("b", 30), ("a", 14)]


def test_the_check_passes_what_is_right():
    found = check_kernel(Ordered, EVENTS, key_fn=first, time_fn=lambda event: event[1])
    assert found == {
        "a": [(1, ("a", 1)), (5, ("a", 5)), (9, ("a", 9)), (14, ("a", 14))],
        "b": [(3, ("b", 3)), (30, ("b", 30))],
    }
    assert check_kernel(Pairs, [1, 2, 3]) == {None: [(1, 2), (3, None)]}


class Hidden(CustomKernel):
    """Remembers in the instance what a new one does not know."""

    def __init__(self):
        self.count = 0

    def process(self, state, key, items, times):
        for _ in items:
            self.count += 1
            yield self.count


class Bundles(CustomKernel):
    """One result for what happens to come at once."""

    def process(self, state, key, items, times):
        return [len(items)]


class Hasty(CustomKernel):
    """Forgets by the watermark alone."""

    def process(self, state, key, items, times):
        for time in times:
            state["n"] = state.get("n", 0) + 1
            state["last"] = time
            yield state["n"]

    def due(self, state, key):
        return state["last"] + 2

    def on_watermark(self, state, key, watermark):
        state.clear()
        return ()

    def on_end(self, state, key):
        return ()


class Unstorable(CustomKernel):
    def process(self, state, key, items, times):
        state["fn"] = lambda: None
        return ()


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (Hidden, "stored and read back by a new instance it gives"),
        (Bundles, "7 at a time|2 at a time|1 at a time"),
        (Hasty, "the watermark told after each"),
        (Unstorable, "must be values that can be stored"),
        (dict, "must make a CustomKernel"),
    ],
)
def test_the_check_finds_what_is_wrong(kernel, message):
    with pytest.raises(AssertionError, match=message):
        check_kernel(kernel, sorted(EVENTS, key=lambda event: event[1]), first, lambda event: event[1])
