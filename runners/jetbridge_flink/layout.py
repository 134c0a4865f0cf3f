"""Where what belongs to an embedded cluster lies in its data folder, and what its keeper says about it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetbridge.errors import ClusterError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Where what belongs to the cluster of a data folder lies.

    Attributes:
        home: The data folder.
    """

    home: Path

    @property
    def folder(self) -> Path:
        """All but the logs."""
        return self.home / "flink"

    @property
    def conf(self) -> Path:
        """Flink's configuration, written at each start."""
        return self.folder / "conf"

    @property
    def scratch(self) -> Path:
        """Uploaded jars, blobs and other files that mean nothing after the cluster's end."""
        return self.folder / "tmp"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints, by Flink's job ids."""
        return self.folder / "checkpoints"

    @property
    def savepoints(self) -> Path:
        """Savepoints."""
        return self.folder / "savepoints"

    @property
    def logs(self) -> Path:
        """Logs."""
        return self.home / "logs" / "flink"

    @property
    def status(self) -> Path:
        """What the keeper says about the cluster."""
        return self.folder / "cluster.json"

    @property
    def leases(self) -> Path:
        """The lock that clients share."""
        return self.folder / "leases.lock"

    @property
    def keeper_lock(self) -> Path:
        """The lock that the keeper holds."""
        return self.folder / "keeper.lock"

    def make(self) -> None:
        """Make the folders.

        Raises:
            ClusterError: When they cannot be made, or Flink could not use them.
        """
        for part in (",", ":", "${"):  # Flink and Java would take them for something else
            if part in str(self.home):
                raise ClusterError(
                    f"Flink cannot use the data folder {self.home}, since its path has a '{part}' in it; "
                    "choose another one (home=..., JETBRIDGE_HOME)"
                )
        try:
            for path in (self.folder, self.conf, self.scratch, self.checkpoints, self.savepoints, self.logs):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ClusterError(f"{error.filename} cannot be made: {error.strerror}") from error

    def read_status(self) -> dict[str, Any] | None:
        """What the keeper last said, if anything."""
        try:
            return dict(json.loads(self.status.read_text()))
        except (OSError, ValueError):
            return None

    def write_status(self, status: dict[str, Any]) -> None:
        """Say something as the keeper; who reads sees all of it or what was said before."""
        aside = self.status.with_suffix(".new")
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(status, file)
        aside.replace(self.status)
