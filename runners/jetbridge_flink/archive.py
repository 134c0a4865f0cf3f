"""Java's classes as an archive that its processes map into memory, in place of reading and verifying jars.

It saves a third of the processor time that a cluster's start takes. It is made
once for a user, from the classes that a first cluster and its job have loaded,
by a process in the background after that cluster's end: some ten seconds of
one processor and 110 MB in the user's cache folder. Without it all works as well.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TIMEOUT = 300  # seconds
_UNUSED = 30 * 24 * 3600  # seconds after which an archive that no cluster has used is deleted
_OF_A_JOB = "org/apache/flink/streaming/runtime/tasks/StreamTask"
_COMMAND = "import sys; sys.path[:] = {path!r}; from jetbridge_flink.archive import build; build(*sys.argv[1:])"


def cache_folder() -> Path:
    """The user's folder for what can be made again."""
    if sys.platform == "darwin":
        return Path("~/Library/Caches/jetbridge").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "jetbridge"


def place(java: Path, classpath: Iterable[Path], folder: Path | None = None) -> Path | None:
    """The file of the archive for a Java and a class path, which need not be there yet.

    Java itself looks whether an archive fits: one that does not is passed over.

    Args:
        java: The Java that is to use it.
        classpath: The jars.
        folder: The folder; the user's cache by default.

    Returns:
        None when there is no folder that only this user can write to: an archive is code.
    """
    folder = cache_folder() if folder is None else folder
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return None
        stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in (java, *classpath)]
    except OSError:
        return None
    return folder / f"flink-{hashlib.sha256(repr(stats).encode()).hexdigest()[:16]}.jsa"


def options(archive: Path | None, class_list: Path) -> list[str]:
    """Java's options: to use the archive, or else to write the list of classes from which it is made."""
    if archive is None:
        return []
    if not archive.exists():
        return [f"-XX:DumpLoadedClassList={class_list}"]
    with contextlib.suppress(OSError):
        os.utime(archive)  # it is in use
    return ["-Xshare:auto", f"-XX:SharedArchiveFile={archive}"]


def build_later(
    archive: Path | None, java: Path, classpath: Sequence[Path], lists: Sequence[Path]
) -> subprocess.Popen[bytes] | None:
    """Have the archive made by a process in the background, if there are lists of a cluster that ran a job.

    Returns:
        The process, if one was started. It deletes the lists.
    """
    try:
        of_a_job = any(_OF_A_JOB in path.read_text() for path in lists)
    except OSError:
        of_a_job = False
    if archive is None or archive.exists() or not of_a_job:
        for path in lists:
            path.unlink(missing_ok=True)
        return None
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            _COMMAND.format(path=sys.path),
            archive,
            java,
            os.pathsep.join(map(str, classpath)),
            *lists,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def build(archive: str | Path, java: str | Path, classpath: str, *lists: str | Path) -> bool:
    """Make an archive, and delete the lists and the archives that have not been used for long.

    Args:
        archive: The file to make.
        java: The Java that makes it, and that can use it.
        classpath: The jars, as for Java.
        *lists: Lists of classes that Java has written; the end of a line may be missing.

    Returns:
        Whether it is there now.
    """
    archive = Path(archive)
    os.nice(19)
    with (archive.parent / "flink.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        aside, classes = archive.with_suffix(".new"), archive.with_suffix(".classes")
        try:
            if not archive.exists():
                classes.write_text("".join(_merged(Path(path).read_text() for path in lists)))
                dump = ["-Xshare:dump", f"-XX:SharedClassListFile={classes}", f"-XX:SharedArchiveFile={aside}"]
                subprocess.run(
                    [java, *dump, "-Xmx512m", "-cp", classpath], capture_output=True, check=True, timeout=_TIMEOUT
                )
                aside.replace(archive)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"no archive of Java's classes could be made: {error}", file=sys.stderr)
        finally:
            for path in (aside, classes, *map(Path, lists)):
                path.unlink(missing_ok=True)
        for old in archive.parent.glob("flink-*.jsa"):
            if old != archive and time.time() - old.stat().st_mtime > _UNUSED:
                old.unlink(missing_ok=True)
    return archive.exists()


def _merged(texts: Iterable[str]) -> Iterable[str]:
    """Lists of classes as one, without what cannot be archived: classes of a job's own class loader."""
    seen = set()
    for text in texts:
        for line in text.splitlines(keepends=True):
            if not line.endswith("\n") or line.startswith("#") or " source: " in line:
                continue
            line = line if line.startswith("@") else line.partition(" id: ")[0].rstrip() + "\n"
            if line not in seen:
                seen.add(line)
                yield line
