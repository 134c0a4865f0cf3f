"""What every test shares: the choice of runners, hypothesis' profile, waiting, scripts in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import hypothesis
import psutil
import pytest

from jetbridge.store import registered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE = 120.0  # seconds after which a test gives up waiting
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
        help="a runner for the conformance suite (repeatable; default: all, some on a sample)",
    )


def pytest_configure(config: pytest.Config) -> None:
    # A shell lets its background jobs ignore Ctrl-C, and so would the scripts of the tests, which are to hear it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name, meaning in GAPS.items():
        config.addinivalue_line("markers", f"{name}(*runners, reason, link=None): {meaning}")


types_of_tests: dict[tuple[str, str], type] = {}


def pytest_collection_finish(session: pytest.Session) -> None:
    """What test modules register is kept for each of them: a job's workers would import them all, and pytest too."""
    for name in [name for name in registered.by_name if name[0].partition(".")[0] != "jetbridge"]:
        types_of_tests[name] = registered.by_name.pop(name)


@pytest.fixture(scope="module", autouse=True)
def _types_of_this_module(request: pytest.FixtureRequest) -> Iterator[None]:
    """Classes that a test module registers may be stored there, and there alone."""
    before, module = dict(registered.by_name), getattr(request.node, "obj", None)
    if module is not None:
        registered.by_name.update({name: cls for name, cls in types_of_tests.items() if name[0] == module.__name__})
    yield
    registered.by_name.clear()
    registered.by_name.update(before)


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


Started = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Started]:
    """Start a script in a process of its own, which ends with the test at the latest."""
    started: list[subprocess.Popen[str]] = []

    def start(source: str, *, env: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
        path = tmp_path / f"script{len(started)}.py"
        path.write_text(source)
        process = subprocess.Popen(
            [sys.executable, str(path)],
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


Value = TypeVar("Value")
Until = Callable[..., Any]


@pytest.fixture(scope="session")
def until() -> Until:
    """Wait for a condition, and give what it returned."""

    def until(condition: Callable[[], Value], what: str = "the condition", deadline: float = DEADLINE) -> Value:
        end = time.monotonic() + deadline
        while not (value := condition()):
            assert time.monotonic() < end, f"{what} never came true"
            time.sleep(0.005)
        return value

    return until


@pytest.fixture(scope="session")
def gone(until: Until) -> Callable[[int], None]:
    """Wait until a process does not run any more."""

    def ended(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    def gone(pid: int) -> None:
        until(lambda: ended(pid), f"the end of process {pid}")

    return gone


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
