"""The state of a stage in the journal, against naive models: committed, crashed, restored, evicted in any order."""

from __future__ import annotations

import contextlib
import itertools
import math
import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge import aggregations
from jetbridge.errors import ItemError
from jetbridge.kernels import fold, group, order
from jetbridge.kernels.distinct import DistinctKernel
from jetbridge.kernels.fold import FoldKernel
from jetbridge.kernels.group import GroupKernel
from jetbridge.kernels.order import SortKernel
from jetbridge.kernels.rolling import RollingKernel
from jetbridge.store import Database, states
from jetbridge_direct import shard_logs
from jetbridge_direct import state as state_module
from jetbridge_direct.state import StageState

SHARDS = 3
CHUNK = 3  # items in a chunk that is emitted at the end, so that there are many


class _Nan:
    pass


NAN = _Nan()


def norm(key):
    """A dict's equality, but that NaN equals NaN."""
    if isinstance(key, tuple):
        return tuple(norm(part) for part in key)
    return NAN if key != key else key


def groups_of(items):
    groups = {}
    for item in items:
        groups.setdefault(norm(item[0]), []).append(item)
    return groups


def first(item):
    return item[0]


def order_key(item):
    return item[1] % 5


def listed(acc, item):
    acc.append(item[1])  # in place: what was emitted or stored must not change with it
    return acc


SUM = aggregations.folding(lambda acc, item: acc + item[1], initial=0, combiner=operator.add)
LISTED = aggregations.folding(listed, initial=[])
KERNELS = {
    "fold": lambda: FoldKernel("stage", first, SUM),
    "fold-in-place": lambda: FoldKernel("stage", first, LISTED),
    "fold-whole": lambda: FoldKernel("stage", None, SUM),
    "distinct": lambda: DistinctKernel("stage", first),
    "group": lambda: GroupKernel("stage", first),
    "sort": lambda: SortKernel("stage", order_key, False),
    "sort-reverse": lambda: SortKernel("stage", order_key, True),
    "rolling": lambda: RollingKernel("stage", first, SUM),
    "rolling-in-place": lambda: RollingKernel("stage", first, LISTED),
    "rolling-whole": lambda: RollingKernel("stage", None, SUM),
}


def running(results):
    """What a rolling aggregate must have emitted, by key."""
    return {key: list(itertools.accumulate(n for _, n in group)) for key, group in results.items()}


def check(name, items, out):
    """Compare what a stage has emitted for some items with what it must."""
    groups = groups_of(items)
    if name == "fold":
        assert len(out) == len(groups)
        assert {norm(k): v for k, v in out} == {k: sum(n for _, n in g) for k, g in groups.items()}
    elif name == "fold-in-place":
        assert len(out) == len(groups)
        assert {norm(k): v for k, v in out} == {k: [n for _, n in g] for k, g in groups.items()}
    elif name == "fold-whole":
        assert out == [sum(n for _, n in items)]
    elif name == "distinct":
        assert sorted(n for _, n in out) == sorted(g[0][1] for g in groups.values())
    elif name == "group":
        assert len(out) == len(groups)
        assert {norm(k): [n for _, n in g] for k, g in out} == {k: [n for _, n in g] for k, g in groups.items()}
    elif name.startswith("sort"):
        expected = sorted(items, key=order_key, reverse=name == "sort-reverse")
        assert [n for _, n in out] == [n for _, n in expected]
    elif name == "rolling-whole":
        assert out == list(itertools.accumulate(n for _, n in items))
    else:
        got = {}
        for key, result in out:
            got.setdefault(norm(key), []).append(result)
        if name == "rolling":
            assert got == running(groups)
        else:
            assert got == {k: [[n for _, n in g[: i + 1]] for i in range(len(g))] for k, g in groups.items()}


