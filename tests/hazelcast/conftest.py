"""A real Hazelcast member for these tests, and clients of it on each runner."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import jetbridge.hazelcast  # noqa: F401 - first: it gives HazelcastClient its get_jet

# isort: split
from hazelcast import HazelcastClient

from jetbridge.connectors.base import ConnectorContext, SinkChunk
from jetbridge.connectors.hazelcast.cluster import HazelcastCluster
from jetbridge.hazelcast_members import Member

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

sys.path.insert(0, str(Path(__file__).parent))  # for cut_line

RUNNERS = ("direct", "flink")
DEADLINE = 60.0
_numbers = itertools.count(1)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "runner" in metafunc.fixturenames:
        runners = metafunc.config.getoption("--runner") or RUNNERS
        metafunc.parametrize("runner", [name for name in RUNNERS if name in runners], scope="session")


@pytest.hookimpl(tryfirst=True)  # before pytest takes out what is marked as full
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a cluster of Flink a job takes seconds, and a kill half a minute.

    The first case of each test is for every run, the others, the kills and the refusals are for the full one.
    """
    if config.getoption("--runner"):
        return
    seen: set[str] = set()
    for item in items:
        runner = getattr(item, "callspec", None) and item.callspec.params.get("runner")
        if "tests/hazelcast" not in item.path.as_posix() or runner in (None, RUNNERS[0]):
            continue
        name = item.nodeid.partition("[")[0]
        if name in seen or "killed" in name or "refused" in name:
            item.add_marker(pytest.mark.full)
        seen.add(name)


@pytest.fixture(scope="session")
def member() -> Iterator[Member]:
    """A member that all tests share; those that kill members have their own."""
    config = {
        "properties": {"hazelcast.partition.count": "31"},  # fewer than by default, for quick walks through them
        "ringbuffer": {
            "small-*": {"capacity": 10},
            "expiring-*": {"capacity": 10, "time-to-live-seconds": 1},
            "full-*": {"capacity": 10, "time-to-live-seconds": 3600},
        },
    }
    with Member(config=config) as member:
        yield member


@pytest.fixture(scope="session")
def hz(member: Member) -> Iterator[HazelcastClient]:
    """A client as a user has one."""
    client = HazelcastClient(cluster_members=[member.address])
    yield client
    client.shutdown()


@pytest.fixture
def name() -> Callable[[str], str]:
    """Names that no other test uses."""
    return lambda stem="s": f"{stem}-{next(_numbers)}"


@pytest.fixture(scope="session")
def cluster(member: Member) -> HazelcastCluster:
    """The member's cluster, as connectors are given it."""
    return HazelcastCluster({"cluster_members": [member.address], "cluster_connect_timeout": 10})


@pytest.fixture(scope="session")
def _clients(member: Member, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], HazelcastClient]]:
    clients: dict[str, HazelcastClient] = {}

    def client(runner: str) -> HazelcastClient:
        if runner not in clients:
            clients[runner] = HazelcastClient(cluster_members=[member.address])
            clients[runner].get_jet(runner=runner, home=tmp_path_factory.mktemp(runner) / "home", parallelism=1)
        return clients[runner]

    yield client
    for each in clients.values():
        each.shutdown()


@pytest.fixture
def client(_clients: Callable[[str], HazelcastClient], runner: str) -> HazelcastClient:
    """A client whose jobs run on a runner; its structures are those that the guide names."""
    client = _clients(runner)
    for each in ("results", "my-list"):
        client.get_list(each).clear().result()
    for each in ("my-map", "output-map"):
        client.get_map(each).clear().result()
    return client


@pytest.fixture
def written() -> Callable[..., None]:
    """Writes lists of items to a sink as a runner does."""

    def write(
        sink: Any,
        *chunks: list[Any],
        first: int = 0,
        run: str = "run",
        exactly_once: bool = True,
        dies: bool = False,
    ) -> None:
        if not hasattr(sink, "context"):
            sink.open(context(run, exactly_once))
        if dies:  # before the cluster learns that the call is over
            sink.journal.flush = lambda: None
        for sequence, items in enumerate(chunks, first):
            sink.write(SinkChunk(run, "stage", "0", sequence, len(items), sink.prepare(items)))
        sink.flush()

    return write


def context(run: str = "run", exactly_once: bool = True, fresh: bool = True) -> ConnectorContext:
    return ConnectorContext("job", "job", run, "stage", ".", exactly_once=exactly_once, fresh=fresh)


@pytest.fixture(name="context")
def context_fixture() -> Callable[..., ConnectorContext]:
    """What a connector is told of its run."""
    return context


@pytest.fixture
def says() -> Callable[..., None]:
    """Checks that a caught error's message contains all parts."""

    def check(caught: pytest.ExceptionInfo[BaseException], *parts: str) -> None:
        message = str(caught.value)
        missing = [part for part in parts if part not in message]
        assert not missing, f"{missing} not in: {message}"

    return check
