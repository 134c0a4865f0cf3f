"""What all file sinks share: one file that appears whole, or not at all.

What is written goes to a hidden file next to the target, so that the last step
is a rename within one file system: a reader sees no file or a complete one.
"""

from __future__ import annotations

import abc
import bz2
import glob
import gzip
import lzma
import os
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from jetbridge.connectors.base import ConnectorContext, Sink, SinkChunk
from jetbridge.connectors.files import absolute
from jetbridge.connectors.files_bytes import compression
from jetbridge.errors import JetbridgeError, PipelineError, SinkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    """A file at a path, staged beside it and renamed when the job completes.

    An existing file is refused in ``check`` and again in ``complete``, unless it
    may be overwritten; then it is replaced at once by the whole new one. Missing
    directories are made. When the job fails, the staged file is removed.
    """

    def __init__(self, path: str | os.PathLike[str], *, overwrite: bool = False, name: str | None = None) -> None:
        self.user = f"sinks.{self.kind}"
        self.path = absolute(path, self.user)
        if "://" in self.path:
            raise PipelineError(f"{self.user} writes local files only; got {self.path!r}: write a file and upload it")
        if os.fspath(path).endswith(("/", os.sep)):
            raise PipelineError(f"{self.user} writes one file; got a directory: {os.fspath(path)!r}")
        if compression(self.path) not in self.compressions():
            raise PipelineError(
                f"{self.user} cannot write {os.path.splitext(self.path)[1]} files; got {self.path!r}: "
                f"compress the file afterwards or choose another extension"
            )
        self.overwrite = overwrite
        super().__init__(name if name is not None else os.path.basename(self.path))
        self._file: IO[bytes] | None = None
        self._staged: str | None = None
        self._written = False

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
        self._refuse_existing()
        folder = os.path.dirname(self.path)
        while not os.path.lexists(folder):
            folder = os.path.dirname(folder)
        if not os.path.isdir(folder):
            raise SinkError(f"{self._what()}: {folder} is not a directory")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise SinkError(f"{self._what()}: no permission to write in the directory {folder}")

    def prepare(self, items: list[Any]) -> bytes:
        """Format and compress."""
        return self.compress(self.format(items)) if items else b""

    def open(self, context: ConnectorContext) -> None:
        """Make the staged file."""
        super().open(context)
        with self._writing():
            self._refuse_existing()
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            prefix = (
                f".{os.path.basename(self.path)[:80]}.{zlib.crc32(f'{context.job_id} {context.stage}'.encode()):08x}"
            )
            # a killed worker leaves its staged file behind; only the same stage of the same job may remove it
            for orphan in glob.glob(os.path.join(glob.escape(os.path.dirname(self.path)), f"{glob.escape(prefix)}.*")):
                os.remove(orphan)
            self._staged = os.path.join(os.path.dirname(self.path), f"{prefix}.{context.run}.staged")
            self._file = open(self._staged, "wb", buffering=1 << 20)  # noqa: SIM115 - closed in close()
            self._written = False

    def write(self, chunk: SinkChunk) -> None:
        """Append a chunk to the staged file."""
        if chunk.payload:
            self.append(chunk.payload)

    def append(self, data: bytes) -> None:
        """Append bytes to the staged file."""
        with self._writing():
            self._opened().write(data)
            self._written = True

    def flush(self) -> None:
        """Make the staged file durable."""
        with self._writing():
            file = self._opened()
            file.flush()
            os.fsync(file.fileno())

    def complete(self) -> None:
        """Let the file appear under its name, durably."""
        with self._writing():
            self.finish()
            self.flush()
            self._opened().close()
            self._file = None
            assert self._staged is not None
            self._publish(self._staged)
            self._staged = None

    def finish(self) -> None:
        """The last bytes, before the file is published; an empty compressed file still is one."""
        if not self._written:
            self.append(self.compress(b""))

    def close(self) -> None:
        """Remove what was staged, unless it has been published."""
        file, self._file = self._file, None
        staged, self._staged = self._staged, None
        try:
            if file is not None:
                file.close()  # writes what is buffered, which a full disk refuses
        except OSError:
            pass
        finally:
            if staged is not None and os.path.lexists(staged):
                os.remove(staged)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_staged": None}

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            raise SinkError(f"{self._what()} is not open")
        return self._file

    def _publish(self, staged: str) -> None:
        if self.overwrite:
            os.replace(staged, self.path)
        else:
            try:
                os.link(staged, self.path)  # unlike a rename, this fails when the name was taken in the meantime
                os.remove(staged)
            except FileExistsError:
                self._refuse_existing()
                raise
            except OSError:  # a file system without hard links
                self._refuse_existing()
                os.rename(staged, self.path)
        folder = os.open(os.path.dirname(self.path), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _refuse_existing(self) -> None:
        if os.path.isdir(self.path):
            raise SinkError(f"{self._what()} is a directory; name a file in it")
        if not self.overwrite and os.path.lexists(self.path):
            raise SinkError(f"{self._what()} exists already; pass overwrite=True, remove it or write elsewhere")

    def _what(self) -> str:
        return f"{self.user}({self.path!r})"

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except JetbridgeError:
            raise
        except OSError as cause:
            raise SinkError(f"{self._what()} cannot be written: {cause.strerror or cause}") from cause
