"""Reading named snapshots: what there is, what one says about itself, and what an error tells the user to do."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetbridge.errors import SerializationError, SnapshotError
from jetbridge.store import attachments, snapshot_files, values
from jetbridge.store.snapshot_format import Damaged, Reader, TooNew

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

_LOGGER = logging.getLogger("jetbridge")
_BODY_FORMAT = 1
_NAMED = 5  # how many readable snapshots an error names: each is read to its end for that


@dataclass(frozen=True)
class SnapshotInfo:
    """A named snapshot.

    Attributes:
        name: Its name.
        creation_time: Milliseconds since the epoch, by the clock of that moment.
        job_id: The job that it was made of.
        job_name: That job's name, or None.
        payload_size: The bytes of the checkpoint and the state.
        number: Its place in the order of creation, whatever the clock did.
    """

    name: str
    creation_time: int
    job_id: str
    job_name: str | None
    payload_size: int
    number: int
    _home: Path = field(repr=False, compare=False)

    def destroy(self) -> None:
        """Remove it, durably.

        Raises:
            SnapshotError: When it is not there any more.
        """
        destroy(self._home, self.name)


def destroy(home: str | os.PathLike[str], name: str) -> None:
    """Remove a snapshot, whole or damaged.

    Raises:
        SnapshotError: When there is none of that name.
    """
    try:
        snapshot_files.remove(folder_of(home), name)
        attachments.keep_only(folder_of(home), name, None)
    except FileNotFoundError as error:
        raise unknown(home, name) from error
    except OSError as error:
        raise SnapshotError(f"snapshot '{name}' cannot be removed: {error}") from error


def checkpoint(home: str | os.PathLike[str], name: str) -> dict[str, Any]:
    """A snapshot's checkpoint alone, to see whether a pipeline fits it; raises as `restore` does."""
    with reading(home, name) as reader:
        return body_of(reader)


def read_manifest(home: str | os.PathLike[str], name: str) -> dict[str, Any]:
    """What a snapshot says about itself, as plain values; raises as `restore` does."""
    with reading(home, name) as reader:
        return reader.manifest.model_dump()


def verify(home: str | os.PathLike[str], name: str) -> None:
    """Read a snapshot to its end, and decode nothing of its state.

    Raises:
        SnapshotError: When it is not there, is damaged, or a later version wrote it.
    """
    with reading(home, name) as reader:
        _verify(reader)


def info(home: str | os.PathLike[str], name: str) -> SnapshotInfo | None:
    """A snapshot, or None when there is none of that name.

    Raises:
        SnapshotError: When its manifest is damaged, or a later version wrote it.
    """
    if snapshot_files.check_name(name) not in snapshot_files.names(folder_of(home)):
        return None
    with reading(home, name) as reader:
        return _info(home, name, reader)


def listing(home: str | os.PathLike[str]) -> list[SnapshotInfo]:
    """The snapshots, newest first by their order of creation; those that cannot be read are logged and left out."""
    found = []
    for name in snapshot_files.names(folder_of(home)):
        try:
            with _opened(home, name) as reader:
                found.append(_info(home, name, reader))
        except FileNotFoundError:
            continue  # destroyed since
        except (Damaged, TooNew, OSError) as error:
            _LOGGER.warning("snapshot '%s' is left out: %s: %s", name, _path(home, name), error)
    return sorted(found, key=lambda each: (each.number, each.name), reverse=True)


def readable(home: str | os.PathLike[str]) -> list[str]:
    """The names of the newest snapshots that are whole, newest first; each is read to its end."""
    found: list[str] = []
    for each in listing(home):
        with contextlib.suppress(Damaged, TooNew, OSError), _opened(home, each.name) as reader:
            _verify(reader)
            found.append(each.name)
        if len(found) == _NAMED:
            break
    return found


def way_on(home: str | os.PathLike[str]) -> str:
    """What a user can do when a job's own data is damaged, for the end of a message."""
    names = ", ".join(f"'{name}'" for name in readable(home))
    return (
        f"start from a named snapshot that is whole (initial_snapshot_name; here: {names})"
        if names
        else "start the job anew, since there is no named snapshot that is whole"
    )


def folder_of(home: str | os.PathLike[str]) -> Path:
    """Where the snapshots lie; who only looks does not make it."""
    return Path(home) / "snapshots"


def _path(home: str | os.PathLike[str], name: str) -> Path:
    return snapshot_files.path_of(folder_of(home), name)


@contextlib.contextmanager
def _opened(home: str | os.PathLike[str], name: str) -> Iterator[Reader]:
    with snapshot_files.opened(_path(home, name)) as file:
        yield Reader(file)


@contextlib.contextmanager
def reading(home: str | os.PathLike[str], name: str) -> Iterator[Reader]:
    """A snapshot's file, open and with its manifest read.

    Raises:
        SnapshotError: When it is not there, or what is read in the block is damaged or of a later version.
    """
    try:
        with _opened(home, name) as reader:
            yield reader
    except FileNotFoundError as error:
        raise unknown(home, name) from error
    except TooNew as error:
        raise SnapshotError(
            f"snapshot '{name}' was written by a later version of jetbridge: {error}; "
            f"upgrade jetbridge (pip install -U jetbridge), or {way_on(home)}"
        ) from error
    except Damaged as error:
        raise SnapshotError(f"snapshot '{name}' is damaged ({_path(home, name)}): {error}; {way_on(home)}") from error
    except OSError as error:
        raise SnapshotError(f"snapshot '{name}' cannot be read: {error}; {way_on(home)}") from error


def body_of(reader: Reader) -> dict[str, Any]:
    """The checkpoint in a snapshot.

    Raises:
        Damaged: When it does not match its checksum, or is none.
        TooNew: When a later version wrote it.
    """
    part = reader.manifest.parts[0]
    records = [payload for _, payload in reader.records(part)]
    try:
        body = values.decode(records[0]) if len(records) == 1 else None
    except SerializationError as error:
        raise Damaged(f"{part} cannot be read: {error}") from error
    if not isinstance(body, dict) or type(body.get("format")) is not int:
        raise Damaged(f"{part} is none")
    if body["format"] != _BODY_FORMAT:
        raise TooNew(f"{part} has format {body['format']}, and this version of jetbridge knows format {_BODY_FORMAT}")
    if not all(isinstance(body.get(part), dict) for part in ("sources", "stages", "sinks")):
        raise Damaged(f"{part} is none")
    return body


def _verify(reader: Reader) -> None:
    for part in reader.manifest.parts:
        for _ in reader.records(part):
            pass


def _info(home: str | os.PathLike[str], name: str, reader: Reader) -> SnapshotInfo:
    found = reader.manifest
    return SnapshotInfo(
        name, found.creation_time, found.job_id, found.job_name, found.payload_size, reader.number, Path(home)
    )


def unknown(home: str | os.PathLike[str], name: str) -> SnapshotError:
    """The error that there is no such snapshot."""
    names = ", ".join(f"'{each}'" for each in snapshot_files.names(folder_of(home))) or "none"
    return SnapshotError(f"there is no snapshot '{name}' in {folder_of(home)}; those that are there: {names}")