class Stage:
    """One stage with its journal; what was not committed is gone when it crashes."""

    def __init__(self, db, job, name):
        self.db, self.job, self.kernel = db, job, KERNELS[name]()
        self.items, self.out, self.draining, self.ended = [], [], False, False
        self.committed = (0, 0, None, False, False)
        self.state = StageState(self.kernel, job, db.reader)

    def feed(self, items):
        splitter = self.kernel.splitter(SHARDS)
        if items:
            splitter.add(list(items))
        self.items += items
        for shard, payload in splitter.flush():
            state = self.state.shard(shard)
            for chunk in self.kernel.process(state, payload):
                self.out += chunk
            self.state.changed(shard)
            self.state.settle(shard)

    def end(self, chunks):
        """Emit so many chunks of what is left, as an epoch does that ends early."""
        if self.kernel.always and not self.draining:
            self.state.shard(0)
        self.draining = True
        for number in self.state.numbers():
            state = self.state.shard(number)
            for chunk in self.kernel.on_end(state):
                assert len(chunk) <= max(CHUNK, 1) or self.kernel.kind == "group_by"
                self.out += chunk
                chunks -= 1
                if not chunks:
                    self.state.drained(number, wholly=not state)
                    return
            self.state.drained(number, wholly=True)
        self.ended = True

    def commit(self):
        writes = self.state.collect()
        with self.db.transaction() as tx:
            self.state.write(tx, writes)
        self.committed = (len(self.items), len(self.out), self.state.progress(), self.draining, self.ended)
        self.state.evict()

    def crash(self):
        count, emitted, progress, self.draining, self.ended = self.committed
        del self.items[count:], self.out[emitted:]
        self.state = StageState(self.kernel, self.job, self.db.reader)
        self.state.restore(progress)

    def forget(self):
        with self.db.transaction() as tx:
            states.clear(tx, self.job)


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    folder = tmp_path_factory.mktemp("state")
    folder.chmod(0o700)
    db = Database.open(folder)
    yield db
    db.close()


@pytest.fixture(scope="module", autouse=True)
def _small_chunks():
    with pytest.MonkeyPatch.context() as patch:
        for module in (fold, group, order):
            patch.setattr(module, "CHUNK_ITEMS", CHUNK)
        yield


@pytest.fixture
def cached(monkeypatch):
    """Sets how many bytes of state may stay in memory."""
    return lambda size: monkeypatch.setattr(state_module, "CACHE_BYTES", size)


keys = st.sampled_from([0, 1, True, 1.0, 2, "a", b"a", None, math.nan, float("nan"), (1, float("nan")), (), "b", 7])
actions = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), st.lists(keys, max_size=8)),
        st.tuples(st.just("commit"), st.none()),
        st.tuples(st.just("crash"), st.none()),
    ),
    max_size=30,
)
endings = st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["commit", "crash", "nothing"])), max_size=12)
jobs = itertools.count()


@pytest.mark.parametrize("name", KERNELS)
@given(actions=actions, endings=endings, cache=st.sampled_from([0, 200, 64 << 20]), most=st.sampled_from([4, 32]))
def test_any_sequence_gives_what_an_undisturbed_run_gives(db, name, actions, endings, cache, most):
    stage = Stage(db, f"job-{next(jobs)}", name)
    numbers = itertools.count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state_module, "CACHE_BYTES", cache)
        patch.setattr(shard_logs, "MOST_SEGMENTS", most)
        for action, argument in actions:
            if action == "feed":
                stage.feed([(key, next(numbers)) for key in argument])
            else:
                getattr(stage, action)()
        stage.commit()
        for chunks, action in endings:
            if not stage.ended:
                stage.end(chunks)
            if action != "nothing":
                getattr(stage, action)()
        if not stage.ended:
            stage.end(-1)
        stage.commit()
    assert stage.ended
    check(name, stage.items, stage.out)
    if stage.kernel.ends:
        assert list(states.segments(db.reader(), stage.job)) == [], "what was emitted is not kept"
    stage.forget()


