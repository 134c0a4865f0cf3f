"""Accidents of staged files: gone, cut short, taken by others, moved away, on a full disk."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import pytest

from jetbridge import sinks
from jetbridge.connectors import ConnectorContext, SinkChunk, files_parts, files_staging
from jetbridge.errors import SinkError

BATCH = ConnectorContext(job_id="job-1", job_name="job", run="run-1", stage="stage", home=".")
STREAM = dataclasses.replace(BATCH, unbounded=True)


def _rows_of(parts):
    return [number for numbers in parts.values() for number in numbers]


@pytest.mark.parametrize("kind", ["text", "parquet"])
@pytest.mark.parametrize("context", [BATCH, STREAM], ids=["batch", "stream"])
def test_a_staged_file_that_is_gone_or_too_short_is_an_error_and_nothing_is_removed(
    tmp_path, kind, context, make_sink, make_script
):
    sink = make_sink(tmp_path / "out", kind)
    script = make_script(sink, context)
    script.write(5)
    script.commit()
    script.target.pause()
    (staged,) = [path for path in tmp_path.rglob(".*") if path.name.endswith(".staged")]
    length = staged.stat().st_size
    os.truncate(staged, length - 1)
    successor = make_sink(tmp_path / "out", kind)
    with pytest.raises(SinkError, match=rf"has {length - 1} bytes, but {length} were committed: restore it"):
        successor.reopen(context, script.kept)
    successor.close()
    assert staged.exists()
    staged.unlink()
    with pytest.raises(SinkError, match=rf"sinks\.{sink.kind}\(.*held {length} bytes of committed rows, is gone"):
        successor.reopen(context, script.kept)


def test_a_target_that_somebody_else_made_is_not_taken_for_ones_own(tmp_path, make_script):
    script = make_script(sinks.text(tmp_path / "out.txt"), BATCH)
    script.write(1)
    script.commit()
    (tmp_path / "out.txt").write_text("precious")
    with pytest.raises(SinkError, match="exists already"):
        script.target.complete()
    script.crash()
    with pytest.raises(SinkError, match="exists already"):
        script.target.complete()
    script.target.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]
    assert (tmp_path / "out.txt").read_text() == "precious"


def test_the_file_may_be_moved_away_as_soon_as_it_is_there(tmp_path, make_script):
    script = make_script(sinks.text(tmp_path / "out.txt"), BATCH)
    script.write(1)
    script.commit()
    script.target.complete()
    (tmp_path / "out.txt").rename(tmp_path / "moved.txt")
    script.crash()
    script.target.complete()
    script.target.close()
    assert [path.name for path in tmp_path.iterdir()] == ["moved.txt"]


def test_a_fresh_start_takes_back_what_a_run_published_that_did_not_get_to_its_end(tmp_path, make_script):
    script = make_script(sinks.text(tmp_path / "out.txt"), BATCH)
    script.write(1)
    script.target.complete()
    script.target.pause()
    fresh = sinks.text(tmp_path / "out.txt")
    fresh.open(dataclasses.replace(BATCH, run="run-2"))
    fresh.write(SinkChunk("run-2", "stage", "0", 0, 1, fresh.prepare(["row 7"])))
    fresh.complete()
    fresh.close()
    assert (tmp_path / "out.txt").read_text() == "row 7\n"


def test_a_fresh_start_removes_staged_parts_and_keeps_published_ones(tmp_path, monkeypatch, parts_of, make_script):
    sink = sinks.csv(tmp_path / "out")
    script = make_script(sink, STREAM)
    script.write(2)
    monkeypatch.setattr(files_parts, "PART_SECONDS", 0.0)
    script.commit()
    script.write(1)
    script.target.pause()
    fresh = sinks.csv(tmp_path / "out")
    fresh.check_stream()
    fresh.open(dataclasses.replace(STREAM, run="run-2"))
    fresh.write(SinkChunk("run-2", "stage", "0", 0, 1, fresh.prepare([{"n": 8, "s": "x8"}])))
    fresh.committed(None)  # a job without a guarantee keeps no positions
    fresh.close()
    assert sorted(os.listdir(sink.path)) == ["part-run-1-00000.csv", "part-run-2-00000.csv"]
    assert _rows_of(parts_of(sink)) == [0, 1, 8]


def test_parts_are_not_overwritten_when_commits_were_lost(tmp_path, monkeypatch, parts_of, make_script):
    """As after a power cut: the position is older than what was published."""
    sink = sinks.text(tmp_path / "out")
    script = make_script(sink, STREAM)
    old = script.kept
    monkeypatch.setattr(files_parts, "PART_SECONDS", 0.0)
    for _ in range(2):
        script.write(1)
        script.commit()
    before = parts_of(sink)
    script.kept = old
    script.crash()
    script.write(1)
    script.commit()
    script.target.close()
    after = parts_of(sink)
    assert {path: after[path] for path in before} == before
    assert _rows_of(after) == [0, 1, 2]


def test_a_stream_needs_a_place_for_a_directory(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    sinks.text(tmp_path / "folder").check_stream()
    sinks.parquet(tmp_path / "new" / "folder").check_stream()
    for make in (sinks.text, sinks.parquet):
        with pytest.raises(SinkError, match="file is not a directory"):
            make(tmp_path / "file").check_stream()


def test_a_batch_job_does_not_go_on_as_a_stream(tmp_path, make_script):
    script = make_script(sinks.text(tmp_path / "out"), BATCH)
    script.target.pause()
    with pytest.raises(SinkError, match="the job was a batch job at its last commit and is none now"):
        sinks.text(tmp_path / "out").reopen(STREAM, script.kept)


def test_the_columns_hold_for_all_parts(tmp_path, monkeypatch, make_script):
    monkeypatch.setattr(files_parts, "PART_SECONDS", 0.0)
    script = make_script(sinks.csv(tmp_path / "out"), STREAM)
    script.write(1)
    script.commit()
    script.crash()
    script.target.write(SinkChunk("run-1", "stage", "0", 1, 1, script.target.prepare([{"s": "y", "n": 1}])))
    script.commit()
    with pytest.raises(SinkError, match=r"lacks \['s'\] and has \['z'\]"):
        script.target.write(SinkChunk("run-1", "stage", "0", 2, 1, script.target.prepare([{"n": 1, "z": 2}])))
    script.target.close()
    texts = [(tmp_path / "out" / f"part-run-1-0000{number}.csv").read_text() for number in (0, 1)]
    assert texts == ["n,s\n0,x0\n", "n,s\n1,y\n"]


def test_two_sinks_of_one_name_in_two_folders_are_two(tmp_path):
    assert sinks.text(tmp_path / "a" / "x.txt").identity != sinks.text(tmp_path / "b" / "x.txt").identity
    assert sinks.text(tmp_path / "x", name="a").identity == sinks.csv(tmp_path / "x", name="b").identity


def test_closing_keeps_rows_that_cannot_be_published(tmp_path, monkeypatch, caplog, make_script):
    script = make_script(sinks.text(tmp_path / "out"), STREAM)
    script.write(2)
    script.commit()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    script.target.close()
    assert "committed rows remain in" in caplog.text
    (staged,) = (tmp_path / "out").iterdir()
    assert staged.read_text() == "row 0\nrow 1\n"


def test_a_staged_file_that_another_process_has_is_left_to_it(tmp_path, monkeypatch, make_script):
    """As by a worker that was stopped: the next one goes on with a copy, and what the first writes then is nowhere."""
    monkeypatch.setattr(files_staging, "LOCK_SECONDS", 0.05)
    script = make_script(sinks.text(tmp_path / "out.txt"), BATCH)
    script.write(2)
    script.commit()
    orphan = subprocess.Popen(
        [sys.executable, "-c", _KEEP_OPEN, str(next(tmp_path.iterdir()))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with orphan:
        script.target.pause()  # in one process all files are one's own
        assert orphan.stdout.read(1) == b"1"
        script.crash()
        assert len(list(tmp_path.iterdir())) == 2
        script.write(1)
        orphan.communicate(b"1")
        assert orphan.returncode == 0
    script.write(1)
    script.commit()
    script.target.complete()
    script.target.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]
    assert (tmp_path / "out.txt").read_text() == "row 0\nrow 1\nrow 2\nrow 3\n"


_KEEP_OPEN = """
import fcntl, sys, time
with open(sys.argv[1], "r+b", buffering=0) as file:
    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            time.sleep(0.01)
    sys.stdout.write("1")
    sys.stdout.flush()
    sys.stdin.read(1)
    file.seek(0)
    file.write(b"what nobody may see")
