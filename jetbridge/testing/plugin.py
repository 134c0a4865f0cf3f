"""The pytest plugin: the fixtures ``jet`` and ``jet_client``, and the option ``--jet-runner``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jetbridge.client import Client, JetService


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    group = parser.getgroup("jetbridge")
    group.addoption("--jet-runner", default="direct", help="the runner of the fixture jet: direct or flink")


@pytest.fixture(scope="session")
def _jet_session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    import jetbridge

    home: Path = tmp_path_factory.mktemp("jetbridge")
    home.chmod(0o700)
    client = jetbridge.connect(home=home, runner=request.config.getoption("--jet-runner"))
    yield client
    for job in client.get_jet().get_jobs():
        if not job.is_terminal():
            job.cancel()
    client.shutdown()


@pytest.fixture
def jet_client(_jet_session: Client) -> Iterator[Client]:
    """A client with a data folder of the test session's own; jobs that a test has left are cancelled behind it."""
    yield _jet_session
    for job in _jet_session.get_jet().get_jobs():
        if not job.is_terminal():
            job.cancel()


@pytest.fixture
def jet(jet_client: Client) -> JetService:
    """What submits pipelines: ``jet.submit(pipeline).join()``."""
    return jet_client.get_jet()
