"""The state of windows in the journal: committed, crashed, restored and evicted in any order."""

from __future__ import annotations

import itertools
import math
import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge import aggregations
from jetbridge.kernels import sessions, windowed
from jetbridge.kernels.sessions import SessionKernel
from jetbridge.kernels.windowed import WindowKernel
from jetbridge.plan.keyed import WindowNode
from jetbridge.store import Database
from jetbridge.times import END, TimedItems
from jetbridge.windows import SessionWindow, SlidingWindow
from jetbridge_direct import state as state_module
from jetbridge_direct.state import StageState

SHARDS = 3
SUM = aggregations.folding(lambda acc, item: acc + item[1], 0, operator.add)
LISTED = aggregations.folding(lambda acc, item: [*acc, item[1]], [])
KERNELS = {
    "tumbling": (SlidingWindow(10, 10), SUM),
    "tumbling-fold": (SlidingWindow(10, 10), LISTED),
    "sliding": (SlidingWindow(20, 5), SUM),
    "sliding-fold": (SlidingWindow(20, 5), LISTED),
    "session": (SessionWindow(6), SUM),
    "session-fold": (SessionWindow(6), LISTED),
}


def kernel(name, *, early=1):
    window, operation = KERNELS[name]
    node = WindowNode(
        id=1, name="stage", named=False, inputs=(0,), key_fn=first, operation=operation, window=window, early=early
    )
    return (SessionKernel if isinstance(window, SessionWindow) else WindowKernel)(node)


def first(item):
    return item[0]


class Stage:
    """A stage with its journal, whose source and results go back with it when it crashes."""

    def __init__(self, db, job, name, *, early=1):
        self.db, self.job, self.name = db, job, name
        self.kernel = kernel(name, early=early)
        self.state = StageState(self.kernel, job, db.reader)
        self.items, self.out = [], []
        self.committed = (0, 0, {}, {}, [])

    def feed(self, keys):
        splitter = self.kernel.splitter(SHARDS)
        items = [(key, len(self.items) + n) for n, key in enumerate(keys)]
        splitter.add(TimedItems(items, [self.time(n) for _, n in items]))
        self.items += items
        for shard, payload in splitter.flush():
            assert list(self.kernel.process(self.state.shard(shard), payload)) == []
            self.state.changed(shard)
            self.state.settle(shard)

    @staticmethod
    def time(number):
        return 3 * number - number * 7 % 5 + (40 if number > 20 else 0)

    def advance(self, watermark, stop=0):
        """Emit what is due, and stop after so many chunks of each shard."""
        while self.state.next_due() <= watermark:
            for number in self.state.due_by(watermark):
                steps = self.kernel.on_watermark(self.state.shard(number), watermark)
                for count, chunk in enumerate(steps, 1):
                    self.out += chunk
                    if count == stop:
                        break
                steps.close()
                self.state.changed(number)
                self.state.settle(number)

    def early(self):
        if not self.kernel.period:
            return
        for number in sorted(self.state.news):
            for chunk in self.kernel.early(self.state.shard(number)):
                assert all(result.is_early for result in chunk)
            self.state.told(number)
        assert self.state.news == set()

    def commit(self):
        writes = self.state.collect()
        with self.db.transaction() as tx:
            self.state.write(tx, writes)
        self.committed = (
            len(self.items),
            len(self.out),
            self.state.segments(),
            dict(self.state.due),
            sorted(self.state.news),
        )
        self.state.evict()

    def crash(self):
        count, emitted, segments, due, news = self.committed
        del self.items[count:], self.out[emitted:]
        self.state = StageState(self.kernel, self.job, self.db.reader)
        self.state.restore(None, segments=segments, due=due, news=news)


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    folder = tmp_path_factory.mktemp("state")
    folder.chmod(0o700)
    db = Database.open(folder)
    yield db
    db.close()


def shown(results):
    """NaN equals NaN."""
    return sorted(repr(tuple(result)) for result in results)


keys = st.sampled_from([0, 1, "a", b"a", None, math.nan, float("nan"), (1, float("nan")), 7])
actions = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), st.lists(keys, max_size=8)),
        st.tuples(st.just("advance"), st.integers(0, 2)),
        st.tuples(st.sampled_from(["commit", "crash", "early"]), st.none()),
    ),
    max_size=30,
)
jobs = itertools.count()


@pytest.mark.parametrize("name", KERNELS)
@given(actions=actions, cache=st.sampled_from([0, 2_000, 64 << 20]), early=st.sampled_from([0, 1]))
def test_any_sequence_gives_what_an_undisturbed_run_gives(db, name, actions, cache, early):
    stage = Stage(db, f"timed-{next(jobs)}", name, early=early)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state_module, "CACHE_BYTES", cache)
        for module in (windowed, sessions):
            patch.setattr(module, "CHUNK_ITEMS", 3)
        for action, argument in actions:
            if action == "feed":
                stage.feed(argument)
            elif action == "advance":
                stage.advance(stage.time(len(stage.items)) - 5, argument)  # nothing is late
            else:
                getattr(stage, action)()
        stage.commit()
        stage.crash()
        stage.advance(END, 1)
        assert stage.state.due == {}
        calm = Stage(db, f"timed-{next(jobs)}", name)
        calm.feed([key for key, _ in stage.items])
        calm.advance(END)
    assert shown(stage.out) == shown(calm.out)


def test_an_epoch_over_many_sessions_keeps_few_in_memory(db, monkeypatch):
    """Each epoch touches every shard, so shards must leave memory before the commit, and none may be lost."""
    budget, count = 1 << 20, 9_000
    stage = Stage(db, f"timed-{next(jobs)}", "session", early=0)
    stage.time = lambda number: number % count  # the sessions overlap in time, and all stay open
    stage.kernel.gap = 10 * count
    calm = Stage(db, f"timed-{next(jobs)}", "session", early=0)
    calm.time, calm.kernel.gap = stage.time, stage.kernel.gap
    for turn in range(3):
        calm.feed(range(count))
        with monkeypatch.context() as patch:
            patch.setattr(state_module, "CACHE_BYTES", budget)
            stage.feed(range(count))
            held = [stage.kernel.records(shard) for shard in stage.state._shards.values()]
            assert sum(held) <= count // SHARDS + 1_000, "before the commit"
            if turn != 1:  # as with AT_LEAST_ONCE, where most commits hold no state
                stage.commit()
    assert calm.state.records() == count
    stage.crash()
    for each in (stage, calm):
        each.advance(END)
    assert shown(stage.out) == shown(calm.out)
    assert len(stage.out) == count
