"""A bound on how many of a stage work at once."""

from __future__ import annotations

import os
import time

import pytest

from jetbridge import Pipeline, PipelineError


def worked(n):
    """Long enough that each process of several gets some."""
    time.sleep(0.0005)
    return os.getpid()


@pytest.mark.parametrize("parallelism", [2])
@pytest.mark.parametrize(("bound", "processes"), [(1, 1), (2, 2), (64, 2)])
def test_no_more_than_the_bound_and_no_more_than_the_job_has(jet, bound, processes):
    found = jet.collect(range(2_000), lambda s: s.rebalance().map(worked).set_local_parallelism(bound))
    assert len(found) == 2_000
    assert len(set(found)) == processes


@pytest.mark.parametrize("parallelism", [2])
@pytest.mark.parametrize("bound", [1, 2])
def test_a_stage_right_behind_a_source(jet, bound):
    found = jet.collect(range(2_000), lambda s: s.map(worked).set_local_parallelism(bound).map(lambda pid: pid))
    assert len(found) == 2_000
    assert len(set(found)) <= bound


def test_every_kind_of_stage_takes_it(jet):
    pipeline, results = Pipeline.create(), jet.list()
    stage = pipeline.read_from(Pipeline.from_list("n", [3, 1])).set_local_parallelism(2)
    stage = stage.distinct().set_local_parallelism(1).sort().set_local_parallelism(1)
    stage.write_to(Pipeline.to_list(results.name)).set_local_parallelism(3)
    jet.run(pipeline)
    assert results.get_all() == [1, 3]


@pytest.mark.parametrize("bad", [0, -1, 1.5, None, True, "2"])
def test_what_is_no_positive_int_is_refused(says, bad):
    stage = Pipeline.create().read_from(Pipeline.from_list("n", [1])).set_name("numbers")
    with pytest.raises(PipelineError) as caught:
        stage.set_local_parallelism(bad)
    says(caught, "set_local_parallelism", "'numbers'", "positive int", repr(bad))
