"""How much memory the processes of an embedded cluster get."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

from jetbridge.errors import ClusterError

_MB = 1 << 20
_SHARE = 0.4  # of the machine: the workers, the client and everything else need the rest
_MOST = 0.6  # of a small one: below that there would be no room for the workers
_BESIDES_HEAP = 350  # MB that the JobManager needs outside of its heap
METASPACE, OVERHEAD, FRAMEWORK_HEAP, FRAMEWORK_OFF_HEAP, TASK_OFF_HEAP = 256, 128, 128, 64, 192
_MANAGED = 32  # MB for each slot: a sort takes 0.4 at the least, and a job may have many
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Memory:
    """The sizes of a cluster's processes, in MB.

    Attributes:
        jobmanager_heap: The JobManager's heap: the graphs of jobs, and the class that translates pipelines.
        taskmanager_heap: The TaskManager's heap, in which Flink keeps the state of jobs.
        network: What the TaskManager holds for buffers between tasks.
        managed: What it has to sort batch jobs' items by their keys in.
    """

    jobmanager_heap: int
    taskmanager_heap: int
    network: int
    managed: int

    @property
    def jobmanager(self) -> int:
        """What the JobManager may come to."""
        return self.jobmanager_heap + _BESIDES_HEAP

    @property
    def direct(self) -> int:
        """What the TaskManager may hold outside of its heap in buffers."""
        return self.network + FRAMEWORK_OFF_HEAP + TASK_OFF_HEAP

    @property
    def taskmanager(self) -> int:
        """What the TaskManager may come to."""
        return self.taskmanager_heap + self.direct + self.managed + METASPACE + OVERHEAD

    @property
    def total(self) -> int:
        """What both may come to."""
        return self.jobmanager + self.taskmanager


def sized(slots: int, machine: int) -> Memory:
    """Memory for a cluster: at most about 40 % of the machine's, and no more than is of use.

    Example:
        >>> sized(slots=2, machine=16 << 30)
        Memory(jobmanager_heap=819, taskmanager_heap=2048, network=96, managed=64)
        >>> sized(slots=2, machine=1 << 30)
        Traceback (most recent call last):
        jetbridge.errors.ClusterError: a Flink cluster with 2 slots needs 1790 MB of memory, beside 1193 MB for ...

    Args:
        slots: How many slots the TaskManager has.
        machine: The machine's memory in bytes.

    Raises:
        ClusterError: When the machine is too small.
    """
    share = int(machine * _SHARE / _MB)
    jobmanager = min(max(share // 8, 256), 1024)
    network = 64 + 16 * slots
    managed = _MANAGED * slots
    least = Memory(jobmanager, 384, network, managed)
    if least.total > machine * _MOST / _MB:
        raise ClusterError(
            f"a Flink cluster with {slots} slot{'s' * (slots != 1)} needs {least.total} MB of memory, beside "
            f"{round(least.total * (1 - _MOST) / _MOST)} MB for Python's workers, and this machine or container has "
            f"{machine // _MB} MB; ask for fewer slots, or use the Direct runner"
        )
    return Memory(jobmanager, min(max(384, share - least.total + 384), 1024 * slots), network, managed)


def machine_memory() -> int:
    """The memory that processes here may use, in bytes: the machine's, or what its container is given."""
    limits = [psutil.virtual_memory().total]
    for path in _LIMITS:
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdigit():  # else it is "max"
            limits.append(int(text))
    return min(limits)
