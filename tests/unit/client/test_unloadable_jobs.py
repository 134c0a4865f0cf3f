"""A job whose code cannot be loaded waits for a process that can, with its state; a first submission fails."""

from __future__ import annotations

import os
import sys

import pytest

from jetbridge import JobConfig, JobFailedError, JobStatus, Pipeline, StreamSource

GUARDED = {"processing_guarantee": "EXACTLY_ONCE"}


@pytest.mark.parametrize("call", ["resume", "restart"])
@pytest.mark.parametrize("guarantee", ["EXACTLY_ONCE", "NONE"])
def test_a_job_whose_module_is_missing_waits_for_it(client, jet, own, until, call, guarantee):
    [library] = own("site-packages", own_library="def doubled(number):\n    return 2 * number\n")
    pipeline = Pipeline.create()
    pipeline.read_from(StreamSource("numbers")).map(library.doubled).write_to(Pipeline.to_list("results"))
    config = JobConfig(name="double", processing_guarantee=guarantee)
    client.get_stream("numbers").publish_all([1, 2, 3])
    job = jet.submit(pipeline, config)
    results = client.get_list("results")
    until(lambda: results.size() == 3, "the results")
    if call == "resume":
        job.suspend()
    folder = sys.path.pop(0)
    getattr(job, call)()
    until(lambda: job.status is JobStatus.SUSPENDED and job.suspension_cause, "its suspension")
    assert "No module named 'own_library'" in job.suspension_cause
    assert "new_job_if_absent" in job.suspension_cause

    sys.path.insert(0, folder)
    client.get_stream("numbers").publish(4)
    assert jet.new_job_if_absent(pipeline, config).id == job.id
    expected = [2, 4, 6, 8] if guarantee == "EXACTLY_ONCE" else [2, 4, 6, 2, 4, 6, 8]
    until(lambda: results.size() == len(expected), "the other results")
    assert results.get_all() == expected
    job.cancel()


def test_a_first_submission_fails_and_says_why(jet, own, pipeline):
    source = f"""
        import os
        if os.getpid() != {os.getpid()}:
            raise ImportError("no licence in this process")
        def doubled(number):
            return 2 * number
        """
    [library] = own("site-packages", own_library=source)
    job = jet.submit(pipeline(library.doubled), JobConfig(**GUARDED))
    with pytest.raises(JobFailedError, match="cannot be loaded: ImportError: no licence in this process"):
        job.join(timeout=60)
