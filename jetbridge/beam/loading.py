"""Beam in the user's process: what it would do to the logging there is left undone."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_lock = threading.Lock()


def load_beam() -> None:
    """Import Beam, without its warning that a package of Google's is missing, which nothing here needs."""
    root = logging.getLogger()
    with _lock, unconfigured():
        root.addFilter(_says_something)
        try:
            import apache_beam  # noqa: F401
        finally:
            root.removeFilter(_says_something)
    hints = logging.getLogger("apache_beam.typehints.native_type_compatibility")
    if not hints.level:
        hints.setLevel(logging.WARNING)  # at INFO it tells of each type hint that is a string, which all of ours are


@contextmanager
def unconfigured() -> Iterator[None]:
    """Let Beam configure no logging: its import does, and each ``PipelineOptions()``.

    The user's own ``basicConfig()`` would do nothing after that, and jetbridge's messages would look like Beam's.
    """
    root, handler = logging.getLogger(), _Unconfigured()
    root.addHandler(handler)  # with any handler at all, Beam's calls configure nothing
    try:
        yield
    finally:
        root.removeHandler(handler)


class _Unconfigured(logging.NullHandler):
    """Shows others' messages as Python does while nobody has configured logging."""

    def handle(self, record: logging.LogRecord) -> bool:
        """Show warnings, if this handler stands for all that there are."""
        last = logging.lastResort
        if record.name.partition(".")[0] == "jetbridge" or logging.getLogger().handlers[:1] != [self] or last is None:
            return False
        return record.levelno >= last.level and bool(last.handle(record))


def _says_something(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("apitools not found")
