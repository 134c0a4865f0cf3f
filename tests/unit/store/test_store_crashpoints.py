"""Points at which a test may kill a process."""

from __future__ import annotations

import signal
from typing import Any

import pytest

SOURCE = """
    from jetbridge.store.crashpoints import reach
    for time in range(1, 6):
        print(time, flush=True)
        reach("commit:before")
"""


@pytest.mark.parametrize(
    ("wanted", "last"),
    [
        ("commit:before", "1"),
        ("commit:before:3", "3"),
        ("commit:before:9", "5"),
        ("commit:beforehand", "5"),
        ("commit", "5"),
        ("commit:before:x", "5"),
        ("", "5"),
    ],
)
def test_a_process_ends_where_it_was_told(launch: Any, monkeypatch: Any, wanted: str, last: str) -> None:
    monkeypatch.setenv("JETBRIDGE_CRASH_AT", wanted)
    process = launch(SOURCE)
    out, err = process.communicate(timeout=60)
    assert out.split()[-1] == last, err
    assert process.returncode == (0 if last == "5" else -signal.SIGKILL)
