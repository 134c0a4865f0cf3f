"""Hash joins: items wait for the build side, whatever comes first, and get all their matches once."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge.errors import ItemError
from jetbridge.kernels.hash_join import BuildEnd, BuildKernel, HashJoinKernel
from jetbridge.kernels.rules import keyed_kernel
from jetbridge.plan.hash_join import BuildNode, HashJoinNode
from jetbridge.store import values
from jetbridge.times import Behind, TimedItems

SHARDS = 3


def join(fn=lambda item, match: (item, match), *, outer=True, as_list=False, entries=False, on_error="fail"):
    return keyed_kernel(
        HashJoinNode(
            id=2, name="join", named=False, inputs=(0, 1), key_fn=lambda item: item[0], fn=fn, outer=outer,
            as_list=as_list, entries=entries, on_error=on_error,
        )
    )  # fmt: skip


def build():
    return keyed_kernel(BuildNode(id=1, name="build", named=False, inputs=(0,), key_fn=lambda item: item[0]))


class Two:
    """A build side and its join on their shards; what changed is stored, and read back now and then."""

    def __init__(self, kernel, random):
        self.random = random
        self.build, self.join = build(), kernel
        assert type(self.build) is BuildKernel
        assert type(self.join) is HashJoinKernel
        self.built = [self.build.new_state() for _ in range(SHARDS)]
        self.states = [self.join.new_state() for _ in range(SHARDS)]
        self.logs = [[] for _ in range(SHARDS)]
        self.out = []

    def gather(self, chunk):
        splitter = self.build.splitter(SHARDS)
        splitter.add(chunk)
        for shard, payload in splitter.flush():
            assert list(self.build.process(self.built[shard], payload)) == []
        if self.random.random() < 0.5:  # stored and read back
            self.built = [self._again(state) for state in self.built]

    def _again(self, state):
        again = self.build.new_state()
        self.build.add(again, *values.decode(values.encode(self.build.entries(state))))
        assert bool(again) == bool(state)
        return again

    def end(self):
        """What the shards of the build side give at its end, in chunks, with a host that stops when it likes."""
        for shard, payload in self.build.woken(SHARDS).items():
            assert list(self.build.process(self.built[shard], payload)) == []
        left = set(range(SHARDS))
        while left:
            shard = self.random.choice(sorted(left))
            stop = self.random.choice([1, None])
            for chunk in (steps := self.build.on_end(self.built[shard])):
                yield chunk
                if stop:
                    steps.close()
                    break
            self.built[shard] = self._again(self.built[shard])
            left -= set() if self.built[shard] else {shard}

    def feed(self, port, chunks):
        splitter = self.join.splitter(SHARDS, port)
        for chunk in chunks:
            splitter.add(chunk)
        for shard, payload in splitter.flush():
            state = self.states[shard]
            for chunk in self.join.process(state, payload):
                times = chunk.times if type(chunk) is TimedItems else [None] * len(chunk)
                self.out += zip(chunk, times, strict=True)
            self.logs[shard].append(values.encode(self.join.changes(state, list(set(self.join.last)))))
            if self.random.random() < 0.3:
                self.states[shard] = self.join.new_state()
                for change in self.logs[shard]:
                    self.join.add(self.states[shard], *values.decode(change))


@given(
    data=st.data(), random=st.randoms(use_true_random=False), timed=st.booleans(),
    outer=st.booleans(), as_list=st.booleans(), entries=st.booleans(),
)  # fmt: skip
def test_every_item_gets_all_its_matches(kit, data, random, timed, outer, as_list, entries):
    pairs = st.lists(st.tuples(kit.small_keys, st.integers()), max_size=25)
    lefts, rights = data.draw(pairs), data.draw(pairs)
    two = Two(join(outer=outer, as_list=as_list, entries=entries), random)
    times = [Behind(n, n + 5) if n % 3 == 0 else n for n in range(len(lefts))]
    for bundle in data.draw(kit.cut(rights)):
        for chunk in bundle:
            two.gather(chunk)
    coming = [("probe", at) for at in range(len(lefts))] + [("build", chunk) for chunk in two.end()]
    random.shuffle(coming)  # also the marks may overtake what is before them
    for kind, what in coming:
        if kind == "build":
            two.feed(1, [what])
        else:
            two.feed(0, [TimedItems([lefts[what]], [times[what]]) if timed else [lefts[what]]])
    groups = defaultdict(list)
    for right in rights:
        groups[kit.norm(right[0])].append(right[1] if entries else right)
    expected = []
    for left, time in zip(lefts, times, strict=True):
        mine = groups.get(kit.norm(left[0]), [])
        if as_list:
            results = [(left, mine)] if mine or outer else []
        else:
            results = [(left, match) for match in mine] or ([(left, None)] if outer else [])
        expected += [(result, time if timed else None) for result in results]
    assert sorted(map(repr, two.out)) == sorted(map(repr, expected))
    marks = {repr(time): getattr(time, "watermark", None) for time in times if timed}
    assert all(getattr(time, "watermark", None) == marks.get(repr(time)) for _, time in two.out)
    assert all(name[0] != 1 for state in two.states for name in state), "nothing waits any more"


def test_every_shard_gives_its_mark_also_without_items():
    kernel = build()
    woken = kernel.woken(4)
    assert sorted(woken) == [0, 1, 2, 3]
    for shard, payload in woken.items():
        state = kernel.new_state()
        assert not state
        list(kernel.process(state, payload))
        assert state
        assert list(kernel.on_end(state)) == [[BuildEnd(shard, 0)]]
        assert not state


def test_a_function_that_fails():
    import random

    def fn(item, match):
        return item[1] // match[1]

    failing, careful = Two(join(fn), random.Random(1)), Two(join(fn, on_error="skip"), random.Random(1))
    for two in (failing, careful):
        two.gather([("a", 0), ("b", 2)])
        for chunk in two.end():
            two.feed(1, [chunk])
    with pytest.raises(ItemError, match="hash_join 'join' failed on item \\('a', 6\\): ZeroDivisionError"):
        failing.feed(0, [[("a", 6)]])
    careful.feed(0, [[("a", 6), ("b", 6)]])
    assert careful.out == [(3, None)]
    assert [item for item, _ in careful.join.failed] == [("a", 6)]
