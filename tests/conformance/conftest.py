"""The conformance suite's harness: every test takes the runner as a parameter.

``pytest tests/conformance --runner=direct`` picks the runners; by default it is all of
them, on those with a cluster one case of each test. A known gap is a marker on the
test (``notimpl``, ``notyet``, ``never``), which makes it a strict xfail on the runners
that it names.
"""

from __future__ import annotations

import ctypes
import itertools
import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import jetbridge
from jetbridge import Job, JobConfig, JobStatus, Pipeline, ProcessingGuarantee

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

sys.path.append(str(Path(__file__).parent))  # for reference, which imports support

RUNNERS = ("direct", "flink")
SAMPLE = 4
"""How many tests of a module meet a cluster in each run; a module may have a SAMPLE of its own."""
DEADLINE = 60.0  # seconds that a job of a test may take before the test gives up
_numbers = itertools.count(1)


class Jet:
    """One client of one runner, with short-lived structures for one test."""

    def __init__(self, client: jetbridge.Client, runner: str, parallelism: int) -> None:
        self.client = client
        self.service = client.get_jet()
        self.runner = runner
        self.parallelism = parallelism
        self._lists: list[str] = []
        self._maps: list[str] = []
        self._jobs: list[Job] = []

    def name(self, stem: str = "s") -> str:
        """A name that no other test uses."""
        return f"{stem}-{next(_numbers)}"

    def list(self, name: str | None = None) -> Any:
        """A stored list that is emptied when the test ends."""
        name = name or self.name("list")
        self._lists.append(name)
        return self.client.get_list(name)

    def map(self, name: str | None = None) -> Any:
        """A stored map that is emptied when the test ends."""
        name = name or self.name("map")
        self._maps.append(name)
        return self.client.get_map(name)

    def submit(self, pipeline: Pipeline, config: JobConfig | None = None) -> Job:
        """Submit; a job that still runs when the test ends is cancelled."""
        job = self.service.submit(pipeline, config)
        self._jobs.append(job)
        return job

    def run(self, pipeline: Pipeline, config: JobConfig | None = None) -> Job:
        """Submit and wait."""
        job = self.submit(pipeline, config)
        job.join(timeout=DEADLINE)
        assert job.status is JobStatus.COMPLETED
        return job

    def collect(self, items: Iterable[Any] | Any, build: Callable[[Any], Any] = lambda stage: stage) -> list[Any]:
        """The items that a stage built by ``build`` gives to a list sink.

        Args:
            items: What the source holds, or a source.
            build: From the source's stage to the last stage.
        """
        source = items if isinstance(items, jetbridge.connectors.Source) else Pipeline.from_list("items", items)
        results = self.list()
        pipeline = Pipeline.create()
        build(pipeline.read_from(source)).write_to(Pipeline.to_list(results.name))
        self.run(pipeline)
        return results.get_all()

    def close(self) -> None:
        for job in self._jobs:
            if not job.is_terminal():
                job.cancel()
        for name in self._lists:
            self.client.get_list(name).clear()
        for name in self._maps:
            self.client.get_map(name).clear()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "runner" in metafunc.fixturenames:
        runners = metafunc.config.getoption("--runner") or [*RUNNERS]
        # A module about one runner alone says so in RUNNERS.
        only = getattr(metafunc.module, "RUNNERS", runners)
        metafunc.parametrize("runner", [name for name in runners if name in only], scope="session")


@pytest.hookimpl(tryfirst=True)  # before pytest takes out what is marked as full
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--runner"):
        _leave_to_full(items)
    raises = {
        "notimpl": jetbridge.errors.UnsupportedByRunnerError,
        "notyet": None,
        "never": jetbridge.errors.UnsupportedByRunnerError,
    }
    for item in items:
        runner = getattr(item, "callspec", None) and item.callspec.params.get("runner")
        for marker in [marker for marker in item.iter_markers() if marker.name in raises]:
            if runner in marker.args:
                reason = " ".join(filter(None, [marker.kwargs["reason"], marker.kwargs.get("link")]))
                item.add_marker(pytest.mark.xfail(reason=reason, raises=raises[marker.name], strict=True))


