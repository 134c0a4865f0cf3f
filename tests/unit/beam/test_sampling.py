"""Bundles run without the thread that looks where their time goes."""

import threading

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.worker import statesampler

from jetbridge.beam.sampling import without_sampling

SEEN = []


class Look(beam.DoFn):
    """Notes the threads that run while an element is worked on, and who the current sampler belongs to."""

    def process(self, element):
        tracker = statesampler.get_current_tracker()
        SEEN.append([thread.name for thread in threading.enumerate()])
        assert tracker.tracked_thread is threading.current_thread()
        yield element


@pytest.mark.parametrize("sampling", [True, False])
def test_only_beams_own_bundles_are_sampled(monkeypatch, sampling):
    monkeypatch.setattr(statesampler.StateSampler, "start", statesampler.StateSampler.start)
    monkeypatch.setattr(statesampler.StateSampler, "stop", statesampler.StateSampler.stop)
    if not sampling:
        without_sampling()
    SEEN.clear()
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(flags=[]))
    _ = pipeline | beam.Create([1, 2, 3]) | beam.ParDo(Look())
    pipeline.run().wait_until_finish()
    assert len(SEEN) == 3
    assert any(name.endswith("(run)") for names in SEEN for name in names) is sampling
    assert statesampler.get_current_tracker() is None
