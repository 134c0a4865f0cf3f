"""Random sequences of job calls against a model of the lifecycle, on real jobs."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis.stateful import run_state_machine_as_test
from job_machine import JobCalls

import jetbridge
from jetbridge.store import runs


@pytest.fixture
def explore(tmp_path, until, gone, chance, monkeypatch):
    """Run random sequences of calls, other ones each day."""

    def explore(examples, steps):
        machine = hypothesis.seed(chance.getrandbits(32))(lambda: JobCalls(home, until, gone))
        settings = hypothesis.settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        run_state_machine_as_test(machine, settings=settings)

    monkeypatch.setattr(runs, "HEALTHY_SECONDS", float("inf"))  # the model counts every death
    home = tmp_path / "home"
    with jetbridge.connect(home=home):  # a client that is open keeps the fork server
        yield explore


def test_random_calls(explore):
    explore(examples=8, steps=25)


@pytest.mark.full
@pytest.mark.parametrize("round_", range(6))
def test_many_random_calls(explore, round_):
    explore(examples=25, steps=40)