def _leave_to_full(items: list[pytest.Item]) -> None:
    """On a cluster a job takes seconds: each run has the first case of a module's first tests, the full one the rest.

    So that a few tests of each operator meet the cluster each time, and all of them in the full run.
    """
    seen: dict[Path, set[str]] = {}
    for item in items:
        runner = getattr(item, "callspec", None) and item.callspec.params.get("runner")
        if runner in (None, RUNNERS[0]):
            continue
        names, name = seen.setdefault(item.path, set()), item.nodeid.partition("[")[0]
        if name in names or len(names) >= getattr(item.module, "SAMPLE", SAMPLE):
            item.add_marker(pytest.mark.full)
        else:
            names.add(name)


@pytest.fixture(scope="session")
def _clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., jetbridge.Client]]:
    clients: dict[tuple[Any, ...], jetbridge.Client] = {}

    def client(runner: str, parallelism: int, shards: int) -> jetbridge.Client:
        key = (runner, parallelism, shards)
        if key not in clients:
            home = tmp_path_factory.mktemp(f"{runner}-{parallelism}-{shards}")
            home.chmod(0o700)
            clients[key] = jetbridge.connect(runner=runner, home=home, parallelism=parallelism, shards=shards)
        return clients[key]

    yield client
    for each in clients.values():
        each.shutdown()


@pytest.fixture
def parallelism() -> int:
    """Cores; a test for which it matters parametrises this with 1 and 2."""
    return 1


@pytest.fixture
def shards() -> int:
    """Shards of a job; a test for which it matters parametrises this."""
    return 128


@pytest.fixture
def jet(_clients: Callable[..., jetbridge.Client], runner: str, parallelism: int, shards: int) -> Iterator[Jet]:
    harness = Jet(_clients(runner, parallelism, shards), runner, parallelism)
    yield harness
    harness.close()


@pytest.fixture
def bag() -> Callable[[Iterable[Any]], list[str]]:
    """Items without their order, comparable for every type: NaN equals NaN, 1 is not 1.0."""
    return lambda items: sorted(map(repr, items))


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The client's log from INFO on."""
    caplog.set_level(logging.INFO)
    return caplog


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for a test's files."""
    path = tmp_path / "files"
    path.mkdir()
    return path


@pytest.fixture
def says() -> Callable[..., None]:
    """Checks that a caught error's message contains all parts."""

    def check(caught: pytest.ExceptionInfo[BaseException], *parts: str) -> None:
        message = str(caught.value)
        missing = [part for part in parts if part not in message]
        assert not missing, f"{missing} not in: {message}"

    return check


@pytest.fixture
def fails(jet: Jet) -> Callable[..., pytest.ExceptionInfo[jetbridge.JobFailedError]]:
    """Runs a pipeline that must fail, and checks that its sinks hold nothing."""

    def run(items: Any, build: Callable[[Any], Any], *, sink: Any = None) -> Any:
        pipeline, results = Pipeline.create(), jet.list()
        source = items if isinstance(items, jetbridge.connectors.Source) else Pipeline.from_list("numbers", items)
        stage = pipeline.read_from(source)
        stage.write_to(Pipeline.to_list(results.name))
        build(stage).write_to(sink or Pipeline.to_list(jet.list().name))
        # On a cluster a branch that is done is written, unless its rows wait for a checkpoint.
        guarantee = ProcessingGuarantee.NONE if jet.runner == "direct" else ProcessingGuarantee.EXACTLY_ONCE
        with pytest.raises(jetbridge.JobFailedError) as caught:
            jet.run(pipeline, JobConfig(processing_guarantee=guarantee))
        assert results.get_all() == [], "nothing of the failed job's uncommitted work is there"
        return caught

    return run


