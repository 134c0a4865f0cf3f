"""What a Flink cluster is to a job, whoever has started it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jetbridge_flink.rest import FlinkRest


class Workers(NamedTuple):
    """Where TaskManagers get their Python workers from: one of two ways.

    Attributes:
        pool: A worker pool, as host:port.
        command: The program that they start themselves, for each worker.
        elsewhere: Whether the workers may have another Python environment than the client: its folders of modules
            then come after theirs, and not in their place.
    """

    pool: str = ""
    command: str = ""
    elsewhere: bool = False


class FlinkCluster(Protocol):
    """A cluster that jobs are started on."""

    @property
    def address(self) -> str | None:
        """Where other clients find jobs that run on without the one that submitted them; None when none do."""

    @property
    def slots(self) -> int:
        """How many slots a job that is started now may use."""

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints, by Flink's job ids."""

    @property
    def savepoints(self) -> Path:
        """The folder of savepoints."""

    @property
    def workers(self) -> Workers:
        """Where its workers come from."""

    def stand_by(self, pool: str) -> None:
        """Take the place of a worker pool that another client has left at an address, when that dies."""

    @property
    def configuration(self) -> Mapping[str, str]:
        """Options of Flink that each job brings with it."""

    def rest(self) -> FlinkRest:
        """A new client of its REST service."""

    def job_jar(self, proto_json: bytes, options_json: bytes) -> bytes:
        """The jar of a job for this cluster."""

    def close(self) -> None:
        """Let go of it. A second call does nothing."""
