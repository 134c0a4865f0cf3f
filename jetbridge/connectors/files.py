"""What all file sources share: globs, early checks, sizes and the errors that name the file.

fsspec finds and opens the files, so a glob may also be a URL that fsspec knows
("s3://bucket/*.csv", "memory://…"). It and pyarrow are loaded when a source or
sink is first used, never by ``import jetbridge.sources``.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jetbridge.connectors.base import SplittableSource
from jetbridge.errors import JetbridgeError, PipelineError, SourceError
from jetbridge.extras import install

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

EDGE = 1 << 16  # bytes of a file's beginning, and of the end of what was read, that a fingerprint covers
CHUNK = 4096  # items in a chunk of read_range: few enough to stay small, many enough that the chunk costs nothing


def library(module: str, user: str, error: type[JetbridgeError] = SourceError) -> ModuleType:
    """Import one of the libraries of the extra ``files``, or say how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as cause:
        raise error(_missing(module, user)) from cause


def require(module: str, user: str, error: type[JetbridgeError] = SourceError) -> None:
    """As `library`, but without loading it: the client's quick check."""
    if importlib.util.find_spec(module) is None:
        raise error(_missing(module, user))


def _missing(module: str, user: str) -> str:
    return f"{user} needs {module.partition('.')[0]}, which is not installed: {install('files')}"


def absolute(path: str | os.PathLike[str], user: str) -> str:
    """The path or glob as the worker will need it; URLs stay as they are."""
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise PipelineError(f"{user} must be given a path or a glob (a str or a Path); got {path!r}")
    text = os.fspath(path)
    return text if "://" in text else os.path.abspath(os.path.expanduser(text))


