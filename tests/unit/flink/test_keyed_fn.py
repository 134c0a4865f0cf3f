"""The DoFn of stages with state, over a state and timers of the test's own: what is kept is kept as bytes."""

from __future__ import annotations

import itertools
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp

from jetbridge import CustomKernel, Pipeline, StreamSource
from jetbridge.kernels.segment import SegmentKernel
from jetbridge.plan.fuse import fuse
from jetbridge.store import values
from jetbridge.times import Clock
from jetbridge_flink import envelopes, shards, transforms
from jetbridge_flink.transforms import FIGURES, KeyedFn, beam_time
from jetbridge_flink.work import JobSpec

SHARDS = 4


class Bag:
    def __init__(self) -> None:
        self.segments: list[bytes] = []

    def read(self) -> list[bytes]:
        return list(self.segments)

    def add(self, segment: bytes) -> None:
        assert type(segment) is bytes
        self.segments.append(segment)

    def clear(self) -> None:
        self.segments = []


class Cell:
    def __init__(self) -> None:
        self.value: bytes | None = None

    def read(self) -> bytes | None:
        return self.value

    def write(self, value: bytes) -> None:
        assert type(value) is bytes
        self.value = value


class Timer:
    """A family of timers: `at` is the first of them, and setting it to None takes that one away."""

    def __init__(self) -> None:
        self.all: dict[str, Timestamp] = {}

    def set(self, at: Timestamp, dynamic_timer_tag: str = "") -> None:
        self.all[dynamic_timer_tag] = at

    @property
    def at(self) -> Timestamp | None:
        return min(self.all.values(), default=None)

    @at.setter
    def at(self, nothing: None) -> None:
        del self.all[min(self.all, key=lambda tag: self.all[tag])]


class Flow:
    """A stream with timestamps into one stage with state, as Flink runs it; ``forgetful`` keeps nothing decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, build: Any, *, forgetful: bool) -> None:
        self.monkeypatch = monkeypatch
        pipeline = Pipeline.create()
        build(pipeline.read_from(StreamSource("events")).with_timestamps(lambda item: item[1])).write_to(
            Pipeline.to_list("results")
        )
        plan = pipeline.plan()
        segments = {segment.root.id: segment for segment in fuse(plan)}
        self.spec = JobSpec("", f"job-{id(self)}", "job", f"run-{id(self)}", "start", "EXACTLY_ONCE", SHARDS, True)
        job = SimpleNamespace(
            nodes={node.id: node for node in plan.nodes},
            segments=segments,
            kernel=lambda node_id: SegmentKernel(segments[node_id], SHARDS, "jetbridge.job"),
        )
        monkeypatch.setattr(transforms, "work", lambda spec: job)
        self.reader = job.kernel(plan.sources[0].id)
        self.clock = Clock()
        [stage] = plan.keyed
        self.fn: Any = KeyedFn(self.spec, stage.id)
        self.fn.setup()
        self.forgetful = forgetful
        self.kept: dict[int, tuple[Bag, Cell, Timer]] = defaultdict(lambda: (Bag(), Cell(), Timer()))
        self.results: list[Any] = []
        self.chunks: set[tuple[str, int]] = set()

    def feed(self, items: list[Any]) -> None:
        self.reader.at(self.clock)
        for emission in (*self.reader.feed(items), *self.reader.flush()):
            log, about, timer = self.kept[emission.number]
            self.step(self.fn.process((emission.number, emission.payload), log=log, about=about, timer=timer))
        self.tell(beam_time(self.clock.watermark(self.reader.lags)))

    def tell(self, watermark: Timestamp) -> None:
        """Fire the timers that wait for no more than a watermark, until none does."""
        while due := [number for number, (*_, timer) in self.kept.items() if timer.at and timer.at <= watermark]:
            for number in due:
                log, about, timer = self.kept[number]
                at, timer.at = timer.at, None
                self.step(self.fn.on_timer(number=number, at=at, log=log, about=about, timer=timer))

    def step(self, outputs: Any) -> None:
        self.fn.start_bundle()
        for output in itertools.chain(outputs, self.fn.finish_bundle()):
            if output.tag != FIGURES:
                chunk: Any = envelopes.opened(output.value)
                assert (chunk.shard, chunk.sequence) not in self.chunks, "no number comes twice"
                self.chunks.add((chunk.shard, chunk.sequence))
                self.results += values.decode(chunk.payload)
        if self.forgetful:
            self.monkeypatch.setattr(shards, "SHARDS", shards.ShardCache())


def gathered(state: list[Any], key: Any, item: Any) -> Any:
    state.append(item[1])
    return "item", *item


def over(state: list[Any], key: Any, time: int) -> Any:
    return "over", key, list(state), time


class Gathering(CustomKernel):
    """The same as both, as a kernel of one's own."""

    drops_late = True

    def process(self, state: dict[Any, Any], key: Any, items: list[Any], times: list[int] | None) -> Any:
        assert times is not None
        for item, time in zip(items, times, strict=True):
            if state and time > state["all"][-1] + 10:
                yield from self.on_watermark(state, key, time)
            state.setdefault("all", []).append(time)
            yield "item", *item

    def due(self, state: dict[Any, Any], key: Any) -> int | None:
        return state["all"][-1] + 11 if state else None

    def on_watermark(self, state: dict[Any, Any], key: Any, watermark: int) -> Any:
        mine = state.pop("all")
        yield "over", key, mine, mine[-1] + 10


