"""The jobs on Bytewax 0.21, in one worker: its own operators, its sources and sinks in batches.

Its keys are strings, so a key function's result goes through str().
"""

import glob
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import bytewax.operators as op
import jobs
from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main
from jobs import Case

BATCH = 1_000


class _Ranges(StatelessSourcePartition[int]):
    def __init__(self, items: int) -> None:
        self.starts = iter(range(0, items, BATCH))
        self.items = items

    def next_batch(self) -> list[int]:
        start = next(self.starts)
        return list(range(start, min(start + BATCH, self.items)))


class _Lines(StatelessSourcePartition[str]):
    def __init__(self, pattern: str) -> None:
        self.batches = self._read(sorted(glob.glob(pattern)))

    def next_batch(self) -> list[str]:
        return next(self.batches)

    def _read(self, paths: list[str]) -> Iterator[list[str]]:
        for path in paths:
            file: TextIO
            with open(path, encoding="utf-8") as file:
                while lines := file.readlines(64 * 1024):
                    yield lines


class _Source(DynamicSource[Any]):
    def __init__(self, case: Case) -> None:
        self.case = case

    def build(self, step_id: str, worker_index: int, worker_count: int) -> StatelessSourcePartition[Any]:
        return _Lines(self.case.text) if self.case.text else _Ranges(self.case.items)


class _Collector(StatelessSinkPartition[Any]):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def write_batch(self, items: list[Any]) -> None:
        self.items.extend(items)


class _Sink(DynamicSink[Any]):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def build(self, step_id: str, worker_index: int, worker_count: int) -> StatelessSinkPartition[Any]:
        return _Collector(self.items)


class Contender:
    """Runs the jobs on Bytewax."""

    def __init__(self, parallelism: int) -> None:
        pass

    def run(self, job: str, case: Case) -> Callable[[], Any]:
        """Do a job; the returned function gives its result."""
        out: list[Any] = []
        flow = Dataflow(f"job_{job}")
        stream = op.input("in", flow, _Source(case))
        op.output("out", getattr(self, f"job_{job}")(stream, case), _Sink(out))
        run_main(flow)  # type: ignore[no-untyped-call]
        return lambda: dict(out) if job in "bcdg" else out

    def close(self) -> None:
        """Nothing is open."""

    def job_a(self, stream: Any, case: Case) -> Any:
        return op.flat_map("pair", op.filter("keep", op.map("triple", stream, jobs.triple), jobs.keep), jobs.pair)

    def job_b(self, stream: Any, case: Case) -> Any:
        return op.reduce_final("sum", op.key_on("key", stream, lambda x: str(jobs.key_100(x))), jobs.add)

    def job_c(self, stream: Any, case: Case) -> Any:
        key = jobs.key_of(case.keys)
        return op.reduce_final("sum", op.key_on("key", stream, lambda x: str(key(x))), jobs.add)

    def job_d(self, stream: Any, case: Case) -> Any:
        keyed = op.key_on("key", stream, lambda x: str(jobs.key_100(x)))
        return op.fold_final("fold", keyed, int, jobs.fold)

    def job_e(self, stream: Any, case: Case) -> Any:
        def first(seen: bool | None, x: int) -> tuple[bool, list[int]]:
            return True, [] if seen else [x]

        keyed = op.key_on("key", op.map("value", stream, jobs.key_of(case.keys)), str)
        return op.key_rm("unkey", op.stateful_flat_map("first", keyed, first))

    def job_f(self, stream: Any, case: Case) -> Any:
        def append(items: list[int], x: int) -> list[int]:
            items.append(x)
            return items

        keyed = op.key_on("key", op.map("scatter", stream, jobs.scatter), lambda _: "all")
        collected = op.key_rm("unkey", op.fold_final("collect", keyed, list, append))
        return op.flat_map("sort", collected, sorted)

    def job_g(self, stream: Any, case: Case) -> Any:
        return op.count_final("count", op.flat_map("words", stream, jobs.words), jobs.word_key)
