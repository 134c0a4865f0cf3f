"""The format of a snapshot's file: parts, each a row of records, and behind them the manifest that describes them.

::

    head      magic, format, number, checksum
    parts     records: kind, size, checksum, payload
    manifest  JSON: what the snapshot is of, and each part's place, size and SHA-256
    foot      place, size and SHA-256 of the manifest, checksum, magic

Each byte is covered by a checksum, so what is read is what was written. Nothing
here decodes a payload: a stranger's file can be looked at without harm.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT = 1
"""The format that this version writes, and the last one that it reads."""

_MAGIC = b"jetsnap\n"
_END = b"jetsend\n"
_HEAD = struct.Struct("<8sIQ")
_FOOT = struct.Struct("<QQ32s")
_RECORD = struct.Struct("<BQI")
_CRC = struct.Struct("<I")
_HEAD_SIZE = _HEAD.size + _CRC.size
_FOOT_SIZE = _FOOT.size + _CRC.size + len(_END)


class Damaged(Exception):
    """A file is no whole snapshot; the text names the part and what is wrong with it."""


class TooNew(Exception):
    """A later version of jetbridge wrote the file."""


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class Part(_Entry):
    """Where a part lies; the one without a stage is the checkpoint."""

    stage: str | None
    shard: int = Field(ge=0, lt=1 << 31)
    records: int = Field(ge=0)
    start: int = Field(ge=0)
    size: int = Field(ge=0)
    sha256: str

    def __str__(self) -> str:
        return "the checkpoint" if self.stage is None else f"the state of stage '{self.stage}', shard {self.shard}"


class StageEntry(_Entry):
    """A stage with state, a source or a sink."""

    kind: str
    default: str | None
    name: str | None = None


class Manifest(_Entry):
    """What a snapshot is of, and what it holds."""

    format: Literal[1]
    name: str
    creation_time: int
    job_id: str
    job_name: str | None
    sources: dict[str, StageEntry]
    stages: dict[str, StageEntry]
    sinks: dict[str, StageEntry]
    payload_size: int = Field(ge=0)
    parts: tuple[Part, ...]


class Writer:
    """Writes the parts one after the other, then the manifest.

    Args:
        file: An empty file.
        number: The snapshot's place in the order of creation.

    Attributes:
        payload_size: The bytes of all payloads so far.
    """

    def __init__(self, file: BinaryIO, number: int) -> None:
        self._file = file
        self._parts: list[dict[str, Any]] = []
        self._hash = hashlib.sha256()
        self._at = _HEAD_SIZE
        self.payload_size = 0
        head = _HEAD.pack(_MAGIC, FORMAT, number)
        file.write(head + _CRC.pack(zlib.crc32(head)))

    def begin(self, stage: str | None, shard: int) -> None:
        """Begin a part."""
        self._end_part()
        self._hash = hashlib.sha256()
        self._parts.append({"stage": stage, "shard": shard, "records": 0, "start": self._at})

    def record(self, kind: int, payload: bytes) -> None:
        """Add a record to the part."""
        part = self._parts[-1]
        part["records"] += 1
        head = _RECORD.pack(kind, len(payload), _crc(part["stage"], part["shard"], kind, payload))
        for data in (head, payload):
            self._file.write(data)
            self._hash.update(data)
            self._at += len(data)
        self.payload_size += len(payload)

    def finish(self, about: dict[str, Any]) -> None:
        """Write the manifest.

        Args:
            about: The fields of `Manifest` that are not known here.
        """
        self._end_part()
        fields = {**about, "format": FORMAT, "payload_size": self.payload_size, "parts": tuple(self._parts)}
        data = Manifest.model_validate(fields).model_dump_json().encode()
        foot = _FOOT.pack(self._at, len(data), hashlib.sha256(data).digest())
        self._file.write(data + foot + _CRC.pack(zlib.crc32(foot)) + _END)

    def _end_part(self) -> None:
        if self._parts:
            self._parts[-1]["size"] = self._at - self._parts[-1]["start"]
            self._parts[-1]["sha256"] = self._hash.hexdigest()


class Reader:
    """Reads a snapshot's manifest at once, and its parts when asked.

    Args:
        file: The file.

    Attributes:
        number: Its place in the order of creation.
        manifest: What it holds.

    Raises:
        Damaged: When the manifest is not what was written.
        TooNew: When a later version wrote it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.number = number_of(file)
        end = file.seek(0, io.SEEK_END)
        if end < _HEAD_SIZE + _FOOT_SIZE:
            raise Damaged(f"the file is cut off after {end} bytes")
        file.seek(end - _FOOT_SIZE)
        foot = file.read(_FOOT_SIZE)
        if foot[-len(_END) :] != _END or _CRC.pack(zlib.crc32(foot[: _FOOT.size])) != foot[_FOOT.size : -len(_END)]:
            raise Damaged("its end is not that of a snapshot: the file is cut off or was changed")
        start, size, digest = _FOOT.unpack(foot[: _FOOT.size])
        if start + size + _FOOT_SIZE != end:
            raise Damaged(f"the file has {end} bytes in place of {start + size + _FOOT_SIZE}")
        file.seek(start)
        data = file.read(size)
        if hashlib.sha256(data).digest() != digest:
            raise Damaged("the manifest does not match its checksum")
        try:
            self.manifest = Manifest.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise Damaged(f"the manifest is not as it should be: {place} {first['msg']}") from error
        self._check_places(start)

    def _check_places(self, end: int) -> None:
        parts = self.manifest.parts
        at = _HEAD_SIZE
        for part in parts:
            if part.start != at:
                raise Damaged(f"{part} begins at byte {part.start}, not {at}")
            at += part.size
        if at != end or not parts or parts[0].stage is not None or any(part.stage is None for part in parts[1:]):
            raise Damaged("the manifest's parts are not those of the file")

    def records(self, part: Part) -> Iterator[tuple[int, bytes]]:
        """A part's records as ``(kind, payload)``, one at a time.

        Raises:
            Damaged: When the part is not what was written; records before that were.
        """
        file, digest, left = self._file, hashlib.sha256(), part.size
        at = part.start
        for _ in range(part.records):
            file.seek(at)  # others may read between two records
            head = file.read(min(_RECORD.size, left))
            if len(head) < _RECORD.size:
                raise Damaged(f"{part} is cut off")
            kind, size, crc = _RECORD.unpack(head)
            if size > left - _RECORD.size:
                raise Damaged(f"{part} does not match its checksum")
            payload = file.read(size)
            if _crc(part.stage, part.shard, kind, payload) != crc:
                raise Damaged(f"{part} does not match its checksum")
            digest.update(head)
            digest.update(payload)
            left -= _RECORD.size + size
            at += _RECORD.size + size
            yield kind, payload
        if left or digest.hexdigest() != part.sha256:
            raise Damaged(f"{part} does not match its checksum")


def number_of(file: BinaryIO) -> int:
    """The number in a file's head.

    Raises:
        Damaged: When that is no head of a snapshot.
        TooNew: When a later version wrote it.
    """
    file.seek(0)
    data = file.read(_HEAD_SIZE)
    head = data[: _HEAD.size]
    if len(data) < _HEAD_SIZE or _CRC.pack(zlib.crc32(head)) != data[_HEAD.size :]:
        raise Damaged("its head is not that of a snapshot")
    magic, version, number = _HEAD.unpack(head)
    if magic != _MAGIC:
        raise Damaged("its head is not that of a snapshot")
    if version != FORMAT:
        raise TooNew(f"it has format {version}, and this version of jetbridge knows format {FORMAT}")
    return int(number)


def _crc(stage: str | None, shard: int, kind: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(repr((stage, shard, kind)).encode()))
