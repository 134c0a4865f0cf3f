from __future__ import annotations

import datetime as dt
import gzip
import json
import math
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetbridge import sinks, sources
from jetbridge.connectors import BadItem, files_lines
from jetbridge.connectors.conformance import check_sink, check_source
from jetbridge.errors import SourceError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=100)
@given(chunks=st.lists(st.lists(VALUES, max_size=8), max_size=3), extension=st.sampled_from(["", ".gz"]))
def test_what_is_written_is_read_back(read_all, write_all, chunks, extension):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, f"a.jsonl{extension}")
        write_all(sinks.json_lines(path), chunks)
        assert read_all(sources.json_lines(path), limit=3) == [value for chunk in chunks for value in chunk]


@settings(deadline=None, max_examples=60)
@given(values=st.lists(VALUES, max_size=10), block=st.integers(1, 40))
def test_ranges_cover_exactly_with_tiny_blocks(values, block):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(files_lines, "BLOCK", block)
        path = os.path.join(folder, "a.jsonl")
        Path(path).write_text("".join(f"{json.dumps(value)}\n" for value in values))
        check_source(lambda: sources.json_lines(path), expected=values)


def test_tuples_become_lists(tmp_path, read_all, write_all):
    write_all(sinks.json_lines(tmp_path / "a.jsonl"), [[("key", [1, 1.5])]])
    assert read_all(sources.json_lines(tmp_path / "a.jsonl")) == [["key", [1, 1.5]]]


def test_empty_lines_line_ends_and_byte_order_mark(tmp_path, read_all):
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \n[10000000000000000000000]')
    assert read_all(sources.json_lines(tmp_path / "a.jsonl")) == [{"a": 1}, [10**22]]
    (tmp_path / "a.jsonl").write_bytes(b"\n\n")
    assert read_all(sources.json_lines(tmp_path / "a.jsonl")) == []


@pytest.mark.parametrize(
    "bad",
    ["{'a': 1}", "[1", "2]", "1, 2", '"open', '{"a": 1} {"a": 2}', "nothing", "[" * 100_000],
    ids=lambda bad: bad[:12],
)
def test_a_line_that_is_not_one_value_is_an_error_that_says_where(tmp_path, read_all, bad):
    (tmp_path / "a.jsonl").write_text('{"ü": 1}\n' * 50_000 + f"{bad}\n2\n", encoding="utf-8")
    with pytest.raises(
        SourceError, match=r"a\.jsonl, line 50001, at about byte 500000: not one JSON value: "
    ) as caught:
        read_all(sources.json_lines(tmp_path / "a.jsonl"))
    assert bad[:12] in str(caught.value)
    assert len(str(caught.value)) < 600


def test_lines_that_only_together_are_values_are_an_error(tmp_path, read_all):
    (tmp_path / "a.jsonl").write_text("1, 2\n[3\n4]\n")
    with pytest.raises(SourceError, match="line 1,"):
        read_all(sources.json_lines(tmp_path / "a.jsonl"))


def test_a_truncated_gzip(tmp_path, read_all):
    data = gzip.compress(json.dumps(os.urandom(50_000).hex()).encode())
    (tmp_path / "a.jsonl.gz").write_bytes(data[:-10])
    with pytest.raises(SourceError, match=r"a\.jsonl\.gz: the file cannot be read"):
        read_all(sources.json_lines(tmp_path / "a.jsonl.gz"))


@pytest.mark.parametrize("item", [dt.date(2013, 1, 1), {1, 2}, {(1, 2): 3}, b"x", math.nan, -math.inf])
def test_items_that_json_cannot_hold_are_refused(item):
    with pytest.raises(BadItem, match="cannot be written as JSON") as caught:
        sinks.json_lines("a.jsonl").prepare([1, {"a": item}])
    assert caught.value.index == 1


@pytest.mark.parametrize("item", [{1: 2, "1": 3}, {None: 1}, [{"a": ({True: 1},)}]])
def test_keys_that_would_become_texts_are_refused(item):
    with pytest.raises(BadItem, match=r"the key (1|None|True) is no str but (int|NoneType|bool): map it") as caught:
        sinks.json_lines("a.jsonl").prepare([{"a": [{"b": 1}]}, item])
    assert caught.value.index == 1


def test_half_a_surrogate_pair_is_written_as_an_escape(tmp_path, read_all, write_all):
    write_all(sinks.json_lines(tmp_path / "a.jsonl"), [["\ud800", "é"]])
    assert read_all(sources.json_lines(tmp_path / "a.jsonl")) == ["\ud800", "é"]


def test_the_sink_keeps_its_promises(tmp_path, read_all):
    paths = iter(tmp_path / f"{number}.jsonl.gz" for number in range(100))
    check_sink(
        lambda: sinks.json_lines(next(paths)),
        read_back=lambda sink: read_all(sources.json_lines(sink.path)),
        items=[1, None, {"a": [1.5, "é"]}, "x", 5],
        bad_item={1, 2},
    )
