"""Failures on their way from a worker through Beam's and Flink's exceptions, which are only text.

Flink neither cuts nor breaks the text of an exception, but repeats it several
times in each report, and a TaskManager that reports more than its message size
allows dies of that. So what a worker reports is kept small.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from typing import TYPE_CHECKING, Any

from jetbridge.beam.naming import stage_of
from jetbridge_flink.failure_causes import SYMPTOMS, Cause, cause_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

MOST = 48_000
"""Characters of a report: a failure's record as a mark, or the whole text of an exception."""

_MARK = re.compile(r"jetbridge-failure:([A-Za-z0-9+/=]+):end")
_RECENT = 5  # texts of the past in which a cause is looked for, when the newest shows only a symptom
_SHOWN = 2000  # characters of a message; the traceback has it all
_CUT = "\n... {} characters ...\n"

_PYTHON = re.compile(r"Error received from SDK harness for instruction \S+: (.*?)(?=\n\tat |\nCaused by: |\Z)", re.S)
_RAISED_WITHIN = "\nDuring handling of the above exception, another exception occurred:"
_RAISED = re.compile(r"^(?![ \t]|Traceback )(?P<type>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?\Z", re.S | re.M)
_STEP = re.compile(r" \[while running '([^']*)'\]")


def mark(record: dict[str, Any]) -> str:
    """A failure's record as text that survives being wrapped: one line, of bounded length.

    Long values are shortened when they must be, in their middle.

    Example:
        >>> find([f"RuntimeException: {mark({'message': 'no'})} [while running 'a']"])
        {'message': 'no'}
    """
    limit = MOST
    while True:
        short = {key: shorten(value, limit) if isinstance(value, str) else value for key, value in record.items()}
        packed = base64.b64encode(zlib.compress(json.dumps(short).encode()))
        if len(packed) <= MOST or limit < 100:
            return f"jetbridge-failure:{packed.decode()}:end"
        limit //= 2


def find(texts: Iterable[str]) -> dict[str, Any] | None:
    """The record that one of some exceptions' texts carries, of the first that does."""
    for text in texts:
        for found in _MARK.finditer(text):
            try:
                record = json.loads(zlib.decompress(base64.b64decode(found[1], validate=True)))
            except (ValueError, binascii.Error, zlib.error):
                continue  # a user's text that looks alike
            if isinstance(record, dict):
                return record
    return None


def of_users(texts: Iterable[str], stages: Collection[str]) -> dict[str, Any] | None:
    """The record of a failure that comes again however often the job is started: of a user's code.

    Args:
        texts: The texts of Flink's exceptions, the newest first.
        stages: The names of stages with a Beam transform of the user's, whose exceptions carry no mark.
    """
    texts = list(texts)
    marked = find(texts)
    if marked is not None or not stages:
        return marked
    told = (_from_python(text) for text in texts)
    for each in told:
        if each and each["stage"] in stages and not each["type"].startswith("grpc."):
            return {**each, "message": f"apply_beam '{each['stage']}' failed: {each['message']}"}
    return None


def shorten(text: str, limit: int = MOST) -> str:
    r"""A text without its middle, when it is too long; a mark in it stays whole.

    Example:
        >>> shorten("a" * 50 + "b" * 50, 21)
        'aaaaaaa\n... 79 characters ...\nbbbbbbbbbbbbbb'
    """
    if len(text) <= limit:
        return text
    head, tail = text[: limit // 3], text[limit // 3 - limit :]
    cut = _CUT.format(len(text) - limit)
    marked = _MARK.search(text)
    if marked is not None and marked[0] not in head and marked[0] not in tail:
        cut += marked[0] + "\n"
    return head + cut + tail


def explain(texts: Iterable[str]) -> dict[str, Any]:
    """The record of a failure in plain language.

    Args:
        texts: The texts of Flink's exceptions, the newest first.

    Returns:
        What the failure carries itself, if it does; else its type, message, stage,
        item and traceback, as far as the texts tell them.
    """
    texts = list(texts)
    marked = find(texts)
    if marked is not None:
        return marked
    newest = texts[0] if texts else ""
    python = _from_python(newest)
    if python is not None:
        return python
    causes = [cause_of(text) for text in texts[:_RECENT]]
    known = next(filter(None, causes), None)
    if known is not None and known.kind in SYMPTOMS:
        # What broke first is often told once, and its consequences again and again.
        known = next((cause for cause in causes if cause is not None and cause.kind not in SYMPTOMS), known)
    return _record(known or Cause("FlinkError", _last_cause(newest)))


def told(texts: Iterable[str], death: Path) -> str:
    """A failure in one line of plain language.

    Args:
        texts: The texts of Flink's exceptions, the newest first.
        death: Where a job's workers leave how the last of them died.
    """
    record = explain(texts)
    if record["type"] == "WorkerDied" and death.exists():
        return f"{record['message']}; the last one {death.read_text()}"
    return str(record["message"])


def _record(cause: Cause) -> dict[str, Any]:
    return {"type": cause.kind, "message": cause.message, "stage": None, "item": None, "traceback": None}


def _from_python(text: str) -> dict[str, Any] | None:
    """The record of a Python exception that carries no mark: of Beam itself, or of a user's Beam transform."""
    found = _PYTHON.search(text)
    if found is None:
        return None
    step = _STEP.search(found[1])
    trace = found[1].partition(_RAISED_WITHIN)[0].strip()
    raised = _RAISED.search(trace)
    kind = raised["type"] if raised else "Error"
    message = trace[raised.start() :] if raised else trace.rpartition("\n")[2]
    message = shorten(_STEP.sub("", message).strip(), _SHOWN)
    if kind in ("ModuleNotFoundError", "ImportError"):
        message += (
            ": the workers cannot import what the pipeline needs. Install it where they run, "
            "and keep own modules in a folder that is in sys.path when the job is submitted"
        )
    stage = stage_of(step[1]) or None if step else None
    return {"type": kind, "message": message, "stage": stage, "item": None, "traceback": trace + "\n"}


def _last_cause(text: str) -> str:
    told = [line.strip() for line in text.splitlines()]
    told = [line for line in told if line and not line.startswith(("at ", "... ", "Suppressed: "))]
    causes = [line.removeprefix("Caused by: ") for line in told if line.startswith("Caused by: ")]
    return (causes or told or ["the job ended in the cluster, and Flink does not say why"])[-1]
