"""What a file sink has staged is cut back to the last commit, and published once, wherever it crashes."""

from __future__ import annotations

import dataclasses
import os
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetbridge.connectors import ConnectorContext, files_parts

BATCH = ConnectorContext(job_id="job-1", job_name="job", run="run-1", stage="stage", home=".")
STREAM = dataclasses.replace(BATCH, unbounded=True)
KINDS = ["text", "text.gz", "csv", "csv.gz", "json_lines", "json_lines.xz", "parquet"]


class Crash(BaseException):
    """The process ends here."""


def _rows_of(parts):
    return [number for numbers in parts.values() for number in numbers]


OPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 5)),
        st.sampled_from([("commit", 0), ("position", 0), ("crash", 0), ("pause", 0), ("old", 0)]),
    ),
    max_size=25,
)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=25)
@given(ops=OPS, twice=st.booleans())
def test_a_file_holds_exactly_what_was_committed(kind, ops, twice, make_sink, numbers_in, make_script):
    with tempfile.TemporaryDirectory() as folder:
        sink = make_sink(os.path.join(folder, "out"), kind)
        script = make_script(sink, BATCH)
        for _ in script.run(ops, lambda: None):
            assert not os.path.lexists(sink.path)
        script.commit()
        script.target.complete()
        if twice:
            script.crash()
            assert script.target.position() == script.kept
            script.target.complete()
        script.target.close()
        assert os.listdir(folder) == [os.path.basename(sink.path)]
        assert numbers_in(sink, sink.path) == script.committed


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=25)
@given(ops=OPS, end=st.sampled_from(["close", "complete", "crash", "successor"]))
def test_parts_hold_exactly_what_was_committed(kind, ops, end, make_sink, parts_of, make_script):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(files_parts, "PART_BYTES", 150)
        sink = make_sink(os.path.join(folder, "out"), kind)
        script = make_script(sink, STREAM)
        seen = {}

        def age():
            patch.setattr(files_parts, "PART_SECONDS", 0.0)
            assert script.target.due() == (script.target.length > 0 or bool(script.target._output._finished))
            script.commit()
            assert not script.target.due()
            patch.undo()
            patch.setattr(files_parts, "PART_BYTES", 150)

        for _ in script.run(ops, age):
            parts = parts_of(sink)
            assert {path: parts.get(path) for path in seen} == seen, "a part that is visible never changes"
            seen = parts
            assert _rows_of(parts) == script.committed[: len(_rows_of(parts))]
        if end == "complete":
            script.commit()
            script.target.complete()
        elif end == "successor":  # the worker was killed, and whoever cancels the job does this
            script.crash()
        elif end == "crash":
            script.target.close()
            script.crash()
            assert script.target.length == 0
        script.target.close()
        parts = parts_of(sink)
        assert _rows_of(parts) == script.committed
        assert all(os.path.basename(path).startswith("part-run-1-0") for path in parts)
        assert all(name.startswith("part-") for name in os.listdir(sink.path)), "nothing hidden is left"


def _crashing(patch, at):
    """Let the process end at the so-many-th call that changes the file system."""
    calls = iter(range(10_000))

    def guarded(function):
        def call(*args, **kwargs):
            if next(calls) == at:
                raise Crash
            return function(*args, **kwargs)

        return call

    for name in ("rename", "replace", "link", "remove", "fsync"):
        patch.setattr(os, name, guarded(getattr(os, name)))


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("links", [False, True])
@pytest.mark.parametrize("kind", ["text", "csv.gz", "parquet"])
def test_completing_may_crash_anywhere_twice(
    tmp_path, monkeypatch, kind, links, overwrite, make_sink, numbers_in, make_script
):
    if not links:
        monkeypatch.setattr(os, "link", _no_link)
    crashes = 0
    for at in range(30):
        sink = make_sink(tmp_path / f"{at}" / "out", kind)
        sink.overwrite = overwrite
        script = make_script(sink, BATCH)
        script.write(4)
        script.commit()
        for again in (at, at // 2):
            with pytest.MonkeyPatch.context() as patch:
                _crashing(patch, again)
                try:
                    script.target.complete()
                except Crash:
                    crashes += again == at
            script.crash()
        script.target.complete()
        script.target.close()
        assert numbers_in(sink, sink.path) == script.committed
        assert len(os.listdir(os.path.dirname(sink.path))) == 1
    assert 4 <= crashes < 30


@pytest.mark.parametrize("kind", ["text", "csv.gz", "parquet"])
def test_publishing_parts_may_crash_anywhere(tmp_path, monkeypatch, kind, make_sink, parts_of, make_script):
    crashes = 0
    for at in range(30):
        sink = make_sink(tmp_path / f"{at}" / "out", kind)
        script = make_script(sink, STREAM)
        for _ in range(2):
            script.write(3)
            script.target._output._finish()
        script.write(2)
        with pytest.MonkeyPatch.context() as patch:
            _crashing(patch, at)
            try:
                script.commit()
            except Crash:
                crashes += 1
        if script.pending:  # it crashed before there was a position: the commit never was
            script.crash()
        else:
            script.crash()
            assert _rows_of(parts_of(sink)) == script.committed[:6]
        script.write(1)
        script.commit()
        script.target.close()
        assert _rows_of(parts_of(sink)) == script.committed
    assert 4 <= crashes < 30


def _no_link(*_):
    raise PermissionError(1, "Operation not permitted")
