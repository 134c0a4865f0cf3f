"""JSON lines: one JSON value per line, any value."""

from __future__ import annotations

import json
import secrets
from typing import Any, ClassVar

from jetbridge.connectors.base import BadItem
from jetbridge.connectors.files_lines import LineSource
from jetbridge.connectors.files_sink import FileSink
from jetbridge.errors import SourceError

# A block is parsed as one array, which is three times as fast as line by line. A mark between the lines proves
# afterwards that each line was one value: lines such as '1, 2' or '[1' and '2]' would pass unnoticed without it.
# It is random, so that no file can hold it.
_MARK = secrets.token_hex(16)
_BETWEEN = f",{json.dumps(_MARK)},"
_SHOWN = 120
_STR = frozenset({str})
_PLAIN = frozenset({str, int, float, bool, type(None)})


class JsonLinesSource(LineSource):
    """The values of the lines; empty lines are passed over."""

    kind: ClassVar[str] = "json_lines"

    def parse(self, partition: str, offset: int, data: bytes) -> list[Any]:
        """The values of a block."""
        lines = self.decode(partition, offset, data).split("\n")
        texts = [line for line in lines if line and not line.isspace()]
        if not texts:
            return []
        try:
            values = json.loads(f"[{_BETWEEN.join(texts)}]")
        except (ValueError, RecursionError):
            return self._one_by_one(partition, offset, lines)
        items: list[Any] = values[::2]
        marks = len(texts) - 1
        if len(values) != len(texts) + marks or values[1::2].count(_MARK) != marks:
            return self._one_by_one(partition, offset, lines)
        return items

    def _one_by_one(self, partition: str, offset: int, lines: list[str]) -> list[Any]:
        items = []
        for index, line in enumerate(lines):
            if line and not line.isspace():
                try:
                    items.append(json.loads(line))
                except (ValueError, RecursionError) as cause:
                    before = len("".join(f"{earlier}\n" for earlier in lines[:index]).encode(self.encoding))
                    number = self.line_number(partition, offset) + index
                    shown = line if len(line) <= _SHOWN else line[:_SHOWN] + "…"
                    raise SourceError(
                        f"{partition}, line {number}, at about byte {offset + before}: not one JSON value: "
                        f"{cause}: {shown!r}"
                    ) from cause
        return items


class JsonLinesSink(FileSink):
    """Each item as JSON on a line of its own; what JSON has no form for is refused, rather than changed."""

    kind: ClassVar[str] = "json_lines"
    extension: ClassVar[str] = ".jsonl"

    def format(self, items: list[Any]) -> bytes:
        """The lines in UTF-8."""
        encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
        try:
            lines = [encode(item) for item in items]
            _check_keys(items)
        except (TypeError, ValueError, RecursionError):
            raise _bad_value(items) from None
        text = "\n".join(lines) + "\n"
        try:
            return text.encode()
        except UnicodeEncodeError:  # half a surrogate pair can only be written as an escape
            return "".join(f"{json.dumps(item)}\n" for item in items).encode()


def _check_keys(values: list[Any]) -> None:
    """Refuse keys that are no str: Python's encoder makes them such, so that 1 and "1" would become one."""
    left: list[Any] = [values]
    while left:
        inside = left.pop()
        if isinstance(inside, dict):
            if not _STR.issuperset(map(type, inside)):
                for key in inside:
                    if not isinstance(key, str):
                        raise TypeError(f"the key {key!r} is no str but {type(key).__name__}")
            inside = inside.values()
        if not _PLAIN.issuperset(map(type, inside)):
            left += [value for value in inside if isinstance(value, (dict, list, tuple))]


def _bad_value(items: list[Any]) -> BadItem:
    for index, item in enumerate(items):
        try:
            json.dumps(item, allow_nan=False)
            _check_keys([item])
        except (TypeError, ValueError, RecursionError) as error:
            hint = "map it to str, finite numbers, None, lists and dicts with str keys"
            return BadItem(index, f"the item cannot be written as JSON: {error}: {hint}")
    raise AssertionError("every item is JSON")
