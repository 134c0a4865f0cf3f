"""The pytest plugin: the fixtures ``jet`` and ``jet_client``, and the option ``--jet-runner``."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jetbridge.client import Client, JetService

_DEADLINE = 60.0  # seconds that batch jobs may still take when their test has ended
_PASSED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    group = parser.getgroup("jetbridge")
    group.addoption("--jet-runner", default="direct", help="the runner of the fixture jet: direct or flink")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Note whether a test itself has passed; after Ctrl-C this is not called."""
    if call.when == "call":
        item.stash[_PASSED] = call.excinfo is None


@pytest.fixture(scope="session")
def _jet_session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    import jetbridge

    home: Path = tmp_path_factory.mktemp("jetbridge")
    home.chmod(0o700)
    client = jetbridge.connect(home=home, runner=request.config.getoption("--jet-runner"))
    yield client
    client.shutdown()


@pytest.fixture
def jet_client(_jet_session: Client, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client with a data folder of the test session's own.

    When the test has passed so far, its batch jobs are waited for; other jobs
    that it has left, such as those that read a stream, are cancelled. A failed
    job that the test has not joined fails the test.
    """
    yield _jet_session
    problems = _conclude(_jet_session, _DEADLINE if request.node.stash.get(_PASSED, False) else 0.0)
    if problems:
        pytest.fail("\n\n".join(problems), pytrace=False)


@pytest.fixture
def jet(jet_client: Client) -> JetService:
    """What submits pipelines: ``jet.submit(pipeline)``. The test fails if the job does."""
    return jet_client.get_jet()


def _conclude(client: Client, patience: float) -> list[str]:
    """End the jobs that a test has left; returns what the test should have heard of them.

    Args:
        client: The test's client.
        patience: How many seconds batch jobs may still take.
    """
    from jetbridge.errors import JobFailedError, JobStateError
    from jetbridge.job import Job

    session, problems = client._session, []
    deadline = time.monotonic() + patience
    for job in client.get_jet().get_jobs():
        record = session.read(job.id)
        execution = None if record is None or record.unbounded else session.jobs.execution(record)
        if patience and execution is not None and not execution.wait(max(0.0, deadline - time.monotonic())):
            problems.append(f"{job} still ran {patience:g} s after the test, and is cancelled")
        if not job.is_terminal():
            with contextlib.suppress(JobStateError):  # it has ended meanwhile
                job.cancel()
    for failed in session.unseen_failures():
        try:
            Job(session, failed).join()
        except JobFailedError as error:
            problems.append(str(error))
    return problems
