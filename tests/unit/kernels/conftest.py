"""Hypothesis strategies and the smallest host of kernels: no engine, every way of cutting the work."""

from __future__ import annotations

import datetime as dt
import enum
import itertools
import math
import sys
import uuid
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from hypothesis import strategies as st

import jetbridge
from jetbridge.kernels.stamp import StampKernel
from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.plan.times import TimestampNode
from jetbridge.store import registered, values
from jetbridge.times import BEGINNING, Behind, TimedItems

FOLDER = str(Path(__file__).parent)
if FOLDER not in sys.path:
    sys.path.append(FOLDER)

import event_time  # noqa: E402 - found by the line above


class Colour(enum.Enum):
    RED = 1
    GREEN = "g"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Pair(NamedTuple):
    left: object
    right: object


ZONES = st.sampled_from(
    [None, dt.timezone.utc, dt.timezone(dt.timedelta(hours=1)), dt.timezone(-dt.timedelta(hours=5, minutes=30))]
)
EARLY, LATE = dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30)

plain_keys = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.integers(-(2**300), 2**300),
    st.sampled_from([0.0, -0.0, 1.0, 2.0, 0.5, math.nan, math.inf, -math.inf, 2.0**53, 1e300, 5e-324]),
    st.floats(),
    st.sampled_from([Decimal(1), Decimal("1.0"), Decimal("0.5"), Decimal("0.1"), Decimal("NaN"), Decimal("Infinity")]),
    st.decimals(allow_nan=False, allow_infinity=False, places=3),
    st.sampled_from(["", "1", "a", "é", "e\u0301", "🐢", "\udc80"]),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.sampled_from([*Colour, *Level]),
    st.datetimes(EARLY, LATE, timezones=ZONES),
    st.dates(),
    st.times(timezones=ZONES),
    st.timedeltas(),
    st.uuids(),
    st.just(uuid.UUID(int=1)),
)
keys = st.recursive(
    plain_keys,
    lambda inner: st.one_of(
        st.tuples(inner),
        st.tuples(inner, inner),
        st.builds(Pair, inner, inner),
        st.frozensets(inner, max_size=3),
    ),
    max_leaves=4,
)
"""Every type that may be a key, with many that equal one another."""

small_keys = st.one_of(
    st.integers(0, 4), st.sampled_from([True, 1.0, math.nan, float("nan"), None, "a", b"a", (1, math.nan), ()])
)
"""Keys of which few are different, so that most meet."""


class _Nan:
    def __repr__(self):
        return "NaN"


NAN, DECIMAL_NAN = _Nan(), _Nan()


def norm(key):
    """The naive model of key equality: what a dict does, but that NaN equals NaN."""
    if isinstance(key, float) and key != key:
        return NAN
    if isinstance(key, Decimal) and key.is_nan():
        return DECIMAL_NAN
    if isinstance(key, tuple):
        return tuple(norm(part) for part in key)
    if isinstance(key, frozenset):
        return frozenset(norm(part) for part in key)
    return key


def by_key(items, key_fn):
    """Naive grouping: {normal key: (first key, items in order)}."""
    groups = {}
    for item in items:
        key = key_fn(item)
        groups.setdefault(norm(key), (key, []))[1].append(item)
    return groups


@st.composite
def cut(draw, items):
    """Items cut into chunks, and the chunks into bundles."""
    cuts = sorted(draw(st.lists(st.integers(0, len(items)), max_size=6)))
    edges = [0, *cuts, len(items)]
    chunks = [items[a:b] for a, b in itertools.pairwise(edges) if a < b]
    ends = draw(st.lists(st.booleans(), min_size=len(chunks), max_size=len(chunks)))
    bundles = [[]]
    for chunk, end in zip(chunks, ends, strict=True):
        bundles[-1].append(chunk)
        if end:
            bundles.append([])
    return bundles


