"""Pipelines put together at random, as data: hypothesis shrinks them, and a failure prints the smallest."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import strategies as st

from jetbridge import Pipeline, testing
from jetbridge.kernels.aside import FailedItem
from jetbridge.times import LATEST
from tests.reference.operators import BINARY, OPERATORS, TIMES


@dataclass
class Program:
    """A pipeline as data.

    Attributes:
        stream: Whether its sources are streams.
        sources: For each source its partitions' items, and the lag; None for one without times.
        steps: Each an operator's name with the index of the stage that it follows, or one of `BINARY` with two.
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
            stages.append(BINARY[name].build(first, stages[above[1]]) if above[1:] else OPERATORS[name].build(first))
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
        other = draw(st.integers(0, len(known) - 1))
        both = ordered and known[other][0], has_times and known[other][1]

        def legal(op, ordered, has_times):
            return (ordered or not op.ordered) and (has_times or not op.timed) and not (stream and op.ends)

        names = [name for name, op in OPERATORS.items() if legal(op, ordered, has_times)]
        if other != above:
            names += [name for name, op in BINARY.items() if legal(op, *both)]
        name = draw(st.sampled_from(names))
        if name in BINARY:
            times = BINARY[name].times
            program.steps.append((name, (above, other)))
            # What comes of a hash join has the times of the first stage alone.
            kept = both[1] if name == "merge" else has_times
            known.append((False, kept if times is None else times))
            continue
        op = OPERATORS[name]
        program.steps.append((name, (above,)))
        known.append((ordered and op.keeps, has_times if op.times is None else op.times))
    return program


def counted(results):
    """How often each item is there, without the tracebacks of failures, which name lines."""
    return {
        name: Counter(item._replace(traceback="") if isinstance(item, FailedItem) else item for item in items)
        for name, items in results.items()
    }
