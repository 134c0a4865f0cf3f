"""A database for each test, and processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from jetbridge.store import Database

if TYPE_CHECKING:
    from pathlib import Path

Launch = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(tmp_path / "data")
    yield database
    database.close()


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Start a Python process with some source; ``home`` is the data folder's path in it, ``sys.argv`` has the rest."""
    started: list[subprocess.Popen[str]] = []
    prelude = "import os, sys\nfrom jetbridge.store import *\nfrom jetbridge.errors import *\nhome = sys.argv.pop(1)\n"

    def start(source: str, *arguments: object, home: Path | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", prelude + textwrap.dedent(source), str(home or tmp_path / "data")]
            + [str(argument) for argument in arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def finish() -> Callable[[subprocess.Popen[str]], str]:
    """Wait for a process's good end; its output."""

    def wait(process: subprocess.Popen[str], answer: str = "") -> str:
        out, err = process.communicate(answer, timeout=60)
        assert process.returncode == 0, f"exit {process.returncode}\n{out}\n{err}"
        return out.strip()

    return wait