BUILDS = {
    "map_stateful": lambda s: s.group_by(lambda item: item[0]).map_stateful(list, gathered, ttl=10, on_evict=over),
    "custom": lambda s: s.group_by(lambda item: item[0]).custom(Gathering),
}
EVENTS = [(f"k{n * n % 7}", n * 3 + n * n % 11) for n in range(200)]


@pytest.mark.parametrize("forgetful", [False, True])
@pytest.mark.parametrize("size", [1, 9, 500])
@pytest.mark.parametrize("name", BUILDS)
def test_states_that_expire(monkeypatch: pytest.MonkeyPatch, name: str, size: int, forgetful: bool) -> None:
    flow = Flow(monkeypatch, BUILDS[name], forgetful=forgetful)
    for at in range(0, len(EVENTS), size):
        flow.feed(EVENTS[at : at + size])
    newest, on_time = 0, []
    for event in EVENTS:
        if event[1] >= newest:
            on_time.append(event)
        newest = max(newest, event[1])
    expected: list[Any] = [("item", *event) for event in on_time]
    for key in {key for key, _ in on_time}:
        times = [time for its, time in on_time if its == key]
        parts = [[times[0]]]
        for before, time in itertools.pairwise(times):
            parts.append([time]) if time > before + 10 else parts[-1].append(time)
        expected += [("over", key, part, part[-1] + 10) for part in parts if part[-1] + 10 < newest]
    assert len(on_time) < len(EVENTS)
    assert sorted(map(repr, flow.results)) == sorted(map(repr, expected))


def test_the_end_of_time_evicts_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for build in BUILDS.values():
        flow = Flow(monkeypatch, build, forgetful=True)
        flow.feed([("a", 5), ("b", 7), ("a", 8)])
        flow.tell(MAX_TIMESTAMP)
        overs = [each for each in flow.results if each[0] == "over"]
        assert sorted(overs) == [("over", "a", [5, 8], 18), ("over", "b", [7], 17)]
        assert all(log.segments == [] and timer.at is None for log, _, timer in flow.kept.values())


@pytest.mark.parametrize("key_fn", [None, lambda item: item[0]], ids=["dealt", "by key"])
def test_rebalancing_keeps_nothing(monkeypatch: pytest.MonkeyPatch, key_fn: Any) -> None:
    flow = Flow(monkeypatch, lambda s: s.rebalance(key_fn), forgetful=True)
    for at in range(0, len(EVENTS), 40):
        flow.feed(EVENTS[at : at + 40])
    assert sorted(flow.results) == sorted(EVENTS)
    assert all(log.segments == [] and timer.at is None for log, _, timer in flow.kept.values())
