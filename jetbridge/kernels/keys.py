"""Keys: which ones are equal, their stable bytes, and the shard that they belong to.

Keys are equal as in a dict: 1, 1.0, True and Decimal(1) are one key. NaN, which
equals nothing, is one key too. Equal keys have equal bytes in every process and
in every run, which Python's own ``hash`` of a str does not give.
"""

from __future__ import annotations

import datetime as dt
import enum
import uuid
import zlib
from decimal import Decimal
from typing import Any

from jetbridge.errors import KeyTypeError

KEY_TYPES = (
    "None, bool, int, float, str, bytes, datetime, date, time, timedelta, Decimal, UUID, Enum, "
    "and tuples and frozensets of these"
)
NAN = float("nan")
_DECIMAL_NAN = Decimal("NaN")
_PLAIN = frozenset({int, str, bytes, bool, type(None), dt.datetime, dt.date, uuid.UUID})
_NUMBERS = frozenset({int, float, bool, Decimal})
_MIX = 0x9E3779B1


def canonical(key: Any) -> Any:
    """The representative of a key: itself, but one object for every NaN, also inside tuples and frozensets.

    Example:
        >>> canonical(float("nan")) is canonical(float("nan"))
        True
        >>> canonical(("a", 1))
        ('a', 1)
    """
    kind = type(key)
    if kind in _PLAIN:
        return key
    if isinstance(key, float):
        return key if key == key else NAN
    if isinstance(key, Decimal):
        return _DECIMAL_NAN if key.is_nan() else key
    if isinstance(key, tuple):
        parts = [canonical(part) for part in key]
        if all(new is old for new, old in zip(parts, key, strict=True)):
            return key
        # A NamedTuple equals the plain tuple of its parts, so the plain one may stand for it.
        return tuple(parts)
    if isinstance(key, frozenset):
        parts = [canonical(part) for part in key]
        return key if all(part == part for part in key) else frozenset(parts)
    return key


def key_bytes(key: Any) -> bytes:
    """Bytes that are equal exactly when two keys are equal.

    Example:
        >>> key_bytes(1) == key_bytes(1.0) == key_bytes(True)
        True
        >>> key_bytes("1") == key_bytes(1)
        False

    Raises:
        KeyTypeError: For a type that is not in `KEY_TYPES`.
    """
    if isinstance(key, str):
        return b"s" + key.encode("utf-8", "surrogatepass")
    if isinstance(key, int):
        return b"i%x" % key  # hexadecimal: decimal digits have a limit, and take long
    if key is None:
        return b"n"
    if isinstance(key, (float, Decimal)):
        return _number_bytes(key)
    if isinstance(key, bytes):
        return b"b" + key
    if isinstance(key, tuple):
        return b"t" + _join(key_bytes(part) for part in key)
    if isinstance(key, frozenset):
        return b"f" + _join(sorted(key_bytes(part) for part in key))
    if isinstance(key, (dt.date, dt.time, dt.timedelta)):
        return _time_bytes(key)
    if isinstance(key, uuid.UUID):
        return b"u" + key.bytes
    if isinstance(key, enum.Enum):
        kind = type(key)
        # Before Python 3.11 a combination of flags has no name.
        own = f"={key.value!r}" if key.name is None else key.name
        return f"e{kind.__module__}.{kind.__qualname__}.{own}".encode()
    raise KeyTypeError(f"a key must be one of {KEY_TYPES}; got {_short(key)} ({type(key).__name__})")


def shard_of(key: Any, shards: int) -> int:
    """The shard of a key, the same in every process.

    Example:
        >>> shard_of("a", 128) == shard_of("a", 128)
        True
        >>> shard_of(2, 128) == shard_of(2.0, 128)
        True

    Raises:
        KeyTypeError: For a type that is not in `KEY_TYPES`.
    """
    if isinstance(key, str):
        return zlib.crc32(str.encode(key, "utf-8", "surrogatepass")) % shards
    if isinstance(key, (int, float, Decimal)) and key == key:
        # Python's hash of a number is the same everywhere, and equal for equal numbers; an Enum has its own.
        number = hash(key) if type(key) in _NUMBERS else hash(int(key) if isinstance(key, int) else +key)
        return ((number ^ (number >> 32)) * _MIX >> 20) % shards
    return zlib.crc32(key_bytes(key)) % shards


def shards_of(keys: list[Any], shards: int) -> list[int]:
    """The shards of many keys: quicker than one by one where all are ints, or all are strs.

    Example:
        >>> shards_of(["a", "b"], 128) == [shard_of("a", 128), shard_of("b", 128)]
        True

    Raises:
        KeyTypeError: For a type that is not in `KEY_TYPES`.
    """
    kinds = set(map(type, keys))
    if kinds == {int}:
        if not shards & (shards - 1) and min(keys) >= 0 and max(keys) <= 0xFFFFFFFF:
            # The same result from the low bits alone, so that no step needs a large int.
            mask = (shards << 20) - 1
            factor = _MIX & mask
            return [((key & mask) * factor & mask) >> 20 for key in keys]
        return [(((number := hash(key)) ^ (number >> 32)) * _MIX >> 20) % shards for key in keys]
    if kinds == {str}:
        crc32 = zlib.crc32
        return [crc32(key.encode("utf-8", "surrogatepass")) % shards for key in keys]
    return [shard_of(key, shards) for key in keys]


def _number_bytes(key: float | Decimal) -> bytes:
    if key != key:
        return b"N" if isinstance(key, float) else b"M"
    if key in (float("inf"), float("-inf")):
        return b"i+inf" if key > 0 else b"i-inf"
    above, below = key.as_integer_ratio()
    return b"i%x" % above if below == 1 else b"q%x/%x" % (above, below)


def _time_bytes(key: dt.date | dt.time | dt.timedelta) -> bytes:
    if isinstance(key, dt.datetime):
        offset = key.utcoffset()
        naive = key.replace(tzinfo=None, fold=0)
        return b"d" + naive.isoformat().encode() if offset is None else b"D" + (naive - offset).isoformat().encode()
    if isinstance(key, dt.date):
        return b"a%d" % key.toordinal()
    if isinstance(key, dt.timedelta):
        return b"l%d" % (key // dt.timedelta(microseconds=1))
    offset = key.utcoffset()
    micros = ((key.hour * 60 + key.minute) * 60 + key.second) * 1_000_000 + key.microsecond
    if offset is None:
        return b"c%d" % micros
    return b"C%d" % (micros - offset // dt.timedelta(microseconds=1))


def _join(parts: Any) -> bytes:
    return b"".join(b"%d:%b" % (len(part), part) for part in parts)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
