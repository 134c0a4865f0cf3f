"""Whether a bounded job has read all of its input, found out by the watermarks that Flink tells.

Flink's JobManager gathers metrics from the TaskManagers while it is asked for them. It
asks again only when all have answered, or `web.timeout` is over (ten minutes, unless
configured): when a TaskManager dies in between, metrics stand still for so long. And it
keeps what it knows of a task until it hears from the task's next attempt. So an end that
it tells after a restart can be that of the attempt before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jetbridge_flink.rest import FlinkRest
    from jetbridge_flink.rest_views import JobView

END_OF_TIME = 2**63 - 1
_ANSWERS = {"web.timeout": 600_000, "metrics.fetcher.update-interval": 10_000}
"""What must be over until metrics are of now: Flink's options, in milliseconds, and their defaults."""


class InputEnd:
    """Watches one start of a job.

    Args:
        rest: The cluster.
        job_id: The job's id there.
    """

    def __init__(self, rest: FlinkRest, job_id: str) -> None:
        self._rest = rest
        self._job_id = job_id
        self._attempt = 0
        self._seen: set[tuple[int, int]] = set()  # subtasks that this attempt has told something of
        self._stale: int | None = None

    def reached(self, view: JobView) -> bool:
        """Whether the end of time has reached every operator, in the attempt that runs.

        Args:
            view: The job as it is now; it runs.
        """
        if view.restarted != self._attempt:
            self._attempt, self._seen = view.restarted, set()
        marks = self._rest.watermarks(self._job_id)
        found = {(i, k): mark for i, vertex in enumerate(marks) for k, mark in enumerate(vertex)}
        self._seen |= {place for place, mark in found.items() if mark < END_OF_TIME}
        if not found or any(mark < END_OF_TIME for mark in found.values()):
            return False
        # Without a restart there is no attempt before. After one, what was below the end once has been told anew.
        return not view.restarted or found.keys() <= self._seen or view.now - view.running > self._stale_ms()

    def _stale_ms(self) -> int:
        """For how long after a restart metrics can be those of the attempt before."""
        if self._stale is None:
            options = self._rest.options()
            given = {name: options.get(name, "") for name in _ANSWERS}
            self._stale = sum(int(given[name]) if given[name].isdecimal() else most for name, most in _ANSWERS.items())
        return self._stale
