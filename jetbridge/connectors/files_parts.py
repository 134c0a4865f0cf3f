"""The parts of a stream: a directory to which a finished file is added now and then."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

from jetbridge.connectors.files_bytes import compression
from jetbridge.connectors.files_staging import Output, StagedFile, hidden, make_folder, remove, stem, sync_folder
from jetbridge.errors import SinkError

if TYPE_CHECKING:
    from jetbridge.connectors.base import ConnectorContext
    from jetbridge.connectors.files_sink import FileSink

PART_BYTES = 64 << 20
PART_SECONDS = 10.0
"""A part ends when it is so large or so old; epochs are far shorter, and a file for each would be a burden."""

_LOGGER = logging.getLogger(__name__)


class Parts(Output):
    """Files ``part-<run>-<number>`` in a directory, each staged there until a commit holds its end.

    A position names the parts that are finished but not known to be published,
    and the current one with its length. A part that has its name is whole.
    """

    def __init__(self, sink: FileSink, context: ConnectorContext) -> None:
        self._sink = sink
        self._folder = sink.path
        self._all = stem(self._folder, "part", context)
        self._run = f"{self._all}.{context.run}"
        self._visible = os.path.join(self._folder, f"part-{context.run}-")
        self._extension = extension(sink.path, sink.extension)
        self._number = 0
        self._current: StagedFile | None = None
        self._since = 0.0
        self._finished: list[list[Any]] = []
        self._left: list[str] = []
        self._fresh = False
        self._committed: dict[str, Any] | None = None

    @property
    def length(self) -> int:
        """The bytes of the current part."""
        return 0 if self._current is None else self._current.length

    def open(self) -> None:
        """Make the directory; parts of earlier runs stay."""
        make_folder(self._folder)
        self._left, self._fresh = hidden(self._all), True

    def reopen(self, position: dict[str, Any]) -> None:
        """Publish what had been committed as finished, and cut the current part."""
        self._restore(position)
        if position["length"] and (self._is_staged(position) or not os.path.lexists(self._final(self._number))):
            self._current = self._reopen(self._number, position["length"], position["file"])
            self._since = time.monotonic()
        while self._current is None and os.path.lexists(self._final(self._number)):
            self._number += 1  # published after this commit: by closing, completing, or commits that a power cut took
        self._left = [path for path in hidden(self._run) if self._current is None or path != self._current.path]
        self._committed = position

    def begin(self) -> None:
        """Turn to the next part when this one is full."""
        if self.length >= PART_BYTES:
            self._finish()

    def append(self, data: bytes) -> None:
        """Add bytes to the current part, which is made when it gets its first ones."""
        if self._current is None:
            self._current = StagedFile.create(self._start(self._number))
            self._since = time.monotonic()
        self._current.append(data)

    def sync(self) -> None:
        """Make the current part durable; finished ones are."""
        if self._current is not None:
            self._current.sync()

    def position(self) -> dict[str, Any]:
        """The finished parts that are still staged, and the length of the current one."""
        if self.length >= PART_BYTES or self._is_old():
            self._finish()
        self.sync()
        return self._where()

    def due(self) -> bool:
        """Whether a part is finished or old enough to be."""
        return bool(self._finished) or self._is_old()

    def committed(self, position: dict[str, Any] | None) -> None:
        """Publish the finished parts; a job that keeps no positions gives None."""
        if position is None:
            position = self.position() if self._is_old() else self._where()
        self._committed = position
        for part in position["finished"]:
            self._publish(*part)
        self._finished = [part for part in self._finished if part not in position["finished"]]
        # A fresh run needs nothing of those before it. Otherwise the commit must be durable, as it is when it shows a
        # part: after a power cut an earlier one could be the last, which may speak of a file that this one does not.
        if position["finished"] or self._fresh:
            remove(*self._left)
            self._left, self._fresh = [], False

    def pause(self) -> None:
        """Close the current part."""
        if self._current is not None:
            self._current.close()

    def complete(self) -> None:
        """Publish everything, the current part included."""
        self._finish()
        self.committed(self.position())

    def close(self) -> None:
        """Publish what was committed and remove the rest: the end of a stream is that it fails or is cancelled."""
        self.pause()
        self._current = None
        if self._committed is not None:
            try:
                self._restore(self._committed)
                if self._committed["length"]:
                    self._publish(self._number, self._committed["length"], self._committed["file"])
            except (SinkError, OSError) as error:
                # the job has ended, maybe by an error that says more; what can be saved by hand is kept
                _LOGGER.warning("%s: committed rows remain in %s.*: %s", self._sink.what(), self._run, error)
                return
        remove(*self._left, *hidden(self._run))

    def _where(self) -> dict[str, Any]:
        return {
            "number": self._number,
            "length": self.length,
            "file": None if self._current is None else self._current.name,
            "finished": [list(part) for part in self._finished],
        }

    def _restore(self, position: dict[str, Any]) -> None:
        for part in position["finished"]:
            self._publish(*part)
        self._number, self._finished = position["number"], []

    def _is_old(self) -> bool:
        return self.length > 0 and time.monotonic() - self._since >= PART_SECONDS

    def _finish(self) -> None:
        if self._current is None:
            return
        self._current.sync()
        self._current.close()
        self._finished.append([self._number, self._current.length, self._current.name])
        self._current = None
        self._number += 1

    def _publish(self, number: int, length: int, name: str) -> None:
        final = self._final(number)
        if not os.path.lexists(final):
            try:
                part = self._reopen(number, length, name)
            except SinkError:
                if not os.path.lexists(final):  # else a worker that this one follows has just done it
                    raise
            else:
                try:
                    os.rename(self._sink.make(part), final)
                finally:
                    part.close()
            sync_folder(final)
        remove(*hidden(self._start(number)))

    def _reopen(self, number: int, length: int, name: str) -> StagedFile:
        return StagedFile.reopen(self._start(number), name, length, self._sink.what())

    def _is_staged(self, position: dict[str, Any]) -> bool:
        return os.path.lexists(os.path.join(self._folder, position["file"]))

    def _start(self, number: int) -> str:
        return f"{self._run}.{number:05d}"

    def _final(self, number: int) -> str:
        return f"{self._visible}{number:05d}{self._extension}"


def extension(path: str, usual: str) -> str:
    """The extension of the parts: that of the directory, with its compression, or else the usual one.

    >>> extension("/data/delays", ".csv"), extension("/data/delays.tsv.gz", ".csv"), extension("/data/x.gz", ".csv")
    ('.csv', '.tsv.gz', '.csv.gz')
    """
    base, last = os.path.splitext(os.path.basename(path))
    if compression(path) is None:
        return last or usual
    return (os.path.splitext(base)[1] or usual) + last
