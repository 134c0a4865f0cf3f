"""Hypothesis strategies and the smallest host of kernels: no engine, every way of cutting the work."""

from __future__ import annotations

import datetime as dt
import enum
import itertools
import math
import uuid
from collections import defaultdict
from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import strategies as st

from jetbridge.kernels.stateless import CHUNK_ITEMS


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
        self.states = defaultdict(dict)
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
            self.states[0] = {}
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

    def __repr__(self):
        return "kit"


@pytest.fixture(scope="session")
def kit():
    """The strategies and helpers above, for the tests of this folder."""
    return Kit()