class Host:
    """Runs a keyed kernel as any host may: some bundles, some shards, and it may stop after any chunk."""

    def __init__(self, kernel, shards):
        self.kernel = kernel
        self.shards = shards
        self.states = defaultdict(kernel.new_state)
        self.reached = defaultdict(set)

    def feed(self, bundles):
        """What is emitted while the input comes."""
        out = []
        for bundle in bundles:
            splitter = self.kernel.splitter(self.shards)
            for chunk in bundle:
                before = list(chunk)
                splitter.add(chunk)
                assert len(chunk) == len(before), "a splitter must not change its chunk: other branches read it"
            payloads = list(splitter.flush())
            assert splitter.size == 0
            assert list(splitter.flush()) == [], "nothing is held after a flush"
            for shard, payload in payloads:
                assert 0 <= shard < (1 if self.kernel.single else self.shards)
                assert type(payload) is bytes
                for emitted in self.kernel.process(self.states[shard], payload):
                    out += self._checked(emitted)
        return out

    def end(self, stop_after=None):
        """What is emitted at the end, when the host stops after so many chunks each time."""
        out = []
        if self.kernel.always and not self.states:
            self.states[0] = self.kernel.new_state()
        for shard in sorted(self.states):
            state = self.states[shard]
            while True:
                taken = 0
                steps = self.kernel.on_end(state)
                for emitted in steps:
                    out += self._checked(emitted)
                    taken += 1
                    if taken == stop_after:
                        break
                steps.close() if hasattr(steps, "close") else None
                if taken != stop_after or not state:
                    break
            assert not state or not self.kernel.ends, "what was emitted leaves the state"
        return out

    def _checked(self, chunk):
        assert isinstance(chunk, list)
        assert 0 < len(chunk) <= CHUNK_ITEMS
        return chunk

    def run(self, bundles, stop_after=None):
        return self.feed(bundles) + self.end(stop_after)


class Kit:
    keys = keys
    small_keys = small_keys
    norm = staticmethod(norm)
    by_key = staticmethod(by_key)
    cut = staticmethod(cut)
    Host = Host
    event_time = event_time

    def __repr__(self):
        return "kit"


@pytest.fixture(scope="session")
def kit():
    """The strategies and helpers above, for the tests of this folder."""
    return Kit()


