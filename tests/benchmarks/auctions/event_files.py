"""The events of the auction house of examples/nexmark as a file of batches, which every contender reads."""

import pickle
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

from text import folder

EXAMPLE = str(Path(__file__).parents[3] / "examples" / "nexmark")
if EXAMPLE not in sys.path:
    sys.path.append(EXAMPLE)

BATCH = 4_000
_LENGTH = struct.Struct("<I")


def events_file(count: int) -> Path:
    """The file of so many events; it is made once."""
    from events import events

    path = folder() / f"auctions-{count}"
    if not path.exists():
        made = events(count)
        staged = path.with_suffix(".new")
        with staged.open("wb") as file:
            while batch := [event for _, event in zip(range(BATCH), made, strict=False)]:
                data = pickle.dumps(batch, protocol=5)
                file.write(_LENGTH.pack(len(data)) + data)
        staged.rename(path)
    return path


def batches(path: str, first: int = 0, end: int | None = None) -> Iterator[list[Any]]:
    """The batches of a file, from one number to another."""
    number = 0
    with open(path, "rb") as file:
        while (end is None or number < end) and (head := file.read(_LENGTH.size)):
            [size] = _LENGTH.unpack(head)
            if number < first:
                file.seek(size, 1)
            else:
                yield pickle.loads(file.read(size))
            number += 1


def numbers(rows: list[Any]) -> list[int]:
    """Rows of a result as numbers, for the comparison."""
    return [crc32(repr(tuple(row)).encode()) for row in rows]
