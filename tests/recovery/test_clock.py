"""A clock that jumps back: nothing is ordered by it."""

from __future__ import annotations

import time

from recovery_pipelines import batch, batch_outputs

DEADLINE = 120.0
DAY = 86_400.0


def test_a_clock_that_jumps_back(client, jet, killer, folder, config, counts, undisturbed, monkeypatch):
    earlier = jet.submit(batch("clock-before-", folder, 100), config("clock"))
    earlier.join(DEADLINE)
    real = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() - DAY)
        patch.setenv("RECOVERY_CLOCK_BACK", str(2 * DAY))
        job = jet.submit(batch("clock-", folder), config("clock"))
        assert killer.strike(job)
        patch.setenv("RECOVERY_CLOCK_BACK", str(3 * DAY))
        assert killer.strike(job)
        job.join(DEADLINE)
        assert job.submission_time < earlier.submission_time
        assert jet.get_job_by_name("clock").id == job.id, "the newest is the one that was submitted last"
        assert [each.id for each in jet.get_jobs("clock")] == [job.id, earlier.id]
        assert batch_outputs(client, "clock-", folder) == undisturbed[0]
        assert counts(job) == undisturbed[1]
        assert job.get_metrics().snapshots.count > 0
