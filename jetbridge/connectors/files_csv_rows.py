"""Where the rows of a CSV file end, although a quoted value may hold line ends.

Everything starts at a row's start. Between two quotes that stand where quotes
belong, the text is outside or inside by turns, so splitting the bytes at the
quotes (in C) tells the row ends. Only data with quotes elsewhere (``5" pipe``)
is walked through quote by quote, as pyarrow's parser does it.
"""

from __future__ import annotations

_LONGEST_ROW = 128 << 20
_LINE_END = b"\n"


class OpenQuoteError(Exception):
    """A quote is never closed.

    Attributes:
        at: Where in the data the quote stands.
    """

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.at = at


class RowCutter:
    """Finds row ends for one delimiter and quote character (None: nothing is quoted)."""

    def __init__(self, delimiter: str, quote: str | None) -> None:
        self._quote = quote.encode() if quote else b""
        self._around = frozenset(f"{delimiter}\r\n".encode())

    def cut(self, data: bytes, last: bool) -> int:
        """How many leading bytes are whole rows; see `files_bytes.Cut`.

        Raises:
            OpenQuoteError: When the data ends inside quotes and nothing follows, or far too much was read in vain.
        """
        if not self._quote or self._quote not in data:
            return len(data) if last else data.rfind(_LINE_END) + 1
        parts = data.split(self._quote)
        if self._regular(parts):
            inside = len(parts) % 2 == 0
            end = len(data) if last and not inside else _last_end(parts)
        else:
            end, opened = self._walk(data)
            inside = opened is not None
            end = len(data) if last and not inside else end
        if inside and (last or (not end and len(data) > _LONGEST_ROW)):
            raise OpenQuoteError(self._walk(data)[1] or 0)
        return end

    def first_end(self, data: bytes) -> int:
        """The length of the first row, or 0 when it does not end in this data."""
        end = data.find(_LINE_END) + 1
        while end and self.cut(data[:end], False) != end:
            end = data.find(_LINE_END, end) + 1
        return end

    def _regular(self, parts: list[bytes]) -> bool:
        around = self._around
        if parts[0] and parts[0][-1] not in around:
            return False
        if len(parts) % 2 and parts[-1] and parts[-1][0] not in around:
            return False
        # an empty part between two quoted ones is a doubled quote
        return all(not part or (part[0] in around and part[-1] in around) for part in parts[2:-1:2])

    def _walk(self, data: bytes) -> tuple[int, int | None]:
        """The end of the last whole row, and where a quote is still open at the end."""
        quote, around, position, end = self._quote, self._around, 0, 0
        while True:
            found = data.find(quote, position)
            end = max(end, data.rfind(_LINE_END, position, found if found >= 0 else len(data)) + 1)
            if found < 0:
                return end, None
            position = found + 1
            if found and data[found - 1] not in around:
                continue  # in the middle of a value a quote is a character like others
            close = data.find(quote, position)
            while close >= 0 and data[close + 1 : close + 2] == quote:
                close = data.find(quote, close + 2)
            if close < 0:
                return end, found
            position = close + 1


def _last_end(parts: list[bytes]) -> int:
    """The end of the last row, where the parts with even numbers are outside quotes."""
    after = 0  # bytes behind the part at hand
    for index in range(len(parts) - 1, -1, -1):
        if index % 2 == 0:
            found = parts[index].rfind(_LINE_END)
            if found >= 0:
                return sum(map(len, parts)) + len(parts) - 1 - after - (len(parts[index]) - found - 1)
        after += len(parts[index]) + 1
    return 0
