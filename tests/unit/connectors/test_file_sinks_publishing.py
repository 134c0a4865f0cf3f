from __future__ import annotations

import dataclasses
import errno
import os

import pyarrow.parquet as pq
import pytest

from jetbridge import sinks, sources
from jetbridge.connectors import SinkChunk
from jetbridge.errors import PipelineError, SinkError

ALL = [sinks.text, sinks.csv, sinks.json_lines, sinks.parquet]
ITEMS = {"text": ["a", "b"]}
ROWS = [{"n": 1}, {"n": 2}]


def _items(sink):
    return ITEMS.get(sink.kind, ROWS)


def _chunk(sink, sequence=0):
    return SinkChunk("run-1", "stage", "0", sequence, 2, sink.prepare(_items(sink)))


@pytest.fixture(params=ALL, ids=lambda make: make.__name__)
def make(request):
    return request.param


def test_the_file_appears_when_the_job_completes(tmp_path, context, make):
    sink = make(tmp_path / "new" / "folder" / "out.x")
    sink.check()
    assert list(tmp_path.iterdir()) == []
    sink.open(context)
    sink.write(_chunk(sink))
    sink.flush()
    (staged,) = (tmp_path / "new" / "folder").iterdir()
    assert staged.name.startswith(".out.x.")
    assert context.run in staged.name
    assert staged.stat().st_size > 0
    sink.complete()
    sink.close()
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["out.x"]


def test_a_job_that_fails_leaves_nothing(tmp_path, context, make):
    sink = make(tmp_path / "out.x")
    sink.open(context)
    sink.write(_chunk(sink))
    sink.close()
    assert list(tmp_path.iterdir()) == []
    sink.close()


@pytest.mark.parametrize("extension", ["txt", "txt.gz", "txt.bz2", "txt.xz"])
def test_a_job_without_items_leaves_an_empty_file(tmp_path, read_all, write_all, extension):
    for make, source in ((sinks.text, sources.text), (sinks.csv, sources.csv), (sinks.json_lines, sources.json_lines)):
        path = tmp_path / f"{make.__name__}.{extension}"
        write_all(make(path), [[], []])
        assert read_all(source(path)) == []
        assert (path.stat().st_size == 0) == (extension == "txt")


def test_a_job_without_rows_leaves_an_empty_table(tmp_path, write_all):
    write_all(sinks.parquet(tmp_path / "a.parquet"), [])
    assert pq.read_table(tmp_path / "a.parquet").num_rows == 0


def test_an_existing_file_is_refused_before_the_job_starts(tmp_path, make):
    (tmp_path / "out.x").write_text("precious")
    sink = make(tmp_path / "out.x")
    with pytest.raises(
        SinkError, match=rf"sinks\.{sink.kind}\('{tmp_path}/out\.x'\) exists already; pass overwrite=True"
    ):
        sink.check()


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path, context, make):
    sink = make(tmp_path / "out.x")
    sink.check()
    sink.open(context)
    sink.write(_chunk(sink))
    (tmp_path / "out.x").write_text("precious")
    with pytest.raises(SinkError, match="exists already"):
        sink.complete()
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out.x"]
    assert (tmp_path / "out.x").read_text() == "precious"


def test_overwrite_replaces_the_file_at_the_end(tmp_path, context, make):
    (tmp_path / "out.x").write_text("old")
    sink = make(tmp_path / "out.x", overwrite=True)
    sink.check()
    sink.open(context)
    sink.write(_chunk(sink))
    assert (tmp_path / "out.x").read_text() == "old"
    sink.complete()
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out.x"]
    assert (tmp_path / "out.x").read_bytes() != b"old"


def test_without_hard_links_the_file_is_renamed(tmp_path, context, make, monkeypatch):
    def no_link(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_link)
    sink = make(tmp_path / "out.x")
    sink.open(context)
    sink.write(_chunk(sink))
    sink.complete()
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out.x"]


def test_what_a_killed_worker_left_behind_is_removed_by_its_successor_only(tmp_path, context, make):
    killed, other, next_run = make(tmp_path / "out.x"), make(tmp_path / "out.x"), make(tmp_path / "out.x")
    killed.open(context)
    killed.write(_chunk(killed))
    killed.flush()
    other.open(dataclasses.replace(context, job_id="job-2"))
    assert len(list(tmp_path.iterdir())) == 2
    next_run.open(dataclasses.replace(context, run="run-2"))
    assert len(list(tmp_path.iterdir())) == 3, "until it has committed it may be one that has lost its job"
    next_run.committed(next_run.position())
    names = [path.name for path in tmp_path.iterdir()]
    assert len(names) == 2
    assert any("run-2" in name for name in names)
    for sink in (killed, other, next_run):
        sink.close()
    assert list(tmp_path.iterdir()) == []


def test_paths_that_no_file_can_have(tmp_path, make):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(PipelineError, match="writes one file; got a directory"):
        make(f"{tmp_path}/folder/")
    with pytest.raises(PipelineError, match="writes local files only"):
        make("s3://bucket/a.txt")
    for name in ("a.zip", "a.zst"):
        with pytest.raises(PipelineError, match=rf"cannot write \.{name[2:]} files"):
            make(tmp_path / name)
    with pytest.raises(SinkError, match="is a directory"):
        make(tmp_path / "folder", overwrite=True).check()
    with pytest.raises(SinkError, match="file is not a directory"):
        make(tmp_path / "file" / "a.txt").check()


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path, context, make, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    sink = make(tmp_path / "out.x")
    sink.open(context)
    sink.write(_chunk(sink))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SinkError, match=r"out\.x'\) cannot be written: No space left on device"):
        sink.flush()
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_a_long_name_still_can_be_staged(tmp_path, write_all, make):
    path = tmp_path / ("x" * 250)
    sink = make(path)
    write_all(sink, [_items(sink)])
    assert path.exists()