@pytest.mark.parametrize("name", KERNELS)
def test_many_commits_keep_the_log_short_and_nothing_is_lost(db, name):
    stage = Stage(db, f"long-{name}", name)
    for start in range(0, 600, 4):
        stage.feed([(n % 7, n) for n in range(start, start + 4)])
        stage.commit()
        if start % 100 == 0:
            stage.crash()
    logs = {}
    for _, shard, _, _ in states.segments(db.reader(), stage.job):
        logs[shard] = logs.get(shard, 0) + 1
    assert logs
    assert max(logs.values()) <= shard_logs.MOST_SEGMENTS
    stage.crash()
    stage.end(-1)
    stage.commit()
    check(name, stage.items, stage.out)
    stage.forget()


@pytest.mark.parametrize("name", KERNELS)
def test_a_fresh_object_has_the_same_state(db, name):
    stage = Stage(db, f"fresh-{name}", name)
    for start in range(0, 200, 10):
        stage.feed(
            [(key, start + n) for n, key in enumerate([1, "a", math.nan, (1, math.nan), None, True, 2, 3, 4, 5])]
        )
        stage.commit()
    fresh = StageState(stage.kernel, stage.job, db.reader)
    fresh.restore(stage.state.progress())
    assert fresh.numbers() == stage.state.numbers()
    for number in fresh.numbers():
        ours, theirs = fresh.shard(number), stage.state.shard(number)
        assert sorted(map(repr, ours.items())) == sorted(map(repr, theirs.items()))
    assert fresh.records() == stage.state.records()
    stage.forget()


def test_shards_leave_memory_before_and_after_their_commit(db, cached):
    cached(1)
    stage = Stage(db, "leaving", "fold")
    stage.feed([(n, n) for n in range(100)])
    assert len(stage.state._shards) == 1
    assert len(stage.state.numbers()) == SHARDS
    stage.commit()
    assert len(stage.state._shards) == 1
    stage.feed([(n, n) for n in range(100)])
    assert len(stage.state._shards) == 1, "they were read back, and left again"
    stage.commit()
    stage.end(-1)
    check("fold", stage.items, stage.out)
    stage.forget()


def test_what_is_not_committed_yet_is_never_evicted(db, cached):
    """With AT_LEAST_ONCE most commits hold no state, and memory is the only place where it is."""
    cached(1)
    stage = Stage(db, "kept", "fold")
    stage.feed([(n, n) for n in range(100)])
    stage.commit()
    stage.feed([(n, n) for n in range(100)])
    stage.state.evict()
    stage.commit()
    stage.end(-1)
    check("fold", stage.items, stage.out)
    stage.forget()


def test_a_job_without_a_journal_writes_nothing_but_can_be_written_whole(db):
    kernel = KERNELS["group"]()
    state = StageState(kernel, "unguarded", None)
    splitter = kernel.splitter(SHARDS)
    splitter.add([(n % 5, n) for n in range(50)])
    for shard, payload in splitter.flush():
        assert list(kernel.process(state.shard(shard), payload)) == []
        state.changed(shard)
    assert state.collect() == []
    with db.transaction() as tx:
        state.write(tx, state.collect(whole=True))
    restored = StageState(kernel, "unguarded", db.reader)
    restored.restore(None)
    assert [restored.shard(n) for n in restored.numbers()] == [state.shard(n) for n in state.numbers()]
    with db.transaction() as tx:
        states.clear(tx, "unguarded")


def test_state_that_cannot_be_stored_names_its_stage(db):
    stage = Stage(db, "unstorable", "group")
    kernel = FoldKernel("bad", first, aggregations.folding(lambda acc, item: print, initial=None))
    state = StageState(kernel, "unstorable", db.reader)
    splitter = kernel.splitter(SHARDS)
    splitter.add([(1, 1)])
    for shard, payload in splitter.flush():
        with contextlib.suppress(StopIteration):
            next(iter(kernel.process(state.shard(shard), payload)))
        state.changed(shard)
    with pytest.raises(ItemError, match="'bad'") as caught:
        state.collect()
    assert caught.value.stage == "bad"
    stage.forget()
