"""Text files: one item per line, without the line's end."""

from __future__ import annotations

from typing import Any, ClassVar

from jetbridge.connectors.base import BadItem
from jetbridge.connectors.files_lines import LineSource
from jetbridge.connectors.files_sink import FileSink


class TextSource(LineSource):
    r"""Lines as str; they end with ``\n`` or ``\r\n``, and the last one need not end."""

    kind: ClassVar[str] = "text"

    def parse(self, partition: str, offset: int, data: bytes) -> list[Any]:
        """The lines of a block: decoded and split at once."""
        text = self.decode(partition, offset, data)
        if "\r" in text:
            text = text.replace("\r\n", "\n")
            if data.endswith(b"\r"):  # the file ends in a line end that lacks its second half
                text = text[:-1]
        lines = text.split("\n")
        if not lines[-1]:
            lines.pop()
        return lines


class TextSink(FileSink):
    r"""Each item a line; one that holds ``\n`` is refused, as it would be read back as several."""

    kind: ClassVar[str] = "text"
    extension: ClassVar[str] = ".txt"

    def format(self, items: list[Any]) -> bytes:
        """The lines in UTF-8."""
        try:
            lines = ("\n".join(items) + "\n").encode()
        except (TypeError, UnicodeEncodeError):
            raise _bad_line(items) from None
        if lines.count(b"\n") != len(items):
            raise _bad_line(items)
        return lines


def _bad_line(items: list[Any]) -> BadItem:
    for index, item in enumerate(items):
        if not isinstance(item, str):
            return BadItem(
                index, f"a text file takes str items; got {type(item).__name__}: add .map(str) before the sink"
            )
        if "\n" in item:
            hint = 'flat_map(str.splitlines) makes an item of each, map(lambda text: text.replace("\\n", " ")) one line'
            return BadItem(index, f"a text file has a line for each item, and the text has line breaks: {hint}")
        try:
            item.encode()
        except UnicodeEncodeError as error:
            return BadItem(index, f"the text cannot be written as UTF-8: {error}")
    raise AssertionError("every item is a line")
