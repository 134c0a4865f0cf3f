"""Functions with state against naive models, however items are cut and however often the watermark is told."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge.errors import ItemError
from jetbridge.kernels import stateful
from jetbridge.kernels.stateful import StatefulKernel
from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.plan.stateful import FilterStatefulNode, FlatMapStatefulNode, MapStatefulNode
from jetbridge.store import values
from jetbridge.times import Behind, TimedItems

shards = st.sampled_from([1, 2, 128])
NOTHING = ("gone",)


def first(item):
    return item[0]


def kernel_of(kind, create, fn, *, key_fn=first, **fields):
    return StatefulKernel(kind(0, "stateful", True, (), key_fn=key_fn, create=create, fn=fn, **fields))


class TimedHost:
    """A host that tells of watermarks, keeps only what it has stored, and may read all of it back at any time."""

    def __init__(self, kernel, shards):
        self.kernel = kernel
        self.shards = shards
        self.states = {}
        self.logs = {}
        self.out = []
        self.late = []

    def feed(self, items, times=None):
        splitter = self.kernel.splitter(self.shards)
        splitter.add(list(items) if times is None else TimedItems(items, list(times)))
        self.late += splitter.late
        for shard, payload in splitter.flush():
            state = self.states.setdefault(shard, self.kernel.new_state())
            self.take(self.kernel.process(state, payload))
            self.store(shard)

    def tell(self, watermark):
        for shard, state in self.states.items():
            while (due := self.kernel.due(state)) is not None and due <= watermark:
                self.take(self.kernel.on_watermark(state, watermark), stop_after=1)
                self.store(shard)

    def end(self):
        for shard, state in self.states.items():
            self.take(self.kernel.on_end(state))
            self.store(shard)

    def take(self, chunks, stop_after=None):
        for number, chunk in enumerate(chunks, 1):
            assert 0 < len(chunk) <= CHUNK_ITEMS
            self.out += zip(chunk, chunk.times if isinstance(chunk, TimedItems) else [None] * len(chunk), strict=True)
            if number == stop_after:
                chunks.close()
                break

    def store(self, shard):
        changes = self.kernel.changes(self.states[shard], list(set(self.kernel.last)))
        self.logs.setdefault(shard, []).append(values.encode(changes))

    def read_back(self):
        for shard, log in self.logs.items():
            state = self.states[shard] = self.kernel.new_state()
            for segment in log:
                self.kernel.add(state, *values.decode(segment))


@st.composite
def scenario(draw, kit, *, in_order):
    """Items (key, number) with times, in bundles, each with whether the state is read back, and a watermark or None."""
    keys = draw(st.lists(kit.small_keys, max_size=25))
    times = draw(st.lists(st.integers(0, 60), min_size=len(keys), max_size=len(keys)))
    items = list(zip(keys, range(len(keys)), strict=True))
    times = sorted(times) if in_order else times
    edges = sorted({0, len(items), *draw(st.lists(st.integers(0, len(items)), max_size=6))})
    bundles = []
    for start, end in itertools.pairwise(edges):
        latest = min(times[end:], default=max(times) + 100)
        watermark = draw(st.one_of(st.none(), st.integers(latest - 10, latest)))
        bundles.append((items[start:end], times[start:end], draw(st.booleans()), watermark))
    return items, times, bundles


def run(kernel, bundles, shards):
    host = TimedHost(kernel, shards)
    for items, times, back, watermark in bundles:
        host.feed(items, times)
        if watermark is not None:
            host.tell(watermark)
        if back:
            host.read_back()
    host.end()
    assert all(not state for state in host.states.values())
    return host


def remember(state, key, item):
    state.append(item[1])
    return item[0], list(state)


def expired(state, key, time):
    return key, state, "over"


def model(kit, items, times, ttl):
    """For each key, in order, what `remember` and `expired` give, with times."""
    found, states = {}, {}
    for (key, number), time in zip(items, times, strict=True):
        normal = kit.norm(key)
        mine = found.setdefault(normal, [])
        if normal in states and time > states[normal][1] + ttl:
            old, last = states.pop(normal)
            mine.append((old, "over", last + ttl))
        state, last = states.setdefault(normal, ([], time))
        state.append(number)
        states[normal] = state, max(last, time)
        mine.append((list(state), None, time))
    for normal, (state, last) in states.items():
        found[normal].append((state, "over", last + ttl))
    return found


def by_key(kit, out):
    found = {}
    for (key, state, *over), time in out:
        found.setdefault(kit.norm(key), []).append((state, over[0] if over else None, time))
    return found


@pytest.mark.parametrize("in_order", [True, False])
@given(data=st.data(), shards=shards, ttl=st.integers(1, 30))
def test_states_that_expire(kit, in_order, data, shards, ttl):
    items, times, bundles = data.draw(scenario(kit, in_order=in_order))
    kernel = kernel_of(MapStatefulNode, list, remember, ttl=ttl, on_evict=expired)
    assert by_key(kit, run(kernel, bundles, shards).out) == model(kit, items, times, ttl)


@given(data=st.data(), shards=shards)
def test_states_that_stay(kit, data, shards):
    items, times, bundles = data.draw(scenario(kit, in_order=False))
    host = TimedHost(kernel_of(MapStatefulNode, list, remember), shards)
    for part, their, back, _ in bundles:
        host.feed(part, their)
        if back:
            host.read_back()
    expected = model(kit, items, times, 10_000)
    assert by_key(kit, host.out) == {key: [each for each in mine if each[1] is None] for key, mine in expected.items()}
    assert not host.kernel.timed
    assert not host.kernel.ends


@given(data=st.data())
def test_the_whole_stage_is_one_key_of_shard_0(kit, data):
    items, times, bundles = data.draw(scenario(kit, in_order=True))
    fn, evict = (lambda state, item: remember(state, None, (0, item[1]))), (lambda state, time: (0, state, "over"))
    kernel = kernel_of(MapStatefulNode, list, fn, key_fn=None, ttl=7, on_evict=evict)
    host = run(kernel, bundles, 128)
    assert set(host.states) <= {0}
    expected = model(kit, [(0, number) for _, number in items], times, 7)
    assert [((0, state, over) if over else (0, state), time) for state, over, time in expected.get(0, [])] == host.out


@given(data=st.data(), shards=shards, ttl=st.sampled_from([None, 5, 50]))
def test_filter(kit, data, shards, ttl):
    """Every second item of a key since its state began."""
    items, times, bundles = data.draw(scenario(kit, in_order=True))

    def second(state, key, item):
        state["n"] = state.get("n", 0) + 1
        return state["n"] % 2 == 0

    out = run(kernel_of(FilterStatefulNode, dict, second, ttl=ttl), bundles, shards).out if ttl else None
    if ttl is None:
        host = TimedHost(kernel_of(FilterStatefulNode, dict, second), shards)
        for part, their, _, _ in bundles:
            host.feed(part, their)
        out = host.out
    expected = {
        key: [(state[-1], time) for state, over, time in mine if over is None and len(state) % 2 == 0]
        for key, mine in model(kit, items, times, ttl or 10_000).items()
    }
    found = {}
    for (key, number), time in out:
        found.setdefault(kit.norm(key), []).append((number, time))
    assert found == {key: mine for key, mine in expected.items() if mine}


@given(data=st.data(), shards=shards)
def test_flat_map(kit, data, shards):
    """As many items as the state has, and its items when it is over."""
    items, times, bundles = data.draw(scenario(kit, in_order=False))

    def fn(state, key, item):
        state.append(item[1])
        yield from ((key, number) for number in list(state))

    def over(state, key, time):
        return [(key, -number) for number in state]

    out = run(kernel_of(FlatMapStatefulNode, list, fn, ttl=9, on_evict=over), bundles, shards).out
    expected = {
        key: [(-n if over else n, time) for state, over, time in mine for n in state]
        for key, mine in model(kit, items, times, 9).items()
    }
    found = {}
    for (key, number), time in out:
        found.setdefault(kit.norm(key), []).append((number, time))
    assert found == expected


@given(data=st.data(), shards=shards, ttl=st.sampled_from([None, 1_000]))
def test_a_state_is_dropped_when_the_predicate_says_so(kit, data, shards, ttl):
    keys = data.draw(st.lists(kit.small_keys, max_size=25))
    items = list(zip(keys, range(len(keys)), strict=True))
    kernel = kernel_of(MapStatefulNode, list, remember, delete=lambda state: len(state) == 3, ttl=ttl)
    host = TimedHost(kernel, shards)
    for at in range(0, len(items), 4):
        host.feed(items[at : at + 4], range(at, at + len(items[at : at + 4])))
        host.read_back()
    for group in kit.by_key(items, first).values():
        numbers = [number for _, number in group[1]]
        mine = [state for (key, state), _ in host.out if kit.norm(key) == kit.norm(group[0])]
        assert mine == [numbers[i - i % 3 : i + 1] for i in range(len(numbers))]
    assert all(len(entry[0]) < 3 for state in host.states.values() for entry in state.values())


def test_an_item_at_the_very_end_of_a_states_life_finds_it():
    for last, expected in ((110, 2), (111, 1)):
        kernel = kernel_of(MapStatefulNode, list, remember, ttl=10)
        host = TimedHost(kernel, 1)
        host.feed([("a", 0)], [100])
        assert kernel.due(host.states[0]) == 111
        host.tell(110)
        host.feed([("a", 1)], [last])
        assert len(host.out[-1][0][1]) == expected
    host.tell(122)
    assert host.states == {0: {}}
    assert kernel.due(host.states[0]) is None


def test_evictions_come_in_the_order_of_their_times_and_in_chunks_after_each_of_which_the_host_may_stop(monkeypatch):
    monkeypatch.setattr(stateful, "CHUNK_ITEMS", 2)
    kernel = kernel_of(MapStatefulNode, list, remember, ttl=10, on_evict=expired)
    host = TimedHost(kernel, 1)
    host.feed([(key, 0) for key in "abcde"], [5, 3, 4, 1, 2])
    host.out.clear()
    host.tell(14)
    assert [(key, time) for (key, *_), time in host.out] == [("d", 11), ("e", 12), ("b", 13)]
    host.read_back()
    host.end()
    assert [(key, time) for (key, *_), time in host.out[3:]] == [("c", 14), ("a", 15)]
    host.read_back()
    assert host.states == {0: {}}


def test_an_eviction_without_a_function_or_with_none_gives_nothing():
    for evict in (None, lambda state, key, time: None):
        for kind in (MapStatefulNode, FlatMapStatefulNode):
            host = TimedHost(kernel_of(kind, list, lambda state, key, item: (), ttl=1, on_evict=evict), 1)
            host.feed([("a", 0)], [1])
            host.out.clear()
            host.end()
            assert host.out == []
            assert host.states == {0: {}}


def test_late_items_are_put_aside_where_states_expire():
    times = [5, Behind(3, 4), 6]
    for ttl, late in ((10, [("b", 1)]), (None, [])):
        host = TimedHost(kernel_of(MapStatefulNode, list, remember, ttl=ttl), 1)
        host.feed([("a", 0), ("b", 1), ("c", 2)], times)
        assert host.late == late
        assert len(host.out) == 3 - len(late)
        host.read_back()


def test_many_outputs_come_in_chunks():
    kernel = kernel_of(FlatMapStatefulNode, list, lambda state, key, item: range(CHUNK_ITEMS * 2 + 5))
    host = TimedHost(kernel, 1)
    host.feed([("a", 0), ("b", 1)])
    assert [item for item, _ in host.out] == [*range(CHUNK_ITEMS * 2 + 5)] * 2


def test_what_was_emitted_does_not_change_later():
    def fn(state, key, item):
        state.setdefault("rows", []).append(item[1])
        return state

    host = TimedHost(kernel_of(MapStatefulNode, dict, fn), 1)
    host.feed([("a", 0), ("a", 1)])
    assert [item for item, _ in host.out] == [{"rows": [0]}, {"rows": [0, 1]}]


def count(state, key, item):
    state.count += 1
    return state.count


def test_a_number_in_a_namespace():
    host = TimedHost(kernel_of(MapStatefulNode, lambda: SimpleNamespace(count=0), count), 1)
    host.feed([("a", 0), ("b", 0), ("a", 1)])
    host.read_back()
    host.feed([("a", 2)])
    assert [item for item, _ in host.out] == [1, 2, 1, 3]


def divide(state, key, item):
    state.append(item[1])
    return 1 // item[1]


@pytest.mark.parametrize("create", [lambda: 0, lambda: None, str, frozenset, bytes, lambda: True])
def test_a_state_that_cannot_be_changed_is_refused(create):
    host = TimedHost(kernel_of(MapStatefulNode, create, remember), 1)
    with pytest.raises(ItemError, match="create must return an object that fn can change, such as a dict"):
        host.feed([("a", 1)])


def test_a_function_that_raises_is_named_with_the_item():
    kernel = kernel_of(MapStatefulNode, list, divide)
    with pytest.raises(ItemError, match=r"map_stateful 'stateful' failed on item .*ZeroDivisionError") as caught:
        TimedHost(kernel, 1).feed([("a", 1), ("a", 0)])
    assert caught.value.item == "('a', 0)"


def test_a_flat_map_that_gives_no_iterable_is_named():
    kernel = kernel_of(FlatMapStatefulNode, list, lambda state, key, item: None)
    with pytest.raises(ItemError, match="must return an iterable"):
        TimedHost(kernel, 1).feed([("a", 1)])


def test_with_care_items_that_fail_are_left_out():
    kernel = kernel_of(MapStatefulNode, list, divide)
    kernel.be_careful()
    host = TimedHost(kernel, 1)
    host.feed([("a", 1), ("a", 0), ("b", 0), ("c", 1)])
    assert [item for item, _ in host.out] == [1, 1]
    assert [item for item, _ in kernel.failed] == [("a", 0), ("b", 0)]
    assert set(host.states[0]) == {"a", "c"}, "a key whose first item fails has no state"
    host.read_back()


def test_with_care_all_results_of_an_item_or_none():
    def fn(state, key, item):
        yield 1
        yield 1 // item[1]

    kernel = kernel_of(FlatMapStatefulNode, list, fn)
    kernel.be_careful()
    host = TimedHost(kernel, 1)
    host.feed([("a", 0), ("a", 1)])
    assert [item for item, _ in host.out] == [1, 1]
    assert [item for item, _ in kernel.failed] == [("a", 0)]


@pytest.mark.parametrize("kind", [MapStatefulNode, FilterStatefulNode, FlatMapStatefulNode])
def test_with_care_an_item_whose_predicate_fails_gives_nothing(kind):
    kernel = kernel_of(kind, list, lambda state, key, item: [item], delete=lambda state: 1 // 0)
    kernel.be_careful()
    host = TimedHost(kernel, 1)
    host.feed([("a", 0)])
    assert host.out == []
    assert [item for item, _ in kernel.failed] == [("a", 0)]
    assert dict(host.states[0]) == {}


@pytest.mark.parametrize("key_fn", [first, None], ids=["keyed", "whole"])
def test_an_eviction_that_fails(key_fn):
    def evict(*_):
        raise ValueError("no")

    fn = divide if key_fn else lambda state, item: divide(state, None, item)
    kernel = kernel_of(MapStatefulNode, list, fn, key_fn=key_fn, ttl=5, on_evict=evict)
    host = TimedHost(kernel, 1)
    host.feed([("a", 1)], [1])
    with pytest.raises(ItemError, match="evicting the state" + (" of key 'a'" if key_fn else "")):
        host.end()
    kernel.be_careful()
    host = TimedHost(kernel, 1)
    host.feed([("a", 1), ("a", 1)], [1, 100])
    host.end()
    assert [item for item, _ in host.out] == [1, 1]
    assert [item for item, _ in kernel.failed] == ([("a", [1])] * 2 if key_fn else [[1]] * 2)
