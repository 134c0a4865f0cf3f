"""Every error that jetbridge raises on purpose, in one tree.

::

    JetbridgeError
    ├── ConfigError                 a setting or a JobConfig field (also a ValueError)
    ├── PipelineError               a pipeline that cannot be built or run (also a ValueError)
    ├── UnsupportedByRunnerError    the runner cannot do what was asked
    ├── JobError
    │   ├── JobAlreadyExistsError   the name is taken by an active job
    │   ├── JobStateError           the job's status does not allow the call
    │   ├── JobFailedError          join(): the job failed
    │   ├── JobCancelledError       join(): the job was cancelled (also a CancelledError)
    │   └── TimeoutException        join(timeout): it has not ended (also a TimeoutError)
    ├── SnapshotError
    ├── SourceError                 what a source was to read cannot be read
    ├── SinkError                   what a sink was to write cannot be written
    ├── ItemError                   a user's function or an item failed in a stage
    ├── SerializationError          a value or a function cannot be stored or read back
    │   ├── KeyTypeError            a key is of a type that cannot be one (also a TypeError)
    │   └── UnknownTypeError        a stored value is of a class that this process has not registered
    ├── StoreError                  the data folder
    │   ├── DataFolderError         is no usable folder
    │   ├── CorruptDataError        a stored row does not match its checksum
    │   └── DiskFullError
    ├── ClusterError                a cluster cannot be started, or cannot do what a job needs
    └── ConnectionError             a cluster cannot be reached (also the built-in ConnectionError)

Errors of the libraries below (Beam, Flink, Hazelcast, SQLite, pyarrow) do not
leak: they are the ``__cause__`` of one of these.
"""

from __future__ import annotations

import builtins
import concurrent.futures


class JetbridgeError(Exception):
    """The root of the tree."""


class ConfigError(JetbridgeError, ValueError):
    """A setting or a field of JobConfig has a value that is not allowed, or is unknown."""


class PipelineError(JetbridgeError, ValueError):
    """The pipeline cannot be built: the message names the stage, what was got and what to do."""


class UnsupportedByRunnerError(JetbridgeError):
    """The chosen runner cannot honour what was asked; nothing was started."""


class JobError(JetbridgeError):
    """Something about one job."""


class JobAlreadyExistsError(JobError):
    """An active job has that name."""


class JobStateError(JobError):
    """The call is not allowed in the job's present status, which the message names."""


class JobFailedError(JobError):
    """The job ended in FAILED.

    Attributes:
        stage: The name of the stage that failed, or None when it was no stage.
        item: The repr of the item at hand, shortened, or None.
        user_traceback: The traceback of the user's function as text, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        stage: str | None = None,
        item: str | None = None,
        user_traceback: str | None = None,
    ) -> None:
        super().__init__(message)
        self.stage = stage
        self.item = item
        self.user_traceback = user_traceback


class JobCancelledError(JobError, concurrent.futures.CancelledError):
    """The job was cancelled by a user."""


class TimeoutException(JobError, TimeoutError):
    """The job did not end within the given time; it goes on, unless it is suspended."""


class SnapshotError(JetbridgeError):
    """A snapshot is unknown, damaged or does not fit the pipeline."""


class SourceError(JetbridgeError):
    """A source cannot be read: the message names the file or structure and the place in it."""


class SinkError(JetbridgeError):
    """A sink cannot be written."""


class ItemError(JetbridgeError):
    """A stage failed on an item. Inside a job it becomes a JobFailedError.

    Attributes:
        stage: The stage's name.
        item: The repr of the item, shortened, or None.
        user_traceback: The traceback of the user's function as text, or None.
        cause_type: The name of the user's exception, when it stayed in another process.
    """

    def __init__(
        self,
        message: str,
        *,
        stage: str,
        item: str | None = None,
        user_traceback: str | None = None,
        cause_type: str | None = None,
    ) -> None:
        super().__init__(message)
        self.stage = stage
        self.item = item
        self.user_traceback = user_traceback
        self.cause_type = cause_type


class SerializationError(JetbridgeError):
    """A function cannot travel to the worker, or a value cannot be stored or read back."""


class KeyTypeError(SerializationError, TypeError):
    """A key of a map or of a ``group_by`` is of a type that has no stable bytes: the message lists those that have."""


class UnknownTypeError(SerializationError):
    """A stored value is of a class that this process has not registered; nothing of it was run."""


class StoreError(JetbridgeError):
    """The data folder or something stored in it."""


class DataFolderError(StoreError):
    """The data folder cannot be used: not a folder, not writable, writable by others, too new."""


class CorruptDataError(StoreError):
    """A stored row does not match its checksum."""


class DiskFullError(StoreError):
    """The disk of the data folder is full; the last commit stands."""


class ClusterError(JetbridgeError):
    """A cluster cannot be started or cannot do what a job needs: the message says what is missing and what to do."""


class ConnectionError(JetbridgeError, builtins.ConnectionError):
    """A cluster cannot be reached."""
