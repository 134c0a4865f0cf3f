"""Importing Beam in the user's process, without what it says there that is no news."""

from __future__ import annotations

import logging
import threading

_lock = threading.Lock()


def load_beam() -> None:
    """Import Beam.

    It warns that a package of Google's is missing, which nothing here needs, and
    its call of ``logging.warning`` would configure the user's logging besides.
    """
    root = logging.getLogger()
    handler = logging.NullHandler()  # with any handler at all, the call configures nothing
    with _lock:
        root.addHandler(handler)
        root.addFilter(_says_something)
        try:
            import apache_beam  # noqa: F401
        finally:
            root.removeFilter(_says_something)
            root.removeHandler(handler)
    hints = logging.getLogger("apache_beam.typehints.native_type_compatibility")
    if not hints.level:
        hints.setLevel(logging.WARNING)  # at INFO it tells of each type hint that is a string, which all of ours are


def _says_something(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("apitools not found")
