"""Bundles without Beam's sampling of where their time goes.

Beam starts a thread for each bundle that looks at the running step now and then, less
often the longer the bundle takes, and the bundle's end waits for its next look: about
a twelfth of its time, and up to 0.2 s. Nothing of jetbridge reads what it finds.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apache_beam.runners.worker.statesampler import StateSampler


def without_sampling() -> None:
    """Let bundles of this process, and of those forked from it, run without; for processes of jetbridge's own."""
    from apache_beam.runners.worker import statesampler

    statesampler.StateSampler.start = _start
    statesampler.StateSampler.stop = _stop


def _start(sampler: StateSampler) -> None:
    from apache_beam.runners.worker.statesampler import set_current_tracker

    sampler.tracked_thread = threading.current_thread()
    set_current_tracker(sampler)
    sampler.started = True


def _stop(sampler: StateSampler) -> None:
    from apache_beam.runners.worker.statesampler import set_current_tracker

    set_current_tracker(None)
    sampler.finished = True
