"""Pipelines put together at random, as data: hypothesis shrinks them, and a failure prints the smallest."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from jetbridge import Pipeline, aggregations, testing, windows
from jetbridge.times import LATEST

TIMES = 200
"""Times are below it."""


def digest(value):
    """Any result as a small number, so that every stage can follow every other one."""
    return zlib.crc32(repr(value).encode()) % TIMES


def picky(n):
    """Fails on some numbers."""
    if n % 13 == 5:
        raise ValueError(f"not {n}")
    return n


def joined(text, n):
    return f"{text},{n}"[-40:]


@dataclass(frozen=True)
class Op:
    """An operator.

    Attributes:
        build: From a stage to the stage behind it, whose items are numbers below `TIMES`.
        ordered: Whether it needs the source's order.
        keeps: Whether it keeps the order.
        times: Whether what it gives has times: None as what it is given.
        timed: Whether it needs times.
        ends: Whether it needs the end of the input.
    """

    build: Any
    ordered: bool = False
    keeps: bool = False
    times: bool | None = None
    timed: bool = False
    ends: bool = False


def _window(window, key=None, operation=None):
    operation = operation or aggregations.summing(lambda n: n)
    grouped = (lambda s: s.group_by(key).window(window)) if key else (lambda s: s.window(window))
    return Op(lambda s: grouped(s).aggregate(operation).map(digest), timed=True, times=True)


OPERATORS: dict[str, Op] = {
    "map": Op(lambda s: s.map(lambda n: (n * 3 + 1) % TIMES), keeps=True),
    "filter": Op(lambda s: s.filter(lambda n: n % 4), keeps=True),
    "flat_map": Op(lambda s: s.flat_map(lambda n: [n, TIMES - 1 - n][: n % 3]), keeps=True),
    "skip": Op(lambda s: s.map(picky).on_error("skip"), keeps=True),
    "distinct": Op(lambda s: s.distinct().without_timestamps(), times=False),
    "distinct by key": Op(lambda s: s.distinct(lambda n: n % 17), ordered=True),
    "rolling": Op(
        lambda s: s.group_by(lambda n: n % 5).rolling_aggregate(aggregations.summing(lambda n: n)).map(digest),
        ordered=True,
    ),
    "fold in order": Op(
        lambda s: s.group_by(lambda n: n % 3).aggregate(accumulator=joined, initial="").map(digest),
        ordered=True, times=False, ends=True,
    ),
    "counts": Op(
        lambda s: s.group_by(lambda n: n % 7).aggregate(aggregations.counting()).map(digest), times=False, ends=True
    ),
    "sum": Op(lambda s: s.aggregate(aggregations.summing(lambda n: n)).map(digest), times=False, ends=True),
    "sort": Op(lambda s: s.sort(key_fn=lambda n: (n % 5, n)), times=False, ends=True),
    "groups": Op(
        lambda s: s.group_by(lambda n: n % 11).collect().map(lambda p: digest((p[0], sorted(p[1])))),
        times=False, ends=True,
    ),
    "untimed": Op(lambda s: s.without_timestamps(), keeps=True, times=False),
    "tumbling": _window(windows.tumbling(10), key=lambda n: n % 3),
    "tumbling whole": _window(windows.tumbling(7)),
    "sliding": _window(windows.sliding(30, 10), key=lambda n: n % 2),
    "sliding whole": _window(windows.sliding(12, 3), operation=aggregations.counting()),
    "session": _window(windows.session(5), key=lambda n: n % 3),
    "session whole": _window(windows.session(3), operation=aggregations.counting()),
    "tumbling in order": Op(
        lambda s: s.window(windows.tumbling(20)).aggregate(accumulator=joined, initial="").map(digest),
        timed=True, times=True, ordered=True,
    ),
    "sliding in order": Op(
        lambda s: s.window(windows.sliding(20, 5)).aggregate(accumulator=joined, initial="").map(digest),
        timed=True, times=True, ordered=True,
    ),
    "session in order": Op(
        lambda s: s.group_by(lambda n: n % 2).window(windows.session(4)).aggregate(joined, initial="").map(digest),
        timed=True, times=True, ordered=True,
    ),
    "window distinct": Op(
        lambda s: s.window(windows.tumbling(10)).distinct().map(digest), timed=True, times=True
    ),
}  # fmt: skip


@dataclass
class Program:
    """A pipeline as data.

    Attributes:
        stream: Whether its sources are streams.
        sources: For each source its partitions' items, and the lag; None for one without times.
        steps: Each an operator's name with the index of the stage that it follows, or "merge" with two.
    """

    stream: bool
    sources: list[tuple[list[list[int]], int | None]]
    steps: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)

    def build(self):
        """The pipeline, and what its sources give, by stage name."""
        pipeline, stages, inputs = Pipeline.create(), [], {}
        for number, (parts, lag) in enumerate(self.sources):
            name = f"source-{number}"
            # The last watermark lets every window of a stream end.
            last = [testing.watermark(LATEST)] if self.stream and lag is not None else []
            source = testing.scripted(*([*part, *last] for part in parts), name=name, ends=not self.stream)
            stage = pipeline.read_from(source)
            if lag is not None:
                stage = stage.with_timestamps(lambda n: n, allowed_lag=lag)
            stages.append(stage)
            inputs[name] = parts
        for name, above in self.steps:
            first = stages[above[0]]
            stages.append(first.merge(stages[above[1]]) if name == "merge" else OPERATORS[name].build(first))
        read = {index for _, above in self.steps for index in above}
        for index, stage in enumerate(stages):
            if index not in read:
                stage.write_to(Pipeline.to_list(f"sink-{index}"))
        return pipeline, inputs


@st.composite
def programs(draw, *, stream=None, most_items=60, most_steps=8):
    """Programs that are legal: no order is asked for where there is none, no window without times."""
    stream = draw(st.booleans()) if stream is None else stream
    items = st.lists(st.integers(0, TIMES - 1), max_size=most_items)
    timed = st.one_of(st.none(), st.integers(0, 30))
    sources = draw(st.lists(st.tuples(st.lists(items, min_size=1, max_size=2), timed), min_size=1, max_size=2))
    program = Program(stream, sources)
    # Of each stage: is its order that of the source, have its items times?
    known = [(len(parts) == 1, lag is not None) for parts, lag in sources]
    for _ in range(draw(st.integers(0, most_steps))):
        above = draw(st.integers(0, len(known) - 1))
        ordered, has_times = known[above]
        legal = ["merge"] + [
            name
            for name, op in OPERATORS.items()
            if (ordered or not op.ordered) and (has_times or not op.timed) and not (stream and op.ends)
        ]
        name = draw(st.sampled_from(legal))
        if name == "merge":
            other = draw(st.integers(0, len(known) - 1))
            program.steps.append((name, (above, other)))
            known.append((False, has_times and known[other][1]))
            continue
        op = OPERATORS[name]
        program.steps.append((name, (above,)))
        known.append((ordered and op.keeps, has_times if op.times is None else op.times))
    return program