class Gate:
    """Holds a job back until the test opens it."""

    def __init__(self, folder: Path) -> None:
        self.opened = str(folder / "gate")
        self.started = str(folder / "started")

    def pipeline(self, jet: Jet, items: Iterable[Any] = (1,)) -> tuple[Pipeline, Any]:
        """A pipeline that waits at each item, and its list of results."""
        opened, started = self.opened, self.started

        def wait(item: Any) -> Any:
            with open(started, "a") as file:
                file.write("x")
            deadline = time.monotonic() + DEADLINE
            while not os.path.exists(opened):
                if time.monotonic() > deadline:
                    raise TimeoutError("the test never opened the gate")
                time.sleep(0.005)
            return item

        pipeline, results = Pipeline.create(), jet.list()
        pipeline.read_from(Pipeline.from_list("n", items)).map(wait).write_to(Pipeline.to_list(results.name))
        return pipeline, results

    def open(self) -> None:
        Path(self.opened).touch()

    def wait_until_reached(self) -> None:
        until(lambda: os.path.exists(self.started))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.005)


@pytest.fixture(name="until")
def until_fixture() -> Callable[[Callable[[], bool]], None]:
    """Waits for a condition, with a deadline."""
    return until


class Flow:
    """Runs a stage built on a stream, and gives what reaches its list sink."""

    def __init__(self, jet: Jet) -> None:
        self.jet = jet
        self.stream = jet.client.get_stream(jet.name("stream"))
        self.results = jet.list()
        self.job: Any = None

    def start(
        self,
        build: Callable[[Any], Any] = lambda stage: stage,
        *,
        guarantee: ProcessingGuarantee = ProcessingGuarantee.NONE,
        position: str = "earliest",
        snapshot: str | None = None,
    ) -> Flow:
        pipeline = Pipeline.create()
        stage = build(pipeline.read_from(jetbridge.StreamSource(self.stream.name, initial_position=position)))
        stage.write_to(Pipeline.to_list(self.results.name)).set_name("results")
        config = JobConfig(processing_guarantee=guarantee, snapshot_interval_millis=500, initial_snapshot_name=snapshot)
        self.job = self.jet.submit(pipeline, config)
        return self

    def publish(self, items: Iterable[Any]) -> Flow:
        self.stream.publish_all(items)
        return self

    def get(self, count: int) -> list[Any]:
        """The results when there are so many; more would be an error."""
        until(lambda: self.job.is_terminal() or self.results.size() >= count)
        until(lambda: self.job.status is not JobStatus.STARTING)  # Flink's rows may be there before its status is seen
        assert self.job.status is JobStatus.RUNNING
        found: list[Any] = self.results.get_all()
        return found


@pytest.fixture
def flow(jet: Jet) -> Flow:
    """A stream, a list and the job between them."""
    return Flow(jet)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """A gate that is opened when the test ends, whatever happens."""
    gate = Gate(tmp_path)
    yield gate
    gate.open()


@pytest.fixture(scope="session")
def without_rights() -> Callable[[], None]:
    """For a child process: root's power to read what it may not is dropped."""

    def drop() -> None:
        if os.geteuid() == 0 and sys.platform == "linux":
            libc = ctypes.CDLL(None, use_errno=True)
            for capability in (1, 2, 3):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER
                if libc.prctl(24, capability, 0, 0, 0) != 0:  # PR_CAPBSET_DROP
                    os._exit(99)

    return drop


@pytest.fixture
def simple(jet):
    """Makes a pipeline that doubles some numbers, and its list of results."""

    def make(items=(1, 2, 3)):
        pipeline, results = Pipeline.create(), jet.list()
        pipeline.read_from(Pipeline.from_list("n", items)).map(lambda n: n * 2).write_to(Pipeline.to_list(results.name))
        return pipeline, results

    return make


@pytest.fixture
def failing(jet):
    """A pipeline whose map divides by zero."""
    pipeline, results = Pipeline.create(), jet.list()
    pipeline.read_from(Pipeline.from_list("n", [0])).map(lambda n: 1 // n).write_to(Pipeline.to_list(results.name))
    return pipeline
