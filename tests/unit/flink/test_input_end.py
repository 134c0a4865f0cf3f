"""When a bounded job has read its input: what Flink's metrics tell, and when they may be those of an attempt before."""

from __future__ import annotations

import dataclasses

import pytest

from jetbridge_flink.input_end import END_OF_TIME, InputEnd
from jetbridge_flink.rest_views import JobView

END, BEFORE = END_OF_TIME, -(2**63)
VIEW = JobView("RUNNING", (), now=1_000, running=900)


@dataclasses.dataclass
class Answers:
    """What a cluster would answer."""

    marks: list[list[int]]
    configured: dict[str, str] = dataclasses.field(default_factory=dict)

    def watermarks(self, job_id: str) -> list[list[int]]:
        assert job_id == "job"
        return self.marks

    def options(self) -> dict[str, str]:
        return self.configured


def restarted(at: int, now: int) -> JobView:
    return dataclasses.replace(VIEW, restarted=at, running=at + 100, now=now)


@pytest.mark.parametrize(
    ("marks", "reached"),
    [
        ([], False),
        ([[], []], False),  # nothing is known yet
        ([[], [BEFORE, END]], False),
        ([[], [END, END], [7]], False),
        ([[], [END, END], [END]], True),
    ],
)
def test_the_end_is_reached_when_it_has_reached_all_subtasks(marks, reached):
    assert InputEnd(Answers(marks), "job").reached(VIEW) is reached


def test_after_a_restart_an_end_counts_that_follows_something_else():
    answers = Answers([[], [END], [END, END]])
    end = InputEnd(answers, "job")
    view = restarted(2_000, 2_200)
    assert not end.reached(view)  # of the attempt before, as far as one can tell
    answers.marks = [[], [BEFORE], [END, 5]]
    assert not end.reached(view)
    answers.marks = [[], [END], [END, END]]
    assert not end.reached(view)  # one has told nothing else yet
    answers.marks = [[], [END], [BEFORE, END]]
    assert not end.reached(view)
    answers.marks = [[], [END], [END, END]]
    assert end.reached(view)
    assert not end.reached(restarted(3_000, 3_200))  # and another restart


@pytest.mark.parametrize(
    ("configured", "stale"),
    [
        ({}, 610_000),
        ({"web.timeout": "10000", "metrics.fetcher.update-interval": "500"}, 10_500),
        ({"web.timeout": "1 min", "metrics.fetcher.update-interval": "500"}, 600_500),
    ],
)
def test_after_a_restart_an_end_counts_when_metrics_must_be_new(configured, stale):
    end = InputEnd(Answers([[], [END]], configured), "job")
    assert not end.reached(restarted(2_000, 2_100 + stale))
    assert end.reached(restarted(2_000, 2_101 + stale))
