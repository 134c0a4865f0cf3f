"""Text and small numbers as the cluster keeps them, without the client's detours: most items are such.

The bytes are those of the client's own serializers, which need four times as long.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_INT, _LONG, _DOUBLE, _TEXT = -7, -8, -10, -11  # the protocol's ids of these types
_HEAD = struct.Struct(">ii")  # no partition hash of its own, and the id
_OF_INT, _OF_DOUBLE, _OF_TEXT = struct.Struct(">iii"), struct.Struct(">iid"), struct.Struct(">iii")
_READ_INT, _READ_LONG, _READ_DOUBLE = struct.Struct(">i"), struct.Struct(">q"), struct.Struct(">d")


def encoded(item: Any) -> bytes | None:
    """The bytes of an item, or None for one that the client must write.

    Example:
        >>> encoded("é").hex(" ", -4)
        '00000000 fffffff5 00000002 c3a9'
        >>> encoded([1]) is None
        True
    """
    kind = type(item)
    if kind is str:
        try:
            text: bytes = item.encode()
        except UnicodeEncodeError:
            return None
        return _OF_TEXT.pack(0, _TEXT, len(text)) + text
    if kind is int and -0x80000000 <= item <= 0x7FFFFFFF:
        return _OF_INT.pack(0, _INT, item)
    if kind is float:
        return _OF_DOUBLE.pack(0, _DOUBLE, item)
    return None


def decoder(service: Any) -> Callable[[Any], Any]:
    """What reads the client's ``Data``: quickly what is plain, and with a service what is not.

    Args:
        service: The client's serialization service.
    """
    to_object = service.to_object
    if not service._is_big_endian:
        return to_object  # type: ignore[no-any-return]

    def decoded(data: Any) -> Any:
        content = data.buffer
        _, kind = _HEAD.unpack_from(content)
        if kind == _TEXT:
            return str(memoryview(content)[12:], "utf-8")
        if kind == _INT:
            return _READ_INT.unpack_from(content, 8)[0]
        if kind == _DOUBLE:
            return _READ_DOUBLE.unpack_from(content, 8)[0]
        if kind == _LONG:
            return _READ_LONG.unpack_from(content, 8)[0]
        return to_object(data)

    return decoded
