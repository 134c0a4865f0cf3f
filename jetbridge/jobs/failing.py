"""What a failure makes of a job: the fields of its record, the same on every runner."""

from __future__ import annotations

import time
from typing import Any

from jetbridge.job import JobStatus
from jetbridge.jobs.packing import UnloadableError


def fields_of(error: dict[str, Any], *, begun: bool, suspends: bool) -> dict[str, Any]:
    """What the record of a job is to say that has failed.

    Args:
        error: The error as its record.
        begun: Whether the job has been at work before: code that cannot be loaded now could be loaded then, and the
            job waits for a process that can, rather than lose its state.
        suspends: Whether its config lets failures suspend it.
    """
    unloadable = begun and error["type"] == UnloadableError.__name__
    if unloadable or suspends:
        suspended: dict[str, Any] = {"status": JobStatus.SUSPENDED.value, "owner": None, "error": error}
        if unloadable:
            # As if its client had ended: a script that is run again goes on with it.
            return {**suspended, "suspended_by": "client", "cause": f"{error['message']}. {_WHAT_TO_DO}"}
        return {**suspended, "suspended_by": "failure", "cause": error["message"]}
    return {"status": JobStatus.FAILED.value, "owner": None, "error": error, "end_time": int(time.time() * 1000)}


_WHAT_TO_DO = (
    "Nothing is lost: resume it where they are (in the environment that it was submitted in, its folders in sys.path), "
    "or run its script again, whose new_job_if_absent goes on with the job"
)
