"""The jobs on jetbridge: embedded store, durable results, one or several cores."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import jobs
from jobs import Case

import jetbridge
from jetbridge import Pipeline
from jetbridge.aggregations import counting
from jetbridge.connectors import SplittableSource

CHUNK = 4_000


class Range(SplittableSource):
    """The integers from 0: a source that costs next to nothing and that all cores can share."""

    kind = "range"

    def __init__(self, items: int) -> None:
        super().__init__(name="range")
        self.items = items

    def partitions(self) -> list[str]:
        return ["0"]

    def start(self, partition: str) -> int:
        return 0

    def split(self, partition: str, offset: int, limit: int) -> int | None:
        end = offset + limit
        return end if end < self.items else None

    def read_range(self, partition: str, start: int, end: int | None) -> Iterator[list[int]]:
        stop = self.items if end is None else end
        for low in range(start, stop, CHUNK):
            yield list(range(low, min(low + CHUNK, stop)))

    def size(self, partition: str) -> int:
        return self.items

    def position(self, partition: str, offset: int) -> int:
        return offset


class Contender:
    """Runs the jobs on a client with a data folder of its own."""

    def __init__(self, parallelism: int) -> None:
        self.home = tempfile.mkdtemp(prefix="jetbridge-bench-")
        os.environ["JETBRIDGE_HOME"] = self.home
        self.client = jetbridge.connect(parallelism=parallelism)

    def run(self, job: str, case: Case) -> Callable[[], Any]:
        """Submit a job and wait for its end; the returned function gives its result."""
        pipeline = Pipeline.create()
        source = jetbridge.sources.text(case.text) if job == "g" else Range(case.items)
        sink = f"{job}-{case.items}"
        last = getattr(self, f"job_{job}")(pipeline.read_from(source), case)
        if job in "bcdg":
            last.write_to(Pipeline.to_map(sink))
        else:
            last.write_to(Pipeline.to_list(sink, clear=True))
        self.client.get_jet().submit(pipeline).join()
        if job in "bcdg":
            return lambda: dict(self.client.get_map(sink).entry_set())
        return lambda: self.client.get_list(sink).get_all()

    def close(self) -> None:
        """End the client and remove its data."""
        self.client.shutdown()
        shutil.rmtree(self.home)

    def job_a(self, stage: Any, case: Case) -> Any:
        return stage.map(jobs.triple).filter(jobs.keep).flat_map(jobs.pair)

    def job_b(self, stage: Any, case: Case) -> Any:
        return stage.group_by(jobs.key_100).aggregate(accumulator=jobs.add, initial=0, combiner=jobs.add)

    def job_c(self, stage: Any, case: Case) -> Any:
        return stage.group_by(jobs.key_of(case.keys)).aggregate(accumulator=jobs.add, initial=0, combiner=jobs.add)

    def job_d(self, stage: Any, case: Case) -> Any:
        return stage.group_by(jobs.key_100).aggregate(accumulator=jobs.fold, initial=0)

    def job_e(self, stage: Any, case: Case) -> Any:
        return stage.map(jobs.key_of(case.keys)).distinct()

    def job_f(self, stage: Any, case: Case) -> Any:
        return stage.map(jobs.scatter).sort()

    def job_g(self, stage: Any, case: Case) -> Any:
        return stage.flat_map(jobs.words).group_by(jobs.word_key).aggregate(counting())
