"""Jars by their Maven coordinates: fetched once, into Beam's own cache, and verified by SHA-256.

They come through Beam's `JavaJarServer`; its cache belongs to the user and not to a data folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jetbridge.beam.downloads import download
from jetbridge.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Jar(NamedTuple):
    """One of the jars.

    Attributes:
        coordinates: group:artifact:version.
        sha256: The checksum, as hexadecimal digits.
    """

    coordinates: str
    sha256: str

    @property
    def file(self) -> str:
        """The name of its file."""
        _, artifact, version = self.coordinates.split(":")
        return f"{artifact}-{version}.jar"


def read_table(path: Path) -> tuple[Jar, ...]:
    """The jars that a file lists: a line of coordinates and SHA-256 for each, and comments."""
    lines = path.read_text().splitlines()
    return tuple(Jar(*line.split()) for line in lines if not line.startswith("#"))


def fetch(
    jars: Sequence[Jar],
    what: str,
    progress: Callable[[str], None] | None = None,
    *,
    folder: Path | None = None,
) -> list[Path]:
    """The files of the jars; those that are not there yet are downloaded, with a progress bar on a terminal.

    Args:
        jars: Which.
        what: What they are, for messages ("Beam's runner for Flink").
        progress: Is told in a line that something is downloaded.
        folder: Where they lie; Beam's own cache by default.

    Returns:
        The files in the same order, each verified.

    Raises:
        ClusterError: When a jar cannot be downloaded, or a file does not have the right checksum.
    """
    folder = Path("~/.apache_beam/cache/jars").expanduser() if folder is None else folder
    if any(not (folder / jar.file).exists() for jar in jars):
        with _alone(folder):
            for left in folder.glob("download-*"):  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            missing = [jar for jar in jars if not (folder / jar.file).exists()]
            if missing:
                if progress is not None:
                    progress(f"downloading {what}: {_counted(missing)} to {folder}")
                _download(missing, folder, what)
    # One after the other: at the end of a script, which waits for its jobs, an executor takes no work any more.
    wrong = [jar.file for jar in jars if not _fits(jar, folder / jar.file)]
    if wrong:
        raise ClusterError(
            f"{', '.join(wrong)} in {folder} {'is' if len(wrong) == 1 else 'are'} not what was published: the SHA-256 "
            "differs, so nothing of it is run. Delete it, so that it is downloaded again"
        )
    return [folder / jar.file for jar in jars]


def _fits(jar: Jar, path: Path) -> bool:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise ClusterError(f"{path} cannot be read: {error.strerror}") from error
    return digest.hexdigest() == jar.sha256


def _counted(jars: Sequence[Jar]) -> str:
    return "1 jar" if len(jars) == 1 else f"{len(jars)} jars"


def _download(jars: Sequence[Jar], folder: Path, what: str) -> None:
    """Download into a folder aside; only what has the right checksum is moved to its place."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="download-") as aside:
        download([jar.coordinates for jar in jars], Path(aside), what)
        for jar in jars:
            path = Path(aside, jar.file)
            if not _fits(jar, path):
                raise ClusterError(
                    f"{jar.coordinates} was downloaded, but is not what was published: its SHA-256 differs. "
                    "It was thrown away; check the proxy or mirror that it came from, and try again"
                )
            path.replace(folder / jar.file)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time download."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".jetbridge.lock").open("w")
    except OSError as error:
        raise ClusterError(f"Beam's jar cache {folder} cannot be written: {error.strerror}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
