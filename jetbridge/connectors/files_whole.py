"""The one file of a batch job: it appears whole when the job completes, or not at all."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from jetbridge.connectors.files_staging import (
    Output,
    StagedFile,
    hidden,
    make_folder,
    remove,
    remove_unused,
    stem,
    sync_folder,
)
from jetbridge.errors import SinkError

if TYPE_CHECKING:
    from jetbridge.connectors.base import ConnectorContext
    from jetbridge.connectors.files_sink import FileSink


class WholeFile(Output):
    """A file at a path, staged beside it.

    Publishing must be safe to repeat. So before the file gets its name a marker
    says which file that is, and until the job has ended it stays: a marker whose
    file has lost its hidden name, or has both names, tells that it is published.
    """

    def __init__(self, sink: FileSink, context: ConnectorContext) -> None:
        self._sink = sink
        self._path = sink.path
        self._all = stem(os.path.dirname(self._path), os.path.basename(self._path), context)
        self._run = f"{self._all}.{context.run}"
        self._marker = f"{self._run}.published"
        self._staged: StagedFile | None = None
        self._left: list[str] = []
        self._published: dict[str, Any] | None = None

    @property
    def length(self) -> int:
        """The bytes that are staged."""
        return self._open().length

    def open(self) -> None:
        """Make the staged file."""
        self._take_back()
        # a killed worker leaves its staged file behind; only the same stage of the same job may remove it
        self._left = hidden(self._all)
        try:
            self._sink.refuse_existing()
        except SinkError:
            remove_unused(*self._left)
            raise
        make_folder(os.path.dirname(self._path))
        self._staged = StagedFile.create(self._run)

    def reopen(self, position: dict[str, Any]) -> None:
        """Cut the staged file, or see that it is published already."""
        if os.path.lexists(self._marker):
            if _is_published(self._marker, self._path):
                self._published = position
                return
            remove(self._marker)
            sync_folder(self._marker)  # before anything that it speaks of is removed
        self._staged = StagedFile.reopen(self._run, position["file"], position["length"], self._sink.what())

    def append(self, data: bytes) -> None:
        """Add bytes to the staged file."""
        self._open().append(data)

    def sync(self) -> None:
        """Make the staged file durable."""
        if self._published is None:
            self._open().sync()

    def position(self) -> dict[str, Any]:
        """The staged file and its length."""
        if self._published is not None:
            return self._published
        self.sync()
        staged = self._open()
        return {"length": staged.length, "file": staged.name}

    def committed(self, position: dict[str, Any] | None) -> None:
        """Remove what earlier starts left."""
        remove(*self._left)
        self._left = []

    def pause(self) -> None:
        """Close the staged file."""
        if self._staged is not None:
            self._staged.close()

    def complete(self) -> None:
        """Let the file appear under its name, durably."""
        if self._published is not None:
            return
        staged = self._open()
        position = {"length": staged.length, "file": staged.name}
        ready = self._sink.make(staged)
        self._mark(ready)
        self._publish(ready)
        remove(*(path for path in hidden(self._run) if path != self._marker))
        self._published, self._staged = position, None

    def close(self) -> None:
        """Remove what is staged, and the marker."""
        self.pause()
        remove(*self._left, *hidden(self._run))

    def _open(self) -> StagedFile:
        if self._staged is None:
            raise SinkError(f"{self._sink.what()} was published already: the job had completed")
        return self._staged

    def _mark(self, ready: str) -> None:
        status = os.stat(ready)
        with open(f"{self._marker}.new", "w", encoding="utf-8") as file:
            json.dump({"ready": os.path.basename(ready), "device": status.st_dev, "inode": status.st_ino}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{self._marker}.new", self._marker)
        sync_folder(self._marker)

    def _publish(self, ready: str) -> None:
        if self._sink.overwrite:
            os.replace(ready, self._path)
        else:
            try:
                os.link(ready, self._path)  # unlike a rename, this fails when the name was taken in the meantime
            except FileExistsError:
                if not _is_this(self._marker, self._path):  # else by a worker that this one follows
                    self._sink.refuse_existing()
                    raise
            except OSError:  # a file system without hard links
                self._sink.refuse_existing()
                os.rename(ready, self._path)
        sync_folder(self._path)

    def _take_back(self) -> None:
        """Remove what a run of this very job published that never was known to have completed."""
        for marker in hidden(self._all):
            if marker.endswith(".published") and _is_this(marker, self._path) and not self._sink.overwrite:
                remove(self._path)


def _is_published(marker: str, path: str) -> bool:
    ready = os.path.join(os.path.dirname(marker), _read(marker)["ready"])
    return not os.path.lexists(ready) or _is_this(marker, path)


def _is_this(marker: str, path: str) -> bool:
    """Whether the file at the path is the one that the marker speaks of."""
    said = _read(marker)
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == (said["device"], said["inode"])


def _read(marker: str) -> dict[str, Any]:
    with open(marker, encoding="utf-8") as file:
        said: dict[str, Any] = json.load(file)
    return said
