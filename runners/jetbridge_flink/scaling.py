"""When a job is started again with another parallelism: TaskManagers that have joined, and those that have left.

Flink's own adaptive scheduler would do so within the cluster. Here a job is
stopped behind a savepoint and submitted anew, since each shard of a stage with
state is one key, whatever the parallelism: that is known to keep all of it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jetbridge_flink.steering import NO_ANSWER

if TYPE_CHECKING:
    from jetbridge_flink.rest import FlinkRest

_LOOK_SECONDS = 1.0
_SETTLED_SECONDS = 3.0  # for which TaskManagers must be there, or be gone
_BETWEEN_SECONDS = 30.0  # two changes of one job are at least so far apart


class Scaling:
    """Watches the TaskManagers for one start of a job.

    Args:
        rest: The cluster.
        enabled: Whether the job may use what joins (``auto_scaling_enabled``).
        parallelism: What the job has now.
        wanted: What it would have if there were room.
    """

    def __init__(self, rest: FlinkRest, *, enabled: bool, parallelism: int, wanted: int) -> None:
        self._rest = rest
        self._parallelism = parallelism
        self._may_grow = enabled and parallelism < wanted
        self._used = self._known = self._count()
        self._begun = self._looked = time.monotonic()
        self._since: float | None = None

    def joined(self) -> bool:
        """Whether a TaskManager has joined for good, and has room for more of the job."""
        if not self._may_grow or not self._due():
            return False
        try:
            view = self._rest.overview()
        except NO_ANSWER:
            return False
        if self._known is None or view.taskmanagers < self._known:
            self._known = view.taskmanagers  # one that comes back is one that joins
        more = view.taskmanagers > self._known and view.slots_available > 0
        return self._settled(more) and time.monotonic() - self._begun > _BETWEEN_SECONDS

    def left(self) -> bool:
        """Asked while the job does not run: whether a TaskManager has left for good, and no room for it is left."""
        if not self._due():
            return False
        try:
            view = self._rest.overview()
        except NO_ANSWER:
            return False
        fewer = self._used is not None and 0 < view.taskmanagers < self._used
        return self._settled(fewer and view.slots_total < self._parallelism, 4 * _SETTLED_SECONDS)

    def _due(self) -> bool:
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return False
        self._looked = time.monotonic()
        return True

    def _settled(self, so: bool, seconds: float = _SETTLED_SECONDS) -> bool:
        if not so:
            self._since = None
            return False
        self._since = self._since or time.monotonic()
        return time.monotonic() - self._since >= seconds

    def _count(self) -> int | None:
        try:
            return self._rest.overview().taskmanagers
        except NO_ANSWER:
            return None
