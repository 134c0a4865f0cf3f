"""What is said about a CSV row or value that cannot be read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

_CONVERSION = re.compile(
    r"In CSV column #(?P<column>\d+): (?:Row #(?P<row>\d+): )?CSV conversion error to (?P<kind>[^:]+): (?P<rest>.*)",
    re.DOTALL,
)
_KINDS = {"int64": "int", "double": "float", "bool": "bool", "string": "str", "date32[day]": "date"}
_SHOWN = 120


def bad_row(path: str, line: int, data: bytes, row: Any, delimiter: str) -> str:
    """A row with too many or too few fields; ``line`` is that of the data's start."""
    text = str(row.text)
    found = (b"\n" + data).find(b"\n" + text.encode("utf-8", "surrogateescape"))
    lines_before = data.count(b"\n", 0, max(found, 0))
    where = f"line {line + lines_before}" if found >= 0 else f"after line {line}"
    advice = (
        f"is the delimiter {delimiter!r}?"
        if row.actual_columns == 1
        else f"a value that holds {delimiter!r} must be quoted"
    )
    return (
        f"{path}, {where}: got {row.actual_columns} fields, expected {row.expected_columns}: {_short(text)!r}; {advice}"
    )


def bad_value(path: str, line: int, columns: tuple[str, ...], inferred: Collection[str], message: str) -> str:
    """A value that does not fit its column, made of pyarrow's message."""
    match = _CONVERSION.match(message)
    if match is None or int(match["column"]) >= len(columns):
        return f"{path}, rows from line {line} on: {message}"
    column = columns[int(match["column"])]
    kind = match["kind"].partition("[")[0] if match["kind"].startswith("timestamp") else match["kind"]
    kind = {"timestamp": "datetime", "time32": "time"}.get(kind, _KINDS.get(kind, kind))
    # rows are counted, not lines: quoted line ends and empty lines make it a little wrong
    where = f"about line {line + int(match['row']) - 1}" if match["row"] else f"after line {line}"
    quoted = re.search(r"'(.*)'", match["rest"], re.DOTALL)
    value = repr(_short(quoted[1])) if quoted else match["rest"]
    better = "float" if kind == "int" and quoted and _is_number(quoted[1]) else "str"
    advice = (
        f"{'inferred from the first rows' if column in inferred else 'as told'}; pass types={{{column!r}: {better}}}"
    )
    return f"{path}, {where}, column {column!r}: {value} is not {_article(kind)} ({advice})"


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
