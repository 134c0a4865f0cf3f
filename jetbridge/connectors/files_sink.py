"""What all file sinks share: formatting beside the user's functions, and what the formats must know between chunks.

A batch job's rows become one file, those of a stream a directory of parts; see
`jetbridge.connectors.files_whole` and `jetbridge.connectors.files_parts`.
"""

from __future__ import annotations

import abc
import bz2
import gzip
import lzma
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.checks import flag
from jetbridge.connectors.base import ConnectorContext, Sink, SinkChunk
from jetbridge.connectors.files import absolute
from jetbridge.connectors.files_bytes import compression
from jetbridge.connectors.files_parts import Parts
from jetbridge.connectors.files_whole import WholeFile
from jetbridge.errors import JetbridgeError, PipelineError, SinkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jetbridge.connectors.files_staging import Output, StagedFile

_COMPRESSORS: dict[str | None, Callable[[bytes], bytes]] = {
    None: lambda data: data,
    # members may be concatenated, so each chunk is compressed by itself, on any core; level 6 as the gzip command
    "gzip": lambda data: gzip.compress(data, 6, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
_DECOMPRESSORS: dict[str | None, Callable[[bytes], bytes]] = {
    None: lambda data: data,
    "gzip": gzip.decompress,
    "bz2": bz2.decompress,
    "xz": lzma.decompress,
}


class FileSink(Sink):
    """A file at a path, staged beside it and renamed when the job completes; in a stream a directory of parts.

    An existing file is refused in ``check`` and again in ``complete``, unless it
    may be overwritten; then it is replaced at once by the whole new one. Missing
    directories are made. When the job fails, the staged file is removed.
    """

    staged: ClassVar[bool] = True
    extension: ClassVar[str]
    """That of a stream's parts when the path has none."""

    def __init__(self, path: str | os.PathLike[str], *, overwrite: bool = False, name: str | None = None) -> None:
        self.user = f"sinks.{self.kind}"
        self.path = absolute(path, self.user)
        if "://" in self.path:
            raise PipelineError(f"{self.user} writes local files only; got {self.path!r}: write a file and upload it")
        if os.fspath(path).endswith(("/", os.sep)):
            raise PipelineError(
                f"{self.user} writes one file; got a directory: {os.fspath(path)!r} "
                f"(a stream writes a directory: name it without the {os.sep} at its end)"
            )
        if compression(self.path) not in self.compressions():
            raise PipelineError(
                f"{self.user} cannot write {os.path.splitext(self.path)[1]} files; got {self.path!r}: "
                f"compress the file afterwards or choose another extension"
            )
        self.overwrite = flag(self.user, "overwrite", overwrite)
        super().__init__(name if name is not None else os.path.basename(self.path))
        self._output: Output | None = None

    @property
    def identity(self) -> str:
        """Two sinks must not write to one path."""
        return f"file:{self.path}"

    def compressions(self) -> set[str | None]:
        """The compressions that the sink can write."""
        return set(_COMPRESSORS)

    def compress(self, data: bytes) -> bytes:
        """Compress as the path's extension says."""
        return _COMPRESSORS[compression(self.path)](data)

    def decompress(self, data: bytes) -> bytes:
        """Undo ``compress``."""
        return _DECOMPRESSORS[compression(self.path)](data)

    @abc.abstractmethod
    def format(self, items: list[Any]) -> bytes:
        """The bytes of some items, at least one.

        Raises:
            BadItem: For an item that the format cannot hold.
        """

    def check(self) -> None:
        """Refuse an existing file and a place where nothing can be written."""
        self.refuse_existing()
        self._check_folder(os.path.dirname(self.path))

    def check_stream(self) -> None:
        """Refuse a place where no directory of parts can be; one that exists gets more parts."""
        self._check_folder(self.path)

    def prepare(self, items: list[Any]) -> bytes:
        """Format and compress."""
        return self.compress(self.format(items)) if items else b""

    def open(self, context: ConnectorContext) -> None:
        """Begin a fresh run; what earlier runs of this stage of the job left staged is removed."""
        super().open(context)
        self.restore({})
        with self._writing():
            output = self._new_output(context)
            output.open()
        self._output = output

    def reopen(self, context: ConnectorContext, position: Any) -> None:
        """Cut what is staged back to a commit.

        Raises:
            SinkError: When the staged file is gone or too short; nothing is removed then.
        """
        super().open(context)
        if ("number" in position) != context.unbounded:
            raise SinkError(
                f"{self.what()} cannot go on: the job was a {'batch job' if context.unbounded else 'stream'} "
                f"at its last commit and is none now: submit it anew, under another name"
            )
        self.restore(position)
        with self._writing():
            output = self._new_output(context)
            output.reopen(position)
        self._output = output

    def write(self, chunk: SinkChunk) -> None:
        """Append a chunk to what is staged."""
        if chunk.payload:
            with self._writing():
                self._opened().begin()
                self.add(chunk.payload)

    def add(self, payload: bytes) -> None:
        """Append what ``prepare`` made of some items."""
        self.append(payload)

    def append(self, data: bytes) -> None:
        """Append bytes to the staged file."""
        self._opened().append(data)

    @property
    def length(self) -> int:
        """The bytes of the staged file so far."""
        return self._opened().length

    def state(self) -> dict[str, Any]:
        """What the format must know of earlier chunks, as plain values."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take on what ``state`` gave; an empty dict at a fresh start."""

    def make(self, staged: StagedFile) -> str:
        """Make a staged file ready to be published, durably, and close it.

        Returns:
            The path of what will be published: the file itself, or another that was made of it.
        """
        if not staged.length:  # an empty compressed file still is one
            staged.append(self.compress(b""))
        staged.sync()
        staged.close()
        return staged.path

    def flush(self) -> None:
        """Make what is staged durable."""
        with self._writing():
            self._opened().sync()

    def position(self) -> dict[str, Any]:
        """The length of what is staged, made durable, and the format's state."""
        with self._writing():
            return {**self.state(), **self._opened().position()}

    def due(self) -> bool:
        """Whether a part of a stream is finished, or old enough to be."""
        return self._opened().due()

    def committed(self, position: Any) -> None:
        """Let the parts of a stream appear that are finished."""
        with self._writing():
            self._opened().committed(position)

    def pause(self) -> None:
        """Close the staged file and keep it."""
        output, self._output = self._output, None
        if output is not None:
            output.pause()

    def complete(self) -> None:
        """Let the file appear under its name, durably."""
        with self._writing():
            self._opened().complete()

    def close(self) -> None:
        """Remove what was staged; the committed rows of a stream appear first."""
        output, self._output = self._output, None
        if output is not None:
            output.close()

    def refuse_existing(self) -> None:
        """Raise a SinkError when the path is taken and may not be overwritten."""
        if os.path.isdir(self.path):
            raise SinkError(f"{self.what()} is a directory; name a file in it")
        if not self.overwrite and os.path.lexists(self.path):
            raise SinkError(f"{self.what()} exists already; pass overwrite=True, remove it or write elsewhere")

    def what(self) -> str:
        """The sink in messages."""
        return f"{self.user}({self.path!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_output": None}

    def _new_output(self, context: ConnectorContext) -> Output:
        return Parts(self, context) if context.unbounded else WholeFile(self, context)

    def _opened(self) -> Output:
        if self._output is None:
            raise SinkError(f"{self.what()} is not open")
        return self._output

    def _check_folder(self, folder: str) -> None:
        while not os.path.lexists(folder):
            folder = os.path.dirname(folder)
        if not os.path.isdir(folder):
            raise SinkError(f"{self.what()}: {folder} is not a directory")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise SinkError(f"{self.what()}: no permission to write in the directory {folder}")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except JetbridgeError:
            raise
        except OSError as cause:
            raise SinkError(f"{self.what()} cannot be written: {cause.strerror or cause}") from cause
