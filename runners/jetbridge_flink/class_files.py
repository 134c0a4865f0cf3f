"""Java's class files, as far as jetbridge looks into them: the constants (Java Virtual Machine Specification, 4.4)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_UTF8, _STRING, _METHODREF, _INTERFACE_METHODREF = 1, 8, 10, 11
NAME_AND_TYPE = 12
_SIZES = {3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 17: 4, 18: 4, 19: 2, 20: 2}
"""The sizes of constants, by tag."""


class ClassFile:
    r"""A class file's constants.

    Example:
        >>> ClassFile(b"\xca\xfe\xba\xbe\0\0\0\x3d\0\3" + utf8("hi") + b"\x08\0\1").string("hi")
        2

    Args:
        code: The class file.

    Attributes:
        count: How many numbers its constants take, and one more.
        end: Where the constants end.
    """

    def __init__(self, code: bytes) -> None:
        self.code = code
        [self.count] = struct.unpack_from(">H", code, 8)
        self._places: dict[int, int] = {}
        place, number = 10, 1
        while number < self.count:
            self._places[number] = place
            tag = code[place]
            place += 1 + (2 + struct.unpack_from(">H", code, place + 1)[0] if tag == _UTF8 else _SIZES[tag])
            number += 2 if tag in (5, 6) else 1  # a long or a double takes two numbers
        self.end = place

    def text(self, number: int) -> str:
        """The text of a constant that is one."""
        place = self._places[number]
        [size] = struct.unpack_from(">H", self.code, place + 1)
        return self.code[place + 3 : place + 3 + size].decode("latin-1")

    def pair(self, number: int) -> tuple[int, int]:
        """The two numbers that a constant consists of."""
        first, second = struct.unpack_from(">HH", self.code, self._places[number] + 1)
        return first, second

    def place(self, number: int) -> int:
        """Where a constant begins."""
        return self._places[number]

    def method(self, owner: str, name: str, descriptor: str) -> int | None:
        """The number of the constant for a method that is called: owner by its end, descriptor by its beginning."""
        for number in self._tagged(_METHODREF, _INTERFACE_METHODREF):
            class_number, name_and_type = self.pair(number)
            [of] = struct.unpack_from(">H", self.code, self._places[class_number] + 1)
            called, kind = (self.text(each) for each in self.pair(name_and_type))
            if self.text(of).endswith(owner) and called == name and kind.startswith(descriptor):
                return number
        return None

    def string(self, text: str) -> int | None:
        """The number of the constant for a string."""
        for number in self._tagged(_STRING):
            [of] = struct.unpack_from(">H", self.code, self._places[number] + 1)
            if self.text(of) == text:
                return number
        return None

    def _tagged(self, *tags: int) -> Iterator[int]:
        return (number for number, place in self._places.items() if self.code[place] in tags)


def utf8(text: str) -> bytes:
    """A constant that is a text."""
    return struct.pack(">BH", _UTF8, len(text)) + text.encode("latin-1")
