from __future__ import annotations

import pytest

from jetbridge import JobStatus


def test_text_is_the_bare_name():
    assert [str(status) for status in JobStatus] == [status.name for status in JobStatus]
    assert f"{JobStatus.RUNNING}" == "RUNNING"


def test_two_statuses_are_terminal():
    assert {status for status in JobStatus if status.is_terminal()} == {JobStatus.COMPLETED, JobStatus.FAILED}


@pytest.mark.parametrize("status", [status for status in JobStatus if not status.is_terminal()], ids=str)
def test_every_job_that_has_not_ended_can_be_cancelled(status):
    assert status.can_become(JobStatus.FAILED)
    assert status in JobStatus.leading_to(JobStatus.FAILED)


@pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.FAILED], ids=str)
def test_an_ended_job_stays_so(status):
    assert not any(status.can_become(other) for other in JobStatus)


def test_a_job_completes_only_while_it_runs():
    assert JobStatus.leading_to(JobStatus.COMPLETED) == (JobStatus.RUNNING, JobStatus.COMPLETING)


def test_a_suspended_job_starts_again_from_the_beginning():
    assert JobStatus.SUSPENDED.can_become(JobStatus.NOT_RUNNING)
    assert not JobStatus.SUSPENDED.can_become(JobStatus.RUNNING)
