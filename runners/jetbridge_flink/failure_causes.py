"""What is known to go wrong on Flink, by what its exceptions say, in plain language and with what to do."""

from __future__ import annotations

import re
from typing import NamedTuple


class Cause(NamedTuple):
    """Why a job failed.

    Attributes:
        kind: A short name.
        message: What happened and what to do.
    """

    kind: str
    message: str


SYMPTOMS = frozenset({"WorkerDied", "TaskManagerLost"})
"""Kinds of which another text may tell the reason."""


def cause_of(text: str) -> Cause | None:
    """The known cause of an exception.

    Args:
        text: The exception's text, with its causes and stacks.

    Example:
        >>> cause_of("...NoResourceAvailableException: Could not acquire the minimum required resources.").kind
        'NotEnoughSlots'
    """
    for kind, pattern, message in _KNOWN:
        found = pattern.search(text)
        if found is not None:
            detail = {name: value.strip() for name, value in found.groupdict(default="").items()}
            return Cause(kind, message.format(**detail))
    return None


def _known(kind: str, pattern: str, message: str) -> tuple[str, re.Pattern[str], str]:
    return kind, re.compile(pattern, re.S), message


# The first that fits is taken: reasons stand before what follows from them.
_KNOWN = (
    _known(
        "OutOfMemory",
        r"java\.lang\.OutOfMemoryError: (?P<what>[^\n]*)",
        "a Flink process ran out of memory ({what}): give the cluster more memory, or the job smaller items, "
        "less state or a lower parallelism",
    ),
    _known(
        "DiskFull",
        r"No space left on device|Disk quota exceeded",
        "the disk that Flink writes its checkpoints to is full: make room; the last complete checkpoint stands",
    ),
    _known(
        "SavepointMissing",
        r"Cannot find (?:checkpoint or savepoint file/directory|meta data file '_metadata' in directory) "
        r"'(?P<path>[^']*)'",
        "there is no savepoint at {path}, or the cluster cannot see it: every JobManager and TaskManager must reach "
        "it under that path",
    ),
    _known(
        "SavepointDoesNotFit",
        r"Failed to rollback to checkpoint/savepoint|Cannot map checkpoint/savepoint state|StateMigrationException",
        "the savepoint does not fit the pipeline: a stage that keeps state is gone or is another one now. Give the "
        "stages their former names, or start the job afresh",
    ),
    _known(
        "SavepointDamaged",
        r"Unexpected magic number"
        r"|JobInitializationException.*?(?:EOFException|StreamCorruptedException|CorruptStreamException)"
        r"|Could not restore (?:keyed|operator) state backend",
        "the savepoint is damaged or not whole: start the job from another snapshot, or afresh",
    ),
    _known(
        "NotEnoughSlots",
        r"NoResourceAvailableException",
        "the cluster has too few free slots for the job's parallelism: end other jobs, give a lower parallelism, or "
        "add TaskManagers",
    ),
    _known(
        "JobIdTaken",
        r"DuplicateJobSubmissionException",
        "the cluster has had a job with that id already: submit the job again",
    ),
    _known(
        "WrongJars",
        r"(?P<what>(?:NoSuchMethodError|NoSuchFieldError|NoClassDefFoundError|ClassNotFoundException"
        r"|AbstractMethodError|IncompatibleClassChangeError|UnsupportedClassVersionError|InvalidClassException)[^\n]*)",
        "the cluster's jars do not fit the job ({what}): they must be of the Flink version and the Beam release that "
        "jetbridge was made for, and each only once",
    ),
    _known(
        "WorkerNotStarted",
        r"RuntimeException: "
        r"(?P<what>(?:worker \S+ ended before it had connected|no process can be started for a worker)[^\n]*)",
        "a Python worker could not be started: {what}",
    ),
    _known(
        "WorkerNotStarted",
        r"Cannot run program \"(?P<command>[^\"]*)\"[^\n]*?(?:: error=\d+, |: )(?P<what>[^\n]*)",
        "a TaskManager cannot start the program of its Python workers, {command} ({what}): it must be there, and be "
        "executable, on the machine of each TaskManager (flink_worker_command)",
    ),
    _known(
        "WorkerNotStarted",
        r"Process died with exit code (?P<code>-?\d+)(?=.*ProcessEnvironmentFactory)",
        "the program that a TaskManager starts for a Python worker ended at once, with exit code {code}: run it by "
        "hand with --help to see whether jetbridge is installed there, and look at the TaskManager's output",
    ),
    _known(
        "WorkerPoolUnreachable",
        r"\A(?=.*ExternalEnvironmentFactory).*?Connection refused: [^\s/]*/(?P<address>\S+)",
        "the TaskManagers cannot reach the worker pool at {address}: it must run there, and be reachable from each "
        "of them",
    ),
    _known(
        "WorkerPoolUnreachable",
        r"StatusRuntimeException: (?P<what>(?:UNAVAILABLE|DEADLINE_EXCEEDED|UNIMPLEMENTED)[^\n]*)"
        r".*?ExternalEnvironmentFactory",
        "the worker pool does not answer the TaskManagers ({what}): it must run, and be reachable from each of them",
    ),
    _known(
        "CheckpointsFail",
        r"Exceeded checkpoint tolerable failure threshold",
        "checkpoints fail again and again: a stage may be too slow for them, or their folder cannot be written",
    ),
    _known(
        "WorkerDied",
        r"SDK Harness connection lost|call already cancelled|CANCELLED: client cancelled"
        r"|No client connected within timeout|Multiplexer hanging up|Failed to start remote bundle"
        r"|UNAVAILABLE: Network closed",
        "a Python worker process died: code of the pipeline ended it or crashed it, or the system killed it because "
        "memory ran out",
    ),
    _known(
        "TaskManagerLost",
        r"TaskManager with id \S+ is no longer reachable|Heartbeat of TaskManager with id \S+ timed out"
        r"|RemoteTransportException|TaskExecutor \S+ is shutting down"
        r"|Connection unexpectedly closed by remote task manager",
        "a TaskManager of the cluster was lost: it died or its machine cannot be reached",
    ),
)
