"""The DoFn that writes, over a real data folder: what of a bundle reaches the sinks, and when nothing may."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

from jetbridge import JobConfig, Pipeline
from jetbridge.connectors import intake, outbox
from jetbridge.jobs.packing import pack
from jetbridge.store import Database
from jetbridge.store.lists import StoredList
from jetbridge.store.records import JobRecord
from jetbridge.store.registry import Registry
from jetbridge_flink import envelopes, work
from jetbridge_flink.work import JobSpec, MarkedError
from jetbridge_flink.writing import WriteFn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Bench:
    """A job in a data folder, and bundles for its writing stage."""

    def __init__(self, home: Path, guarantee: str) -> None:
        self.db = Database.open(home)
        pipeline = Pipeline.create()
        numbers = pipeline.read_from(Pipeline.from_list("numbers", [1]))
        numbers.write_to(Pipeline.to_list("out")).set_name("list")
        numbers.write_to(Pipeline.to_logger()).set_name("log")
        self.plan = pipeline.plan()
        self.jobs = Registry(self.db)
        record = JobRecord(
            id=f"job-{secrets.token_hex(4)}",  # a process knows jobs by their ids
            status="RUNNING",
            config=JobConfig().model_dump(mode="json"),
            engine={"start": "now"},
        )
        self.jobs.add(record, pack(self.plan, "run"))
        self.job = record.id
        self.spec = JobSpec(str(home), record.id, "job", "run", "now", guarantee, shards=1, unbounded=False)

    def chunk(self, sequence: int, items: list[Any], run: str = "run", sink: str = "list") -> tuple[int, bytes]:
        node = next(node for node in self.plan.sinks if node.name == sink)
        return envelopes.chunk(run, sink, "numbers/0", sequence, len(items), node.sink.prepare(items))

    def write(self, *pairs: tuple[int, bytes]) -> None:
        fn = WriteFn(self.spec)
        fn.setup()
        fn.start_bundle()
        for pair in pairs:
            fn.process(pair)
        fn.finish_bundle()

    @property
    def written(self) -> list[Any]:
        return StoredList(self.db, "out").get_all()


@pytest.fixture(params=["EXACTLY_ONCE", "AT_LEAST_ONCE"])
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(tmp_path / "data", request.param)
    yield bench
    work.close()
    bench.db.close()


def test_chunks_reach_their_sink_in_order_and_once(bench: Bench) -> None:
    bench.write(bench.chunk(1, [3]), bench.chunk(0, [1, 2]))
    bench.write(bench.chunk(1, [3]), bench.chunk(2, [4]))
    if bench.spec.exactly_once:
        assert bench.written == [1, 2, 3, 4]
    else:
        assert bench.written == [3, 1, 2, 3, 4], "what comes again is written again"


def test_rows_of_the_job_whose_snapshot_it_started_from_are_not_its_own(bench: Bench) -> None:
    figures = envelopes.figures("another", "numbers/0", 9, {"counts": {}})
    bench.write(bench.chunk(0, ["theirs"], run="another"), figures, bench.chunk(0, ["ours"]))
    assert bench.written == ["ours"]
    assert intake.figures(bench.db.reader(), "another") == {}
    assert intake.waiting(bench.db.reader(), "another") == 0


def test_the_newest_figures_of_a_bundle_are_kept(bench: Bench) -> None:
    told = [envelopes.figures("run", "numbers/0", version, {"counts": {}, "at": version}) for version in (2, 3, 1)]
    bench.write(*told)
    assert intake.figures(bench.db.reader(), "run") == {"numbers/0": {"counts": {}, "at": 3}}


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "SUSPENDED"},
        {"status": "SUSPENDED_EXPORTING_SNAPSHOT"},
        {"status": "FAILED"},
        {"engine": {"start": "later"}},
        {"engine": None},
    ],
    ids=["suspended", "exporting", "ended", "started again", "begun anew"],
)
def test_a_worker_that_is_over_writes_nothing(bench: Bench, changes: dict[str, Any]) -> None:
    bench.jobs.update(bench.job, **changes)
    with pytest.raises(MarkedError):
        bench.write(bench.chunk(0, [1]))
    assert bench.written == []


def test_what_other_sinks_get_waits_in_the_outbox(bench: Bench) -> None:
    bench.write(bench.chunk(0, [1]), bench.chunk(0, [1], sink="log"))
    kept = [chunk.stage for _, chunk in outbox.read(bench.db.reader(), bench.job)]
    volatile = next(node for node in bench.plan.sinks if node.name == "log").sink.volatile
    assert kept == ([] if volatile else ["log"])
