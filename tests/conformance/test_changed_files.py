"""Files that are not as they were when a job goes on: it is refused, and goes on when they are restored."""

from __future__ import annotations

import gzip
import os
import time

import pytest

from jetbridge import JobConfig, JobStatus, Pipeline, ProcessingGuarantee, SnapshotError, sources

RUNNERS = ["direct"]
DEADLINE = 60
LINES = [f"line {n}" for n in range(5_000)]
HEADER = ["# one", "# two", "# three"]
EXACTLY_ONCE = {"processing_guarantee": ProcessingGuarantee.EXACTLY_ONCE, "snapshot_interval_millis": 200}


def write(path, lines):
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


@pytest.fixture
def reading(jet, folder, until):
    """Submits a job that reads files slowly until the test lets it run, and gives it with its list of results."""
    let = str(folder / "let-it-run")

    def slowly(line):
        if not os.path.exists(let):
            time.sleep(0.01)
        return line

    def start(path, results=None, **config):
        pipeline, results = Pipeline.create(), results or jet.list()
        lines = pipeline.read_from(sources.text(path)).set_name("read").map(slowly)
        lines.write_to(Pipeline.to_list(results.name)).set_name("results")
        job = jet.submit(pipeline, JobConfig(**EXACTLY_ONCE, **config))
        until(lambda: job.is_terminal() or results.size() > 0)
        return job, results

    start.let = lambda: open(let, "w").close()
    return start


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_a_file_that_changed_before_its_offset(folder, reading, says, name):
    path = folder / name
    write(path, LINES)
    job, results = reading(path)
    job.suspend()
    read = results.get_all()
    assert 0 < len(read) < len(LINES)
    for changed in (HEADER + LINES, LINES[:3]):
        write(path, changed)
        with pytest.raises(SnapshotError) as caught:
            job.resume()
        says(caught, "source 'read'", str(path), "has changed since it was read", "restore it as it was")
        assert job.status is JobStatus.SUSPENDED
    write(path, LINES)
    reading.let()
    job.resume()
    job.join(timeout=DEADLINE)
    assert results.get_all() == LINES


def test_a_file_may_grow(folder, reading):
    path = folder / "a.txt"
    write(path, LINES)
    job, results = reading(path)
    job.suspend()
    write(path, [*LINES, "more"])
    reading.let()
    job.resume()
    job.join(timeout=DEADLINE)
    assert results.get_all() == [*LINES, "more"]


def test_a_snapshot_belongs_to_its_folder_and_to_its_files(jet, folder, reading, says):
    for name in ("a", "b"):
        (folder / name).mkdir()
        write(folder / name / "x.txt", LINES)
    job, _ = reading(folder / "a" / "*.txt")
    snapshot = jet.name("snapshot")
    job.cancel_and_export_snapshot(snapshot)
    with pytest.raises(SnapshotError) as caught:
        reading(folder / "b" / "*.txt", initial_snapshot_name=snapshot)
    says(caught, "source 'read'", str(folder / "a"), str(folder / "b"), "give it another name")
    write(folder / "a" / "x.txt", HEADER + LINES)
    with pytest.raises(SnapshotError) as caught:
        reading(folder / "a" / "*.txt", initial_snapshot_name=snapshot)
    says(caught, "source 'read'", str(folder / "a" / "x.txt"), "has changed since it was read")
