"""The jobs as one writes them in Beam's Python SDK, on the runner that jetbridge uses too (FnApiRunner).

The numbers come from ``beam.Create``, as Beam's own examples have it; the
results are collected in a list of this process, since that is the quickest way
out of a local Beam pipeline.
"""

from collections.abc import Callable
from typing import Any

import apache_beam as beam
import jobs
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from jobs import Case

COLLECTED: list[Any] = []


def collect(item: Any) -> None:
    """The sink: a module's function is pickled by name, and so reaches this process's list."""
    COLLECTED.append(item)


class Contender:
    """Runs the jobs on Beam."""

    def __init__(self, parallelism: int) -> None:
        pass

    def run(self, job: str, case: Case) -> Callable[[], Any]:
        """Do a job; the returned function gives its result."""
        COLLECTED.clear()
        pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([]))
        source = pipeline | beam.io.ReadFromText(case.text) if job == "g" else self.numbers(pipeline, case.items)
        _ = getattr(self, f"job_{job}")(source, case) | "collect" >> beam.Map(collect)
        pipeline.run().wait_until_finish()
        return lambda: dict(COLLECTED) if job in "bcdg" else list(COLLECTED)

    def numbers(self, pipeline: Any, items: int) -> Any:
        """The integers from 0."""
        return pipeline | beam.Create(range(items))

    def close(self) -> None:
        """Nothing is open."""

    def job_a(self, source: Any, case: Case) -> Any:
        return source | beam.Map(jobs.triple) | beam.Filter(jobs.keep) | beam.FlatMap(jobs.pair)

    def job_b(self, source: Any, case: Case) -> Any:
        return source | "key" >> beam.Map(lambda x: (jobs.key_100(x), x)) | beam.CombinePerKey(sum)

    def job_c(self, source: Any, case: Case) -> Any:
        key = jobs.key_of(case.keys)
        return source | "key" >> beam.Map(lambda x: (key(x), x)) | beam.CombinePerKey(sum)

    def job_d(self, source: Any, case: Case) -> Any:
        def fold_all(group: Any) -> tuple[int, int]:
            key, values = group
            total = 0
            for x in values:
                total = jobs.fold(total, x)
            return key, total

        keyed = source | "key" >> beam.Map(lambda x: (jobs.key_100(x), x))
        return keyed | beam.GroupByKey() | "fold" >> beam.Map(fold_all)

    def job_e(self, source: Any, case: Case) -> Any:
        return source | beam.Map(jobs.key_of(case.keys)) | beam.Distinct()

    def job_f(self, source: Any, case: Case) -> Any:
        keyed = source | "key" >> beam.Map(lambda x: (None, jobs.scatter(x)))
        return keyed | beam.GroupByKey() | "sort" >> beam.FlatMap(lambda group: sorted(group[1]))

    def job_g(self, source: Any, case: Case) -> Any:
        ones = source | beam.FlatMap(jobs.words) | "key" >> beam.Map(lambda word: (jobs.word_key(word), 1))
        return ones | beam.CombinePerKey(sum)
