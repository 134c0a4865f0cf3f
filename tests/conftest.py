"""What every test shares: the choice of runners, hypothesis' profile, scripts in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import hypothesis
import psutil
import pytest

if TYPE_CHECKING:
    from pathlib import Path

GAPS = {
    "notimpl": "runners, reason: jetbridge does not carry this out on these runners yet",
    "notyet": "runners, reason, link: something below jetbridge cannot do this on these runners yet",
    "never": "runners, reason: this makes no sense on these runners, and they say so",
}

hypothesis.settings.register_profile("jetbridge", deadline=None, max_examples=60, print_blob=True)
hypothesis.settings.register_profile("thorough", parent=hypothesis.settings.get_profile("jetbridge"), max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "jetbridge"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--runner",
        action="append",
        default=[],
        metavar="NAME",
        help="a runner for the conformance suite (repeatable; default: direct)",
    )


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in GAPS.items():
        config.addinivalue_line("markers", f"{name}(*runners, reason, link=None): {meaning}")


Script = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Run a script as a user does: a file, a process, a data folder beside it."""

    def run(
        source: str,
        *,
        env: Mapping[str, str] | None = None,
        expect: int | None = 0,
        timeout: float = 90,
        prefix: tuple[str, ...] = (),
        before: Callable[[], None] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(source))
        process = subprocess.run(
            [*prefix, sys.executable, "-W", "error::ResourceWarning", str(path)],
            cwd=tmp_path,
            env={**os.environ, "JETBRIDGE_HOME": str(tmp_path / "home"), "JETBRIDGE_PARALLELISM": "1", **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            preexec_fn=before,
        )
        if expect is not None:
            assert process.returncode == expect, f"exit {process.returncode}\n{process.stdout}\n{process.stderr}"
        return process

    return run


@pytest.fixture(scope="session", autouse=True)
def _no_process_is_left():
    """Every process that a test starts has ended when the session ends."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    _, alive = psutil.wait_procs(left, timeout=30)
    described = [f"{child.pid}: {' '.join(child.cmdline())}" for child in alive if child.is_running()]
    for child in alive:
        child.kill()
    assert not described, "processes outlived the tests:\n" + "\n".join(described)
