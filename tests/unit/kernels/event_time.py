"""Windows by the naive model, over the whole input at once; and the smallest host of kernels that know watermarks."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from hypothesis import strategies as st

from jetbridge.kernels.aside import Aside, with_aside
from jetbridge.kernels.stamp import StampKernel
from jetbridge.plan.keyed import WindowNode
from jetbridge.plan.times import TimestampNode
from jetbridge.store import values
from jetbridge.times import BEGINNING, END, TimedItems
from jetbridge.windows import SessionWindow


class Item(NamedTuple):
    key: object
    time: int
    number: int


def key_of(item):
    return item.key


def time_of(item):
    return item.time


@st.composite
def histories(draw, keys, *, spread=40, most=25):
    """Items of one source partition in their order: more or less in the order of time, with ties and long pauses."""
    at = draw(st.sampled_from([0, 0, -25, 10**12, -(10**12), 8_899_999_000_000]))
    items = []
    for number in range(draw(st.integers(0, most))):
        step = draw(st.one_of(st.just(0), st.integers(0, 5), st.integers(-spread, spread), st.just(10 * spread)))
        at = min(at + step, 8_900_000_000_000)
        items.append(Item(draw(keys), at, number))
    return items


def watermarks(items, lag):
    """The partition's watermark before each item."""
    newest = None
    for item in items:
        yield BEGINNING if newest is None else newest - lag
        newest = item.time if newest is None else max(newest, item.time)


def naive_windows(items, marks, size, step, norm):
    """Items by window and key, in the order of arrival, and the late ones."""
    windows, late = defaultdict(list), []
    for item, mark in zip(items, marks, strict=True):
        first, last = item.time // step * step + step, item.time // step * step + size
        ends = [end for end in range(first, last + 1, step) if end > mark]
        for end in ends:
            windows[end - size, end, norm(item.key)].append(item)
        if not ends:
            late.append(item)
    return dict(windows), late


def naive_sessions(items, marks, gap, norm):
    """The same for sessions."""
    sessions, late = defaultdict(list), []
    for item, mark in zip(items, marks, strict=True):
        start, end = item.time, item.time + gap
        if end <= mark:
            late.append(item)
            continue
        mine = sessions[norm(item.key)]
        joined = [s for s in mine if s[1] > mark and s[0] < end and s[1] > start]
        rest = [s for s in mine if not any(s is j for j in joined)]
        members = sorted([item, *(member for s in joined for member in s[2])], key=lambda member: member.number)
        rest.append((min([start, *(s[0] for s in joined)]), max([end, *(s[1] for s in joined)]), members))
        sessions[norm(item.key)] = rest
    found = defaultdict(list)
    for key, ones in sessions.items():
        for start, end, members in ones:
            found[start, end, key] += members
    return dict(found), late


def naive(window, items, lag, norm, *, live=True):
    marks = list(watermarks(items, lag)) if live else [BEGINNING] * len(items)
    if isinstance(window, SessionWindow):
        return naive_sessions(items, marks, window.gap, norm)
    return naive_windows(items, marks, window.size, window.step, norm)


def node(window, operation, key_fn=key_of, **fields):
    return WindowNode(
        id=1, name="windows", named=False, inputs=(0,), key_fn=key_fn, operation=operation, window=window, **fields
    )


def stamp(lag=0, fn=time_of, *, live=True):
    at = TimestampNode(id=0, name="times", named=False, inputs=(), fn=fn, lag=lag, idle=60_000)
    return StampKernel(at, live=live)


class TimedHost:
    """Runs a kernel as any host may: it decides when watermarks come, stops after any chunk, stores state and reads it.

    Args:
        kernel: The kernel.
        lag: Of the timestamps.
        shards: How many there are.
        decide: Gives a number below its argument, for every decision.
        live: Whether there are watermarks.
    """

    def __init__(self, kernel, lag, shards, decide, *, live=True):
        self.kernel = kernel
        self.stamp = stamp(lag, live=live)
        self.lag = lag
        self.shards = shards
        self.decide = decide
        self.states = {}
        self.logs = defaultdict(list)
        self.touched = defaultdict(set)
        self.results, self.early, self.late, self.failed = [], [], [], []

    @property
    def watermark(self):
        return self.stamp.clock.watermark({"times": self.lag})

    def run(self, bundles):
        for bundle in bundles:
            splitter = self.kernel.splitter(self.shards)
            for chunk in bundle:
                timed = self.stamp(chunk)
                before, times = list(timed), list(timed.times)
                splitter.add(timed)
                assert (list(timed), timed.times) == (before, times), "other branches read the chunk, too"
                if self.decide(4) == 0:
                    self.flush(splitter)
            self.flush(splitter)
            self.late += splitter.late
            self.sometimes()
        self.advance(END, stops=True)
        assert not any(self.states.values()), "what was emitted leaves the state"
        return self

    def flush(self, splitter):
        for shard, payload in splitter.flush():
            assert type(payload) is bytes
            state = self.state(shard)
            self.took(with_aside(self.kernel, self.kernel.process(state, payload)))
            self.step(shard)
        assert splitter.size == 0
        assert list(splitter.flush()) == []

    def sometimes(self):
        choice = self.decide(5)
        if choice == 0:
            self.advance(self.watermark, stops=False)
        elif choice == 1:
            self.advance(self.watermark - self.decide(30), stops=True)
        elif choice == 2:
            self.read_back()
        elif choice == 3 and self.kernel.period:
            self.give_early()

    def state(self, shard):
        if shard not in self.states:
            self.states[shard] = self.kernel.new_state()
        return self.states[shard]

    def step(self, shard):
        self.touched[shard].update(self.kernel.last)
        if self.decide(3) == 0:
            self.store(shard)

    def advance(self, watermark, *, stops):
        for shard in sorted(self.states):
            while True:
                state = self.states[shard]
                due = self.kernel.due(state)
                if due is None or due > watermark:
                    break
                steps = self.kernel.on_watermark(state, watermark)
                limit = 1 + self.decide(3) if stops else None
                self.took(steps, limit)
                steps.close()
                self.step(shard)
                if stops and self.decide(3) == 0:
                    self.read_back()

    def give_early(self):
        for shard, state in sorted(self.states.items()):
            for chunk in with_aside(self.kernel, self.kernel.early(state)):
                if isinstance(chunk, Aside):
                    self.failed += chunk
                    continue
                assert all(result.is_early for result in chunk)
                self.early += chunk
            self.step(shard)
            assert list(self.kernel.early(state)) == [], "nothing has changed since"

    def took(self, chunks, limit=None):
        for number, chunk in enumerate(chunks, 1):
            if isinstance(chunk, Aside):
                self.failed += chunk
                continue
            assert isinstance(chunk, TimedItems)
            assert [result.end - 1 for result in chunk] == chunk.times
            self.results += chunk
            if number == limit:
                break
        self.failed += [item for item, _ in self.kernel.failed]
        self.kernel.failed.clear()

    def store(self, shard):
        """Append what has changed to the shard's log, as bytes."""
        state = self.states[shard]
        if not state:
            self.logs[shard] = []
        elif len(self.logs[shard]) > 5:
            self.logs[shard] = [values.encode(self.kernel.entries(state))]
        else:
            self.logs[shard].append(values.encode(self.kernel.changes(state, list(self.touched[shard]))))
        self.touched[shard].clear()

    def read_back(self):
        for shard in self.states:
            self.store(shard)
            state = self.states[shard] = self.kernel.new_state()
            for segment in self.logs[shard]:
                self.kernel.add(state, *values.decode(segment))