def slices(items: list[Any]) -> Iterator[list[Any]]:
    """Cut a list into chunks of about equal size, none above `CHUNK`."""
    if len(items) <= CHUNK:
        if items:
            yield items
        return
    step = -(-len(items) // -(-len(items) // CHUNK))
    for start in range(0, len(items), step):
        yield items[start : start + step]


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn whatever a library raises about a file into a SourceError that names the file."""
    try:
        yield
    except (JetbridgeError, GeneratorExit):
        raise
    except FileNotFoundError as cause:
        raise SourceError(f"{path}: the file does not exist any more") from cause
    except PermissionError as cause:
        raise SourceError(f"{path}: no permission to read the file") from cause
    except Exception as cause:  # each library has its own tree of errors; all of them are about this file
        reason = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
        raise SourceError(f"{path}: the file cannot be read, it may be damaged or cut short ({reason})") from cause


def _digest(parts: list[bytes]) -> str:
    return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()


class FileSource(SplittableSource):
    """The files that match a glob, each a partition, in the order of their paths.

    A path that exists is taken as it is, also when it holds characters that
    mean something in a glob. Hidden files only match a pattern that starts with
    a dot, so that staged output is never read by accident.
    """

    def __init__(self, path: str | os.PathLike[str], *, name: str | None = None) -> None:
        self.user = f"sources.{self.kind}"
        self.glob = absolute(path, self.user)
        super().__init__(name if name is not None else os.path.basename(self.glob.rstrip("/")) or self.glob)
        self._files: dict[str, int | None] | None = None
        self._fs: Any = None

    def check(self) -> None:
        """Find the files and see whether they may be read; nothing is opened."""
        require("fsspec", self.user)
        for path in self._find():
            if self.is_local and not os.access(path, os.R_OK):
                raise SourceError(f"{self._what()}: no permission to read {path}")

    def partitions(self) -> Sequence[str]:
        """The paths of the files, found once for each opening."""
        return list(self._found())

    def start(self, partition: str) -> int:
        """Every file starts at 0."""
        return 0

    def size(self, partition: str) -> int | None:
        """The size of the file in bytes."""
        return self._found().get(partition)

    def position(self, partition: str, offset: Any) -> int | None:
        """Offsets are byte positions."""
        return offset if isinstance(offset, int) else self.size(partition)

    def location(self) -> str | None:
        """The glob: many folders have files of one name."""
        return self.glob

    def bytes_read(self, partition: str, offset: Any) -> int | None:
        """How many bytes of the file must stay as they are when it was read up to an offset; None if unknown."""
        return int(offset)

    def fingerprint(self, partition: str, offset: Any) -> list[Any] | None:
        """How many bytes must stay, and a hash of their beginning and their end: a file may grow."""
        try:
            count = self.bytes_read(partition, offset)
            edges = self._edges(partition, count) if count else []
        except Exception:  # it is gone: if that matters, reading on says so
            return None
        return [count, _digest(edges)] if count and len(edges[-1]) == min(count, EDGE) else None

    def changed(self, partition: str, offset: Any, fingerprint: list[Any]) -> str | None:
        """What has become of the bytes that had to stay."""
        count, digest = fingerprint
        with reading(partition):
            edges = self._edges(partition, count)
        if len(edges[-1]) < min(count, EDGE):
            return f"the file has become shorter: it has fewer than {count} bytes"
        return None if _digest(edges) == digest else f"the first {count} bytes of the file are not those that they were"

    def _edges(self, path: str, count: int) -> list[bytes]:
        """The first and the last of so many leading bytes."""
        starts = (0, max(0, count - EDGE))
        if not self.is_local:
            return [self.filesystem().cat_file(path, start, min(count, start + EDGE)) for start in starts]
        edges = []
        with open(path, "rb", buffering=0) as file:
            for start in starts:
                file.seek(start)
                edges.append(file.read(min(count, EDGE)))
        return edges

    def close(self) -> None:
        """Forget the files that were found: the next opening looks again."""
        self._files = None

    @property
    def is_local(self) -> bool:
        """Whether the files lie in this machine's file system."""
        return "://" not in self.glob

    def open_file(self, path: str) -> Any:
        """Open a file for reading bytes."""
        with reading(path):
            # fsspec's wrapper of local files only adds calls, and a big buffer only copies: blocks are big already
            return open(path, "rb", buffering=0) if self.is_local else self.filesystem().open(path, "rb")

    def filesystem(self) -> Any:
        """The fsspec file system of the glob."""
        if self._fs is None:
            fsspec = library("fsspec", self.user)
            try:
                self._fs = fsspec.core.url_to_fs(self.glob)[0]
            except (ValueError, ImportError) as cause:  # an unknown protocol, or its library is missing
                raise SourceError(f"{self._what()}: {cause}") from cause
        return self._fs

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_fs": None}

    def _what(self) -> str:
        return f"{self.user}({self.glob!r})"

    def _found(self) -> dict[str, int | None]:
        if self._files is None:
            self._files = self._find()
        return self._files

    def _find(self) -> dict[str, int | None]:
        fs = self.filesystem()
        try:
            if self.is_local and os.path.lexists(self.glob):
                return self._one(self.glob)
            pattern = fs._strip_protocol(self.glob)
            found = fs.glob(pattern, detail=True)
        except SourceError:
            raise
        except Exception as cause:  # file systems of fsspec raise what their own clients raise
            raise SourceError(f"{self._what()} cannot be looked up: {cause}") from cause
        hidden = os.path.basename(pattern).startswith(".")
        files = {
            path: entry.get("size")
            for path, entry in sorted(found.items())
            if entry["type"] == "file" and (hidden or not os.path.basename(path).startswith("."))
        }
        if not files:
            raise SourceError(f"{self._what()} {self._why_none(pattern, bool(found))}")
        return files

    def _one(self, path: str) -> dict[str, int | None]:
        try:
            status = os.stat(path)
        except OSError as cause:
            raise SourceError(f"{self._what()}: {cause.strerror}") from cause
        if os.path.isdir(path):
            raise SourceError(f"{self._what()} is a directory; name its files with a glob: {os.path.join(path, '*')!r}")
        return {path: status.st_size}

    def _why_none(self, pattern: str, only_directories: bool) -> str:
        if only_directories:
            return "matches only directories or hidden files; to read what is in a directory, end the glob with '/*'"
        if not self.is_local:
            return "matches no file"
        folder = os.path.dirname(pattern)
        while any(sign in folder for sign in "*?["):
            folder = os.path.dirname(folder)
        # walk down: a folder above the files without rights looks like one that is empty
        while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
            parent = os.path.dirname(folder)
            if os.path.isdir(parent) and os.access(parent, os.X_OK):
                return f"matches no file: there is no directory {folder}"
            folder = parent
        if not os.access(folder, os.R_OK | os.X_OK):
            return f"cannot be looked up: no permission to list or enter the directory {folder}"
        if any(sign in pattern for sign in "*?["):
            return "matches no file"
        return "does not exist"