"""


@pytest.mark.parametrize("context", [BATCH, STREAM], ids=["batch", "stream"])
def test_a_late_start_removes_nothing_before_it_has_committed(tmp_path, context, make_script):
    """A worker that was stopped before it opened its sink wakes when another one is far ahead."""
    script = make_script(sinks.text(tmp_path / "out"), context)
    script.write(3)
    script.commit()
    late = sinks.text(tmp_path / "out")
    late.open(context)
    late.write(SinkChunk("run-1", "stage", "0", 0, 1, late.prepare(["late"])))
    late.position()
    late.pause()  # its commit fails, since the job has another owner
    script.write(2)
    script.commit()
    script.target.complete()
    script.target.close()
    rows = [line for path in tmp_path.rglob("*") if path.is_file() for line in path.read_text().split("\n") if line]
    assert rows == [f"row {number}" for number in range(5)]


def test_what_earlier_workers_left_is_removed_by_a_commit(tmp_path, monkeypatch, make_script):
    monkeypatch.setattr(files_parts, "PART_SECONDS", 0.0)
    for context, path in ((BATCH, tmp_path / "a.txt"), (STREAM, tmp_path / "b")):
        script = make_script(sinks.text(path), context)
        script.write(1)
        script.target.pause()  # nothing was committed
        fresh = make_script(sinks.text(path), context)
        fresh.write(1)
        fresh.commit()
        left = [each.name for each in tmp_path.rglob(".*.staged")]
        assert len(left) == (1 if context is BATCH else 0)
        fresh.target.close()
    assert [each.name for each in tmp_path.rglob(".*")] == []
