"""The command ``jetbridge``: jobs from a terminal.

::

    jetbridge submit flights.py
    jetbridge list
    jetbridge metrics flights --watch
"""

from __future__ import annotations

from jetbridge.cli import hazelcast, reading, steering, submitting, watching
from jetbridge.cli.frame import app, main

__all__ = ["app", "hazelcast", "main", "reading", "steering", "submitting", "watching"]

_ORDER = [
    "submit",
    "list",
    "show",
    "metrics",
    "logs",
    "suspend",
    "resume",
    "restart",
    "cancel",
    "snapshot",
    "snapshots",
]
app.registered_commands.sort(key=lambda each: _ORDER.index(str(each.name)))