class PortHost:
    """Runs a kernel with several inputs as any host may.

    It chooses when bundles end and watermarks come, stops after any chunk, stores what changed and reads it back.

    Args:
        kernel: The kernel.
        shards: How many there are.
        random: What chooses.
        lags: That of each input's timestamps; None for an input without times.
        live: Whether there are watermarks.
    """

    def __init__(self, kernel, shards, random, lags, *, live=True):
        self.kernel = kernel
        self.shards = shards
        self.random = random
        self.stamps = [None if lag is None else self._stamp(lag, live) for lag in lags]
        self.lags = lags
        self.live = live
        self.states = defaultdict(kernel.new_state)
        self.touched = defaultdict(set)
        self.logs = defaultdict(list)
        self.splitters = {}
        self.passed = BEGINNING
        self.out, self.late = [], []

    @staticmethod
    def _stamp(lag, live):
        node = TimestampNode(
            id=0, name="times", named=False, inputs=(), fn=lambda item: item.time, lag=lag, idle=60_000
        )
        return StampKernel(node, live=live)

    def run(self, events):
        """All outputs as ``(item, time)`` and all late items as ``(port, item)``.

        Args:
            events: ``(port, item)`` in the order of arrival.
        """
        at = 0
        while at < len(events):
            end = at + 1
            while end < len(events) and events[end][0] == events[at][0] and self.random.random() < 0.7:
                end += 1
            self._feed(events[at][0], [item for _, item in events[at:end]])
            at = end
            if self.random.random() < 0.5:
                self._flush()
                if self.random.random() < 0.5:
                    self._advance(self._mark())
        self._flush()
        for shard, payload in self.kernel.woken(self.shards).items():
            state = self.states[shard]
            if payload:
                self._step(shard, self.kernel.process(state, payload))
        left = {shard for shard, state in self.states.items() if state} | set(self.kernel.woken(self.shards))
        while left and self.kernel.ends:
            for shard in sorted(left):
                self._store(shard)
                stop = self.random.choice([1, 2, None])
                self._step(shard, self.kernel.on_end(self.states[shard]), stop)
                assert stop or not self.states[shard], "what was emitted leaves the state"
                left -= set() if self.states[shard] else {shard}
        return self.out, self.late

    def _feed(self, port, items):
        stamp = self.stamps[port]
        chunk = list(items) if stamp is None else stamp(items)
        if port not in self.splitters:
            self.splitters[port] = self.kernel.splitter(self.shards, port)
        splitter = self.splitters[port]
        splitter.add(chunk)
        assert list(chunk) == list(items)
        self.late += [(port, item) for item in splitter.late]
        splitter.late.clear()

    def _flush(self):
        for splitter in self.splitters.values():
            for shard, payload in list(splitter.flush()):
                assert 0 <= shard < (1 if self.kernel.single else self.shards)
                self._step(shard, self.kernel.process(self.states[shard], payload))
            assert splitter.size == 0
            assert list(splitter.flush()) == []
        for shard in list(self.states):
            self._store(shard)

    def _mark(self):
        marks = [s.clock.watermark({s.name: lag}) for s, lag in zip(self.stamps, self.lags, strict=True) if s]
        return min(marks) if self.live and len(marks) == len(self.stamps) else BEGINNING

    def _advance(self, watermark):
        if not self.kernel.timed or watermark <= self.passed:
            return
        while True:
            due = [s for s in self.states if (at := self.kernel.due(self.states[s])) is not None and at <= watermark]
            for shard in due:
                self._step(
                    shard, self.kernel.on_watermark(self.states[shard], watermark), self.random.choice([1, None])
                )
                self._store(shard)
            if not due:
                break
        self.passed = watermark

    def _step(self, shard, chunks, stop=None):
        for count, chunk in enumerate(chunks, 1):
            assert len(chunk) > 0
            times = chunk.times if type(chunk) is TimedItems else [None] * len(chunk)
            assert all(time is None or time >= self.passed or type(time) is Behind for time in times)
            self.out += zip(chunk, times, strict=True)
            if count == stop:
                chunks.close()
                break
        if self.kernel.appends and stop is None:
            self.logs[shard].append(values.encode(self.kernel.last))
        else:
            self.touched[shard].update(() if self.kernel.appends else self.kernel.last)

    def _store(self, shard):
        if self.random.random() < 0.5 or self.kernel.appends:
            return
        state = self.states[shard]
        if state:
            self.logs[shard].append(values.encode(self.kernel.changes(state, list(self.touched[shard]))))
        else:
            self.logs[shard] = []
        self.touched[shard].clear()
        if self.random.random() < 0.5:
            again = self.kernel.new_state()
            for change in self.logs[shard]:
                self.kernel.add(again, *values.decode(change))
            assert bool(again) == bool(state)
            assert self.kernel.records(again) == self.kernel.records(state)
            self.states[shard] = again
            if state and self.random.random() < 0.5:
                self.logs[shard] = [values.encode(self.kernel.entries(again))]


class Event(NamedTuple):
    """An item with a time."""

    key: object
    time: int
    number: int


@st.composite
def histories(draw, ports=2, keys=small_keys, most=30):
    """Items of some inputs in the order of their arrival, with times that go up more or less."""
    events, at = [], [draw(st.integers(-50, 50))] * ports
    for number in range(draw(st.integers(0, most))):
        port = draw(st.integers(0, ports - 1))
        at[port] += draw(st.one_of(st.integers(0, 4), st.integers(-30, 30), st.just(100)))
        events.append((port, Event(draw(keys), at[port], number)))
    return events


def marks(events, lags, *, live=True):
    """The watermark of its input before each item."""
    newest = {}
    for port, item in events:
        yield newest[port] - lags[port] if live and port in newest else BEGINNING
        newest[port] = max(newest.get(port, item.time), item.time)


@pytest.fixture(scope="session")
def ports():
    """What tests of kernels with several inputs need."""
    return SimpleNamespace(Host=PortHost, Event=Event, histories=histories, marks=marks)


@pytest.fixture(scope="module", autouse=True)
def _stored_types():
    """Values of these classes may be stored, here alone: whoever submits a job sends it all that is registered."""
    before = dict(registered.by_name)
    for cls in (Colour, Level, Pair, Event, event_time.Item):
        jetbridge.register_type(cls)
    yield
    registered.by_name.clear()
    registered.by_name.update(before)
