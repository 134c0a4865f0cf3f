"""On the Direct runner a job runs as epochs, and each of them is a Beam run of the translated pipeline.

A source of our own is opened in the job's process before the first epoch. It
puts a witness around FnApiRunner there, which notes each run with the names of
its transforms; nothing in jetbridge knows of it.
"""

from __future__ import annotations

import functools
import json
import time

import pytest

from jetbridge import JobConfig, Pipeline
from jetbridge.connectors import SplittableSource

RUNNERS = ["direct"]
COUNT = 800


class Witnessed(SplittableSource):
    """Numbers, cut into small slices; notes every Beam run of the process that opens it."""

    def __init__(self, count, path, name="numbers"):
        super().__init__(name)
        self.count = count
        self.path = path

    def open(self, context):
        from apache_beam.runners.portability.fn_api_runner import FnApiRunner

        super().open(context)
        if getattr(FnApiRunner, "witness", None) is None:
            FnApiRunner.witness = []
            path, run = self.path, FnApiRunner.run_via_runner_api

            @functools.wraps(run)
            def noted(runner, proto, options):
                names = sorted({t.unique_name.partition("/")[0] for t in proto.components.transforms.values()})
                FnApiRunner.witness.append(names)
                try:
                    return run(runner, proto, options)
                finally:
                    FnApiRunner.witness.pop()
                    with open(path, "a") as file:
                        file.write(json.dumps(names) + "\n")

            FnApiRunner.run_via_runner_api = noted

    def partitions(self):
        return ["0"]

    def split(self, partition, offset, limit):
        end = (offset or 0) + 100
        return end if end < self.count else None

    def read_range(self, partition, start, end):
        yield list(range(start or 0, self.count if end is None else end))


def inside_a_beam_run():
    """Whether this is the job's process, within a Beam run."""
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    return bool(getattr(FnApiRunner, "witness", None))


def slowly(n):
    """A thousandth of a second for each item, so that there are several epochs."""
    end = time.perf_counter() + 0.001
    while time.perf_counter() < end:
        pass
    return n


@pytest.fixture
def run(jet, tmp_path):
    def run(build, items=COUNT):
        path = tmp_path / "runs"
        path.touch()
        pipeline, results = Pipeline.create(), jet.list()
        build(pipeline.read_from(Witnessed(items, str(path)))).set_name("last").write_to(
            Pipeline.to_list(results.name)
        ).set_name("sink")
        job = jet.run(pipeline)
        runs = [json.loads(line) for line in path.read_text().splitlines()]
        return job.get_metrics(), [[name for name in names if name] for names in runs], results.get_all()

    return run


@pytest.mark.parametrize("parallelism", [1, 2])
def test_every_epoch_is_a_beam_run_of_the_translated_pipeline(run, parallelism):
    metrics, runs, results = run(
        lambda s: s.map(slowly).group_by(lambda n: n % 3).aggregate(accumulator=lambda a, n: a + n, initial=0)
    )
    assert sorted(results) == [(n, sum(range(n, COUNT, 3))) for n in range(3)]
    assert metrics.epoch_count > 1
    assert len(runs) == metrics.epoch_count
    assert len({json.dumps(names) for names in runs}) == 1, "each run is of the same translated pipeline"
    for stage in ("numbers", "last", "sink"):
        assert any(name.startswith(f"{stage}:") for name in runs[0]), runs[0]


@pytest.mark.parametrize("parallelism", [1, 2])
def test_an_epochs_stages_with_state_run_inside_its_beam_run(run, parallelism):
    _, _, results = run(
        lambda s: s.group_by(lambda n: n % 3).aggregate(
            accumulator=lambda acc, n: [*acc, inside_a_beam_run()], initial=[], finisher=all
        )
    )
    assert sorted(results) == [(0, True), (1, True), (2, True)]


def test_with_one_core_the_stateless_stages_do_too(run):
    _, _, results = run(lambda s: s.map(lambda n: inside_a_beam_run()))
    assert set(results) == {True}


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_job_without_items_is_a_beam_run_too(run, parallelism):
    metrics, runs, results = run(lambda s: s.map(str), items=0)
    assert results == []
    assert len(runs) == metrics.epoch_count == 1


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_beam_transform_that_groups_makes_the_job_one_epoch(run, parallelism):
    import apache_beam as beam

    metrics, runs, results = run(lambda s: s.map(slowly).apply_beam(beam.CombineGlobally(sum)))
    assert results == [sum(range(COUNT))]
    assert len(runs) == metrics.epoch_count == 1


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_beam_transform_that_holds_nothing_back_does_not(run, parallelism):
    import apache_beam as beam

    metrics, runs, results = run(lambda s: s.map(slowly).apply_beam(beam.Map(lambda n: -n)))
    assert sorted(results) == sorted(-n for n in range(COUNT))
    assert len(runs) == metrics.epoch_count > 1


def test_results_and_progress_are_seen_after_each_epoch(jet, tmp_path, until):
    """Every commit is whole: a prefix of the results, and the counts that belong to it."""
    pipeline, results = Pipeline.create(), jet.list()
    source = pipeline.read_from(Witnessed(COUNT, str(tmp_path / "runs")))
    source.map(slowly).write_to(Pipeline.to_list(results.name)).set_name("sink")
    job = jet.submit(pipeline, JobConfig(name=jet.name("epochs")))
    until(lambda: job.get_metrics().epoch_count >= 2 or job.is_terminal())
    metrics, seen = job.get_metrics(), results.get_all()
    assert seen == list(range(len(seen)))
    assert 0 < metrics.stages["sink"].received_count <= len(seen)
    job.join(timeout=60)
    assert results.get_all() == list(range(COUNT))
